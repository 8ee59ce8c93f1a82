"""Asks AWS, and writes down each answer: dry runs, then the registration, then a record for each dimension.

A record is frozen in the report, on disk, before its first attempt, and every attempt sends exactly that. What has an
answer is never sent again. A refusal that only concerns one record lets the others go on; everything else ends the
round, because the next call would meet the same.
"""

import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import uuid4

from sidecar.adapters.clock import EmulatorClock, SystemClock
from sidecar.commands.certify.file import ReportFile
from sidecar.commands.certify.report import Call, CallOutcome, Conclusion, DryRun, Frozen, RecordCall, RegistrationCall
from sidecar.domain import timestamps
from sidecar.domain.entitlement.token import Asked, IssueWindow, Refusal, verify
from sidecar.domain.policy import QuantityKind
from sidecar.domain.ports import SignatureCheck
from sidecar.marketplace import (
    BackOff,
    Disposition,
    DuplicateRequestException,
    IdempotencyConflictException,
    MarketplaceError,
    MarketplaceMetering,
    MeterUsageRequest,
    RegisterUsageRequest,
    Taken,
    TimestampOutOfBoundsException,
    call,
)

T = TypeVar("T")

_NONCE_BYTES = 32
_SHOWN_CLAIMS = frozenset({"productcode", "publickeyversion", "iat"})
"""In lower case, because AWS's pages spell the claims in two ways."""
_FORGED = (
    "Check that the public key is the product's for this version, that the clock is right, and that nobody stands in "
    "between."
)
_MEANINGS: dict[type[MarketplaceError], str] = {
    DuplicateRequestException: "AWS already holds another quantity for this pod, dimension and hour, so something else "
    "meters from it. That record stands, and this one was not taken. Certify from a pod or task of its own, or in the "
    "next hour with another --report.",
    IdempotencyConflictException: "AWS knows this client token with other parameters: the report was edited, or copied "
    "and used elsewhere. Look in CloudTrail for what AWS took.",
    TimestampOutOfBoundsException: "The request is older than AWS takes, which is 6 hours, or the clock is ahead. Look "
    "in CloudTrail whether an earlier attempt was taken; then certify with another --report.",
}
"""What a refusal means here, where that is more than its general cure."""
_MAYBE_TAKEN = (
    "An earlier attempt at this record had no answer that proves anything, so AWS may hold it: look in CloudTrail "
    "before certifying with another --report."
)


