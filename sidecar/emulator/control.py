"""The control API under `/_emulator`, by which a test or a person controls the emulated world.

Refuses unknown members, because a misspelled one would silently have no effect. Problems are
`application/problem+json`. Shows no secret: neither private keys nor handed-out credentials.
"""

import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from sidecar.emulator.clock import FASTEST
from sidecar.emulator.control_requests import ControlError, parse_member, read_choice, read_count, read_members
from sidecar.emulator.faults import ANY, MOST, OPERATIONS, known_faults
from sidecar.emulator.license_control import LicenseControl
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import format_instant, parse_duration, parse_instant
from sidecar.emulator.protocol.shapes import CUSTOMER, Structure, check
from sidecar.emulator.responses import respond
from sidecar.emulator.rules.resolve_customer import issue_token
from sidecar.emulator.service import Service
from sidecar.emulator.state.account import change_customers
from sidecar.emulator.state.customers import Name
from sidecar.emulator.state.entitlement_members import read_entitlements, show_entitlement
from sidecar.emulator.state.entries import Customer, MeteringRecord

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The handlers of the control API."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/_emulator/state", self._show_state),
            web.post("/_emulator/reset", self._reset),
            web.get("/_emulator/clock", self._show_clock),
            web.post("/_emulator/clock", self._change_clock),
            web.post("/_emulator/customers", self._change_customers),
            web.get("/_emulator/faults", self._show_faults),
            web.post("/_emulator/faults", self._add_fault),
            web.get("/_emulator/records", self._show_records),
            web.get("/_emulator/events", self._show_events),
            web.get("/_emulator/calls", self._show_calls),
            web.post("/_emulator/keys", self._rotate_keys),
            *LicenseControl(self._service).routes(),
            web.get(r"/_emulator/public-keys/{version:\d{1,9}}.pem", self._show_public_key),
        ]

    async def _show_state(self, _: web.Request) -> web.Response:
        service, state = self._service, self._service.state
        dimensions = state.seed.dimensions
        return respond(
            {
                **self._clock(),
                "product_code": state.seed.product_code,
                "pricing": state.seed.pricing,
                "dimensions": None if dimensions is None else sorted(dimensions),
                "entitled": state.entitled,
                "customers": [_show_customer(customer) for customer in state.customers.values()],
                "registrations": [
                    {
                        "ProductCode": registration.product_code,
                        "Identity": registration.identity,
                        "PublicKeyVersion": registration.public_key_version,
                        "RegisteredAt": format_instant(registration.registered_at),
                    }
                    for registration in state.registrations.values()
                ],
                "licenses": sum(not license_.removed for license_ in state.licenses.values()),
                "checkouts": len(state.checkouts),
                "records": len(state.records),
                "events": len(state.trail),
                "faults": list(service.faults.pending()),
                **self._keys(),
                "identity": service.options.identity,
                "quotas": service.quotas.enforced,
                "license_region": service.options.license_region,
                "from_first_call": service.options.from_first_call,
            }
        )

    async def _reset(self, request: web.Request) -> web.Response:
        await read_members(request, (), optional=True)
        self._service.reset()
        await self._service.flush()
        return await self._show_state(request)

    async def _show_clock(self, _: web.Request) -> web.Response:
        return respond(self._clock())

    async def _change_clock(self, request: web.Request) -> web.Response:
        members = await read_members(request, ("now", "advance", "speed"))
        if not members:
            raise ControlError("no member is given; allowed: advance, now, speed")
        now: datetime | None = None
        advance = timedelta()
        if "now" in members:
            now = parse_member(members, "now", parse_instant)
        if "advance" in members:
            advance = parse_member(members, "advance", parse_duration)
        speed = members.get("speed")
        if "speed" in members and (
            isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 <= speed <= FASTEST
        ):
            raise ControlError(f"speed: {speed!r:.100}: must be a number from 0 to {FASTEST:.0f}")
        try:
            setting = self._service.clock.change(now=now, advance=advance, speed=speed)
        except ValueError as error:
            raise ControlError(str(error)) from error
        except OverflowError as error:
            raise ControlError(f"advance: {members['advance']!r}: leads outside the years 1970 to 2999") from error
        self._service.state.keep(setting)
        await self._service.flush()
        return respond(self._clock())

    async def _change_customers(self, request: web.Request) -> web.Response:
        members = await read_members(request, {"action", "entitlements", *CUSTOMER})
        action = read_choice(members, "action", ("entitle", "unsubscribe"))
        del members["action"]
        listed = members.pop("entitlements", None)
        if listed is not None and action != "entitle":
            raise ControlError("entitlements: are for the action entitle")
        for member, value in members.items():
            try:
                check(Structure({member: CUSTOMER[member]}), {member: value})
            except ServiceError as error:
                raise ControlError(f"{member}: {value!r:.100}: {error.message}") from error
        try:
            given = None if listed is None else read_entitlements(listed)
            customer = change_customers(
                self._service.state, Name.of(members), entitled=action == "entitle", entitlements=given
            )
        except (ServiceError, ValueError) as error:
            raise ControlError(str(getattr(error, "message", error))) from error
        token = None
        if action == "entitle":
            token = secrets.token_urlsafe(32)
            issue_token(self._service.state, self._service.clock.now(), token, customer)
        await self._service.flush()
        return respond({"RegistrationToken": token})

    async def _show_faults(self, _: web.Request) -> web.Response:
        return respond({"faults": list(self._service.faults.pending())})

    async def _add_fault(self, request: web.Request) -> web.Response:
        members = await read_members(request, ("operation", "fault", "count"))
        operation = read_choice({"operation": ANY, **members}, "operation", (ANY, *OPERATIONS))
        fault, count = members.get("fault"), members.get("count", 1)
        if not isinstance(fault, str):
            given = f"{fault!r:.100}: must be" if "fault" in members else "is missing; give"
            raise ControlError(f"fault: {given} one of {', '.join(known_faults())}")
        if not isinstance(count, int) or isinstance(count, bool):
            raise ControlError(f"count: {count!r:.100}: must be a whole number from 0 to {MOST}")
        try:
            self._service.faults.add(operation, fault, count)
        except ValueError as error:
            raise ControlError(str(error)) from error
        return await self._show_faults(request)

    async def _show_records(self, request: web.Request) -> web.Response:
        last, records = read_count(request, "last"), self._service.state.records
        shown = records if last is None else records[len(records) - min(last, len(records)) :]
        return respond({"records": [_show_record(record) for record in shown]})

    async def _show_calls(self, request: web.Request) -> web.Response:
        calls = self._service.calls.after(read_count(request, "after") or 0)
        log = self._service.calls
        return respond({"calls": [call.document() for call in calls], "first": log.first, "last": log.last})

    async def _show_events(self, _: web.Request) -> web.Response:
        return respond({"Records": [event.record for event in self._service.state.trail]})

    async def _rotate_keys(self, request: web.Request) -> web.Response:
        read_choice(await read_members(request, ("rotate",)), "rotate", (True,))
        await self._service.keys.prepare(self._service.keys.rotate(self._service.clock.now()))
        await self._service.flush()
        return respond(self._keys())

    async def _show_public_key(self, request: web.Request) -> web.Response:
        version = int(request.match_info["version"])
        if version not in self._service.state.keys:
            raise web.HTTPNotFound(reason="The product has no such public key version")
        await self._service.keys.prepare(version)
        # A crash must not lose the private half of a public key that a client holds.
        await self._service.flush()
        return web.Response(body=self._service.keys.public_pem(version), content_type="application/x-pem-file")

    def _clock(self) -> dict[str, Any]:
        clock = self._service.clock
        return {"now": format_instant(clock.now()), "speed": float(clock.speed)}

    def _keys(self) -> dict[str, Any]:
        state = self._service.state
        return {
            "public_key_version": state.current_key_version,
            "public_keys": {
                str(key.version): {"expired_at": None if key.expired_at is None else format_instant(key.expired_at)}
                for key in state.keys.values()
            },
        }


