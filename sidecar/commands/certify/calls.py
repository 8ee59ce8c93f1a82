"""Calls AWS and records each answer: dry runs, then the registration, then a record for each dimension.

A record is frozen in the report, on disk, before its first attempt, and every attempt sends exactly that. A call that
has an answer is never made again. After a refusal of one record the next one follows; every other error ends the run,
because the next call would meet it too.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import uuid4

import structlog

from sidecar.adapters.clock import EmulatorClock
from sidecar.commands.certify.file import ReportFile
from sidecar.commands.certify.findings import find_out
from sidecar.commands.certify.license import examine_license
from sidecar.commands.certify.report import Call, CallOutcome, Conclusion, DryRun, Frozen, RecordCall, RegistrationCall
from sidecar.domain import timestamps
from sidecar.domain.entitlement.token import FORGERY_CURE, Refusal
from sidecar.domain.metering import quantity
from sidecar.domain.policy import QuantityKind
from sidecar.domain.ports import SellerKeys
from sidecar.marketplace import (
    Disposition,
    DuplicateRequestException,
    Endpoint,
    IdempotencyConflictException,
    MarketplaceError,
    MarketplaceMetering,
    MeterUsageRequest,
    Taken,
    TimestampOutOfBoundsException,
    call,
)
from sidecar.services.meter_request import build_request
from sidecar.services.proof import Prover
from sidecar.system_clock import SystemClock

T = TypeVar("T")

_NONCE_BYTES = 32
_SHOWN_CLAIMS = frozenset({"productcode", "publickeyversion", "iat"})
"""In lower case, because AWS's pages spell the claims in two ways."""
_MEANINGS: dict[type[MarketplaceError], str] = {
    DuplicateRequestException: "AWS already holds another quantity for this pod, dimension and hour, so another "
    "process meters from it. AWS keeps that record and did not take this one. Certify from a pod or task of its "
    "own, or in the next hour with another --report.",
    IdempotencyConflictException: "AWS knows this client token with other parameters: the report was edited, or copied "
    "and used elsewhere. Check in CloudTrail what AWS took.",
    TimestampOutOfBoundsException: "The request is older than the 6 hours that AWS accepts, or the clock is ahead. "
    "Check in CloudTrail whether AWS took an earlier attempt; then certify with another --report.",
}
"""The cure of a refusal, where its general cure is not enough here."""
_MAYBE_TAKEN = (
    "AWS may hold this record, because the answer to an earlier attempt was lost: check CloudTrail before you "
    "certify with another --report."
)