@dataclass(frozen=True, slots=True)
class Certifier:
    """One round of calls, whose answers go into `file`."""

    file: ReportFile
    service: MarketplaceMetering
    signatures: SignatureCheck
    clock: SystemClock | EmulatorClock
    retry_for: timedelta

    async def dry_run_all(self) -> bool:
        """Ask by dry runs whether each dimension may be metered; whether all may. Nothing is metered."""
        report = self.file.report
        report.dry_runs = [DryRun(dimension=dimension) for dimension in report.subject.dimensions]
        for dry_run in report.dry_runs:
            instant = await self._present()
            dry_run.asked_at = timestamps.render(instant)
            request = self._request(dry_run.dimension, instant, str(uuid4()), dry_run=True)
            try:
                result = await self._repeat(partial(self.service.meter_usage, request))
            except MarketplaceError as error:
                await self._note(dry_run, error, refused=error.disposition is not Disposition.RETRY)
                if error.disposition is not Disposition.GIVE_UP_RECORD:
                    return False
            else:
                await self._take(dry_run, result.request_id)
        return all(dry_run.accepted for dry_run in report.dry_runs)

    async def send_all(self) -> bool:
        """Register where the product does, then send each record that has no answer; whether AWS took everything."""
        report = self.file.report
        registration = report.registration
        if registration is None or registration.accepted or await self._register(registration):
            for record in report.records:
                if record.outcome is None and not await self._send(record):
                    break
        report.finished_at = timestamps.render(await self._present())
        self.file.save()
        return report.verdict is Conclusion.PASSED

    async def _register(self, registration: RegistrationCall) -> bool:
        """Register the pod; whether AWS said yes, and its signature is right."""
        subject = self.file.report.subject
        # AWS meters the pod once, however often it registers: a new nonce each time keeps old answers out.
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        request = RegisterUsageRequest(
            product_code=subject.product_code, public_key_version=subject.public_key_version, nonce=nonce
        )
        asked_at = await self._present()
        registration.asked_at = timestamps.render(asked_at)
        self.file.save()
        try:
            result = await self._repeat(partial(self.service.register_usage, request))
        except MarketplaceError as error:
            await self._note(registration, error, refused=error.disposition is not Disposition.RETRY)
            return False
        registration.request_id = result.request_id
        asked = Asked(subject.product_code, subject.public_key_version, nonce)
        issued = IssueWindow.between(asked_at, await self._present())
        try:
            claims = verify(result.signature, self.signatures, subject.public_key_version, asked, issued)
        except Refusal as refusal:
            registration.error, registration.cure = f"the signature is not believed: {refusal}", _FORGED
            await self._conclude(registration, CallOutcome.REFUSED)
            return False
        registration.claims = {name: value for name, value in claims.items() if name.lower() in _SHOWN_CLAIMS}
        expired_at = result.public_key_rotation_timestamp
        registration.key_expired_at = None if expired_at is None else timestamps.render(expired_at)
        await self._take(registration, result.request_id)
        return True

    async def _send(self, record: RecordCall) -> bool:
        """Send one record; whether the next one should follow."""
        # Whoever froze it may have been killed before the answer came.
        attempted_before = record.request is not None
        if record.request is None:
            instant = await self._present()
            record.request = Frozen(timestamps.render(instant.replace(microsecond=0)), str(uuid4()))
            record.asked_at = timestamps.render(instant)
            self.file.save()
        request = self._request(record.dimension, record.request.instant, record.request.client_token)
        try:
            result = await self._repeat(partial(self.service.meter_usage, request))
        except MarketplaceError as error:
            given_up = error.disposition is Disposition.GIVE_UP_RECORD
            maybe_taken = attempted_before or error.taken is Taken.UNKNOWN
            extra = _MAYBE_TAKEN if given_up and maybe_taken and type(error) not in _MEANINGS else ""
            await self._note(record, error, refused=given_up, extra=extra)
            return given_up
        record.metering_record_id = result.metering_record_id
        await self._take(record, result.request_id)
        return True

    def _request(
        self, dimension: str, timestamp: datetime, client_token: str, *, dry_run: bool | None = None
    ) -> MeterUsageRequest:
        subject = self.file.report.subject
        whole = subject.quantity_kind == QuantityKind.INTEGER
        return MeterUsageRequest(
            product_code=subject.product_code,
            timestamp=timestamp,
            usage_dimension=dimension,
            usage_quantity=int(subject.quantity) if whole else None,
            usage_quantity_as_decimal=None if whole else subject.quantity,
            dry_run=dry_run,
            client_token=client_token,
        )

    async def _repeat(self, operation: Callable[[], Awaitable[T]]) -> T:
        back_off = BackOff(random.random)
        return await call(operation, deadline=self.clock.now() + self.retry_for, clock=self.clock, back_off=back_off)

    async def _take(self, call: Call, request_id: str | None) -> None:
        call.request_id, call.error, call.cure = request_id, None, None
        await self._conclude(call, CallOutcome.ACCEPTED)

    async def _note(self, call: Call, error: MarketplaceError, *, refused: bool, extra: str = "") -> None:
        call.request_id, call.error = error.request_id, str(error)
        call.cure = f"{_MEANINGS.get(type(error), error.cure)} {extra}".rstrip()
        await self._conclude(call, CallOutcome.REFUSED if refused else None)

    async def _conclude(self, call: Call, outcome: CallOutcome | None) -> None:
        call.answered_at = timestamps.render(await self._present())
        call.outcome = outcome
        self.file.save()

    async def _present(self) -> datetime:
        if isinstance(self.clock, EmulatorClock):
            await self.clock.refresh()
        return self.clock.now()