def _show_customer(customer: Customer) -> dict[str, Any]:
    return {
        "CustomerIdentifier": customer.customer_identifier,
        "CustomerAWSAccountId": customer.aws_account_id,
        "LicenseArn": customer.license_arn,
        "AgreementId": customer.agreement_id,
        "entitled": customer.entitled,
        "entitlements": [show_entitlement(each) for each in customer.entitlements],
    }


def _show_record(record: MeteringRecord) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "MeteringRecordId": record.metering_record_id,
        "Operation": "MeterUsage" if record.customer is None else "BatchMeterUsage",
        "ProductCode": record.product_code,
        "UsageDimension": record.dimension,
        "Timestamp": format_instant(record.hour),
        "UsageQuantity": str(record.quantity),
        "UsageAllocations": [
            {
                "AllocatedUsageQuantity": str(allocation.quantity),
                "Tags": [{"Key": tag.key, "Value": tag.value} for tag in allocation.tags],
            }
            for allocation in record.allocations
        ],
        "ClientToken": record.client_token,
        "Identity": record.identity,
        "ReceivedAt": format_instant(record.received_at),
    }
    if record.customer is not None:
        shown["LicenseArn" if record.by_license else "CustomerIdentifier"] = record.customer
        shown["CustomerAWSAccountId"] = record.aws_account_id
    return shown