@dataclass(frozen=True, slots=True)
class Certifier:
    """One run of calls; their answers go into `file`."""

    endpoint: Endpoint
    file: ReportFile
    service: MarketplaceMetering
    signatures: SellerKeys
    clock: SystemClock | EmulatorClock
    retry_for: timedelta

    async def dry_run_all(self) -> bool:
        """Make a dry run for each dimension; return whether AWS allows all. Nothing is metered."""
        report = self.file.report
        report.dry_runs = [DryRun(dimension=dimension) for dimension in report.subject.dimensions]
        for dry_run in report.dry_runs:
            instant = await self.present()
            dry_run.asked_at = timestamps.render(instant)
            request = self._request(dry_run.dimension, instant, str(uuid4()), dry_run=True)
            try:
                result = await self.repeat(partial(self.service.meter_usage, request))
            except MarketplaceError as error:
                await self.note(dry_run, error, refused=error.disposition is not Disposition.RETRY)
                if error.disposition is not Disposition.GIVE_UP_RECORD:
                    return False
            else:
                await self.take(dry_run, result.request_id)
        return all(dry_run.accepted for dry_run in report.dry_runs)

    async def send_all(self) -> bool:
        """Examine the license and register if the product has these, then send each open record.

        Returns:
            Whether AWS accepted everything.
        """
        report = self.file.report
        if report.license is not None and not report.license.accepted:
            await examine_license(self, report.license)
        await find_out(self)
        registration = report.registration
        if registration is None or registration.accepted or await self._register(registration):
            for record in report.records:
                if record.outcome is None and not await self._send(record):
                    break
        report.finished_at = timestamps.render(await self.present())
        self.file.save()
        return report.verdict is Conclusion.PASSED

    async def _register(self, registration: RegistrationCall) -> bool:
        """Register the pod; return whether AWS accepted it and its signature is right."""
        prover = self.make_prover()
        # AWS meters the pod once, however often it registers: a new nonce each time keeps old answers out.
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        registration.asked_at = timestamps.render(await self.present())
        self.file.save()
        try:
            answer = await self.repeat(partial(prover.ask, nonce))
        except MarketplaceError as error:
            await self.note(registration, error, refused=error.disposition is not Disposition.RETRY)
            return False
        registration.request_id = answer.result.request_id
        try:
            claims = prover.check(answer)
        except Refusal as refusal:
            registration.error, registration.cure = f"the signature is not valid: {refusal}", FORGERY_CURE
            await self.conclude(registration, CallOutcome.REFUSED)
            return False
        registration.claims = {name: value for name, value in claims.items() if name.lower() in _SHOWN_CLAIMS}
        registration.key_expired_at = timestamps.render_known(answer.result.public_key_rotation_timestamp)
        await self.take(registration, answer.result.request_id)
        return True

    def make_prover(self) -> Prover:
        """Return what asks for the registration of this pod."""
        target = self.file.report.subject
        return Prover(
            pod=target.pod or "",
            product_code=target.product_code,
            public_key_version=target.public_key_version,
            client=self.service,
            signatures=self.signatures,
            clock=self.clock,
            refresh_clock=self.clock.refresh if isinstance(self.clock, EmulatorClock) else None,
            log=structlog.get_logger(),
        )

    async def _send(self, record: RecordCall) -> bool:
        """Send one record; return whether the next one should follow."""
        # The process that froze it may have been killed before the answer came.
        attempted_before = record.request is not None
        if record.request is None:
            instant = await self.present()
            record.request = Frozen(timestamps.render(instant.replace(microsecond=0)), str(uuid4()))
            record.asked_at = timestamps.render(instant)
            self.file.save()
        request = self._request(record.dimension, record.request.instant, record.request.client_token)
        try:
            result = await self.repeat(partial(self.service.meter_usage, request))
        except MarketplaceError as error:
            given_up = error.disposition is Disposition.GIVE_UP_RECORD
            maybe_taken = attempted_before or error.taken is Taken.UNKNOWN
            extra = _MAYBE_TAKEN if given_up and maybe_taken and type(error) not in _MEANINGS else ""
            await self.note(record, error, refused=given_up, extra=extra)
            return given_up
        record.metering_record_id = result.metering_record_id
        await self.take(record, result.request_id)
        return True

    def _request(
        self, dimension: str, timestamp: datetime, client_token: str, *, dry_run: bool | None = None
    ) -> MeterUsageRequest:
        target = self.file.report.subject
        return build_request(
            product_code=target.product_code,
            dimension=dimension,
            timestamp=timestamp,
            quantity=quantity.parse_signed(target.quantity),
            whole=target.quantity_kind == QuantityKind.INTEGER,
            dry_run=dry_run,
            client_token=client_token,
        )

    async def repeat(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Return what `operation` returns, repeating it while its errors and the time limit allow."""
        return await call(operation, deadline=self.clock.now() + self.retry_for, clock=self.clock)

    async def take(self, call: Call, request_id: str | None) -> None:
        """Record that AWS accepted a call."""
        call.request_id, call.error, call.cure = request_id, None, None
        await self.conclude(call, CallOutcome.ACCEPTED)

    async def note(self, call: Call, error: MarketplaceError, *, refused: bool, extra: str = "") -> None:
        """Record the error of a call; one that is not refused stays open."""
        call.request_id, call.error = error.request_id, str(error)
        call.cure = f"{_MEANINGS.get(type(error), error.cure)} {extra}".rstrip()
        await self.conclude(call, CallOutcome.REFUSED if refused else None)

    async def conclude(self, call: Call, outcome: CallOutcome | None) -> None:
        """Record the outcome of a call in the file."""
        call.answered_at = timestamps.render(await self.present())
        call.outcome = outcome
        self.file.save()

    async def present(self) -> datetime:
        """Return the present time, of the emulator's clock if that is in force."""
        if isinstance(self.clock, EmulatorClock):
            await self.clock.refresh()
        return self.clock.now()
