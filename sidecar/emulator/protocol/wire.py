"""HTTP as AWS speaks it: JSON 1.1, Smithy's RPC v2 with CBOR, and the query protocol of the token service.

Refuses with AWS's own error names, so an SDK raises the same errors as against AWS. Invariant: nothing that a
client sends is answered by HTTP 500 unless that was asked for, or the state file failed.
"""

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

from aiohttp import web

from sidecar.emulator.call_log import CallNotes, without_tokens
from sidecar.emulator.clock import system_now
from sidecar.emulator.faults import ERROR_NAMES, STS_OPERATION
from sidecar.emulator.protocol.body_codecs import CBOR, JSON, BodyCodec
from sidecar.emulator.protocol.calls import Call
from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.services import RpcService, find_service
from sidecar.emulator.protocol.sigv4 import SignedRequest, authenticate
from sidecar.emulator.protocol.sts import assume_role, caller_xml, credentials_xml, error_xml
from sidecar.emulator.protocol.trail import make_event, without_excess
from sidecar.emulator.service import Service

LARGEST_BODY = 8 * 1024 * 1024
"""More than the largest valid MeterUsage: 2500 allocations with five full tags each."""

RPC_PATH = "/service/{service}/operation/{operation}"
"""Where RPC v2 calls; the other protocols call `/`."""

_HELD_S = 120.0

_STS_REFUSALS = {
    "throttle": "Throttling",
    "internal": "InternalFailure",
    "access-denied": "AccessDenied",
    "expired-token": "ExpiredTokenException",
}

# What SigV4 refuses has other names in the query protocol.
_STS_NAMES = {
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "IncompleteSignatureException": "IncompleteSignature",
    "ExpiredTokenException": "ExpiredToken",
}


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One HTTP request and what is noted of it."""

    service: Service
    request: web.Request
    notes: CallNotes
    codec: BodyCodec

    @property
    def request_id(self) -> str:
        return self.notes.request_id

    def answer(self, status: int, members: dict[str, Any]) -> web.Response:
        self.notes.status = status
        return web.Response(
            status=status,
            body=self.codec.encode(members),
            headers={**self.codec.headers, "x-amzn-RequestId": self.request_id},
        )

    def refuse(self, error: ServiceError, message_member: str = "message") -> web.Response:
        self.note(error)
        return self.answer(error.status, {"__type": error.code, message_member: error.message, **error.members})

    def xml_answer(self, status: int, document: str) -> web.Response:
        self.notes.status = status
        return web.Response(
            status=status,
            body=document.encode(),
            headers={"Content-Type": "text/xml", "x-amzn-RequestId": self.request_id},
        )

    def log(self) -> None:
        self.service.calls.add(self.notes, self.service.clock.now())

    def note(self, error: ServiceError) -> None:
        self.notes.error, self.notes.message, self.notes.rule = error.code, error.message, error.rule

    def take_fault(self, operation: str) -> str | None:
        """Return the fault that is armed for this call."""
        fault = self.service.faults.take(operation)
        self.notes.fault = fault
        return fault

    def signed(self, body: bytes) -> SignedRequest:
        headers = {name.lower(): ",".join(self.request.headers.getall(name)) for name in self.request.headers}
        url = self.request.rel_url
        return SignedRequest(self.request.method, url.raw_path, url.raw_query_string, headers, body)

    async def misbehave(self, fault: str | None) -> web.Response | None:
        """Carry out a fault that keeps the call from being processed."""
        if fault in ("garbage", "timeout", "disconnect"):
            self.notes.rule = Rule.FAULT
        if fault == "garbage":
            self.notes.status = 200
            return web.Response(body=b"<html>\xff\x00 this is no answer", headers={"Content-Type": "text/html"})
        if fault == "timeout":
            self.log()
            await self._hold()
        if fault in ("timeout", "disconnect"):
            return self.hang_up()
        return None

    async def _hold(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _HELD_S
        # aiohttp does not report that a client has left, so this polls.
        while loop.time() < until and self._is_connected():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)

    def _is_connected(self) -> bool:
        return self.request.transport is not None and not self.request.transport.is_closing()

    def hang_up(self) -> web.Response:
        # The connection goes before the answer does, so the client sees the end of the stream and no status.
        self.notes.status = None
        self.notes.rule = Rule.FAULT
        if self.request.transport is not None:
            self.request.transport.close()
        return web.Response(status=499)


async def answer(service: Service, request: web.Request) -> web.StreamResponse:
    """Answer a call of any protocol."""
    codec = CBOR if "operation" in request.match_info else JSON
    exchange = _Exchange(service, request, CallNotes("unknown", str(uuid4())), codec)
    try:
        return await _answer(exchange)
    finally:
        if exchange.notes.fault != "timeout":  # logged before its wait
            exchange.log()


async def _answer(exchange: _Exchange) -> web.StreamResponse:
    request = exchange.request
    is_form = request.content_type == "application/x-www-form-urlencoded"
    if exchange.codec is JSON and is_form and "X-Amz-Target" not in request.headers:
        try:
            return await _answer_sts(exchange)
        except ServiceError as error:
            exchange.note(error)
            return exchange.xml_answer(error.status, error_xml(error, exchange.request_id))
    name, operation = _name_call(request, exchange.codec)
    called = find_service(name, operation, exchange.codec.protocol)
    if called is None:
        return exchange.refuse(ServiceError("UnknownOperationException", exchange.codec.unknown))
    exchange.notes.operation = operation
    try:
        return await _perform(exchange, called)
    except ServiceError as error:
        return exchange.refuse(error, called.message_member)


def _name_call(request: web.Request, codec: BodyCodec) -> tuple[str, str]:
    """Return the names of service and operation; empty ones where the request has none of its protocol."""
    if codec is JSON:
        name, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
        return name, operation
    if request.headers.get("Smithy-Protocol") != CBOR.headers["Smithy-Protocol"]:
        return "", ""
    return request.match_info["service"], request.match_info["operation"]


async def _perform(exchange: _Exchange, called: RpcService) -> web.StreamResponse:
    service, notes = exchange.service, exchange.notes
    operation = notes.operation
    body = await _read_body(exchange.request)
    caller = authenticate(exchange.signed(body), called.signing_name, service.state.sessions, system_now())
    notes.identity, notes.region = caller.identity, caller.region
    fault = exchange.take_fault(operation)
    unanswered = await exchange.misbehave(fault)
    if unanswered is not None:
        return unanswered
    answer = await called.perform(service, Call(operation, caller, body, exchange.codec, fault))
    # As in CloudTrail, the log has what the caller was answered: a 500 does not show that the call was processed.
    error = ServiceError.of_fault(called.internal_error) if fault == "internal-taken" else answer.error
    service.state.keep(
        make_event(
            called.event_source,
            operation,
            caller,
            service.clock.now(),
            exchange.request_id,
            parameters=without_excess(answer.parameters, len(body)),
            elements=None if fault == "internal-taken" else answer.elements,
            error=error,
        )
    )
    notes.parameters, notes.elements = without_tokens(answer.parameters), answer.elements
    notes.rule = answer.rule if fault is None else Rule.FAULT
    await _flush(service, called.internal_error)
    if fault in ("drop-response", "drop-new-token"):
        return exchange.hang_up()
    if error is not None:
        raise error
    return exchange.answer(200, answer.result)


async def _answer_sts(exchange: _Exchange) -> web.StreamResponse:
    body = await _read_body(exchange.request)
    try:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000))
    except ValueError as error:
        raise ServiceError("ValidationError", "The body is not a form.") from error
    match form.get("Action"):
        case "AssumeRoleWithWebIdentity":
            exchange.notes.operation = STS_OPERATION
            return await _assume_role(exchange, form)
        case "GetCallerIdentity":
            exchange.notes.operation = "GetCallerIdentity"
            return _get_caller_identity(exchange, body)
        case _:
            raise ServiceError("InvalidAction", "Action names no operation of this service.")


def _get_caller_identity(exchange: _Exchange, body: bytes) -> web.StreamResponse:
    try:
        caller = authenticate(exchange.signed(body), "sts", exchange.service.state.sessions, system_now())
    except ServiceError as error:
        raise ServiceError(_STS_NAMES.get(error.code, error.code), error.message, rule=error.rule) from error
    exchange.notes.identity, exchange.notes.rule = caller.identity, Rule.SIGNATURE
    return exchange.xml_answer(200, caller_xml(caller, exchange.request_id))


async def _assume_role(exchange: _Exchange, form: dict[str, str]) -> web.StreamResponse:
    service, notes = exchange.service, exchange.notes
    notes.parameters = {"roleArn": form.get("RoleArn"), "roleSessionName": form.get("RoleSessionName")}
    fault = exchange.take_fault(STS_OPERATION)
    unanswered = await exchange.misbehave(fault)
    if unanswered is not None:
        return unanswered
    if fault in ERROR_NAMES or fault in _STS_REFUSALS:
        raise ServiceError.of_fault(_STS_REFUSALS.get(fault, fault))
    session, subject = assume_role(service.state, system_now(), form)
    notes.identity, notes.rule = session.identity, Rule.WEB_IDENTITY
    await _flush(service, "InternalServiceErrorException")
    if fault == "drop-response":
        return exchange.hang_up()
    if fault == "internal-taken":
        raise ServiceError.of_fault(_STS_REFUSALS["internal"])
    return exchange.xml_answer(200, credentials_xml(session, subject, exchange.request_id))


async def _read_body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise ServiceError("RequestEntityTooLargeException", "The request is too large.") from error


async def _flush(service: Service, internal_error: str) -> None:
    try:
        await service.flush()
    except OSError as error:
        raise ServiceError(internal_error, f"The state file: {error.strerror}", rule=Rule.STATE_FILE) from error
