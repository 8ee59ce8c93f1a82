"""Obtains proof of the pod's entitlement from AWS Marketplace, and judges kept proof anew.

One call is one attempt: nothing is retried, stored or concluded here. An answer is proof only once its token was found
right in every respect.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from structlog.typing import FilteringBoundLogger

from sidecar.domain.entitlement.binding import bind, is_bound
from sidecar.domain.entitlement.renewal import KEY_ROTATION_CURE
from sidecar.domain.entitlement.states import CLOCK_SKEW, Evidence
from sidecar.domain.entitlement.token import WRONG_SIGNATURE, Asked, IssueWindow, Refusal, issued_at, verify
from sidecar.domain.ports import Clock, SellerKeys
from sidecar.marketplace.client import MarketplaceMetering
from sidecar.marketplace.types import MeterUsageRequest, RegisterUsageRequest, RegisterUsageResult

_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Registered:
    """The answer to one RegisterUsage call, not verified yet."""

    nonce: str
    result: RegisterUsageResult
    requested_at: datetime
    answered_at: datetime


@dataclass(eq=False, repr=False, kw_only=True)
class Prover:
    """Asks for one pod, product and key version. The arguments are those of `sidecar.services.registrar.Registrar`."""

    pod: str
    product_code: str
    public_key_version: int
    client: MarketplaceMetering
    signatures: SellerKeys
    clock: Clock
    refresh_clock: Callable[[], Awaitable[None]] | None
    log: FilteringBoundLogger
    rotation_due: datetime | None = field(default=None, init=False)
    """When the public key version in use expired, as AWS reported it; None while it is current."""

    async def register_pod(self) -> Evidence:
        """Return the proof of one RegisterUsage call over a fresh nonce that names the pod; raises like `register`."""
        # A fresh nonce for every call: the answer to an earlier call cannot pass for this one's.
        return await self.register(bind(self.pod, secrets.token_urlsafe(_RANDOM_BYTES)))

    async def register(self, nonce: str) -> Evidence:
        """Return the proof that one RegisterUsage call gave.

        Raises:
            Refusal: The answer is not AWS's, or not to this question.
            MarketplaceError: There was no answer, or it is an error.
        """
        answer = await self.ask(nonce)
        claims, result, answered_at = await self._check_or_reload(answer), answer.result, answer.answered_at
        self._note_rotation(result.public_key_rotation_timestamp)
        # A clock that was stepped during the call may be far from the signed time, by which a recall judges the proof.
        signed_at = issued_at(claims)
        made_at = answered_at if abs(answered_at - signed_at) <= CLOCK_SKEW else signed_at
        return self._evidence(made_at, nonce, result.signature.rstrip("\r\n"))

    async def ask(self, nonce: str) -> Registered:
        """Return the answer to one RegisterUsage call; raises MarketplaceError if there is none, or it is an error."""
        requested_at = await self._present()
        result = await self.client.register_usage(
            RegisterUsageRequest(
                product_code=self.product_code, public_key_version=self.public_key_version, nonce=nonce
            )
        )
        return Registered(nonce, result, requested_at, await self._present())

    def check(self, answer: Registered) -> Mapping[str, object]:
        """Return the claims of an answer; raises Refusal if the answer is not AWS's, or not to this call."""
        return self._verify(
            answer.nonce, answer.result.signature, IssueWindow.between(answer.requested_at, answer.answered_at)
        )

    async def meter(self, dimensions: Iterable[str]) -> Evidence:
        """Return the proof that AWS would take usage of all `dimensions`: there is nothing in it to remember.

        Raises:
            MarketplaceError: For one of them it would not, or there was no answer.
        """
        for dimension in dimensions:
            await self.client.meter_usage(
                MeterUsageRequest(
                    product_code=self.product_code,
                    timestamp=await self._present(),
                    usage_dimension=dimension,
                    dry_run=True,
                )
            )
        return self.metered()

    def metered(self, at: datetime | None = None) -> Evidence:
        """Return the proof that AWS has taken usage at an instant; None means now."""
        return self._evidence(at or self.clock.now(), "", "")

    def licensed(self) -> Evidence:
        """Return the proof that a license gives the right now; it needs no record."""
        evidence = self.metered()
        return replace(evidence, licensed_at=evidence.registered_at)

    def concerns(self, evidence: Evidence) -> bool:
        """Return whether `evidence` is of this pod and product."""
        return (evidence.pod, evidence.product_code) == (self.pod, self.product_code)

    def proved_at(self, evidence: Evidence) -> datetime | None:
        """Return when AWS signed kept `evidence`; None where it is no proof for this pod, product and key version."""
        if not (
            self.concerns(evidence) and evidence.signature and evidence.public_key_version == self.public_key_version
        ):
            return None
        made_at = evidence.registered_at
        try:
            claims = self._verify(evidence.nonce, evidence.signature, IssueWindow.between(made_at, made_at))
        except Refusal as refusal:
            self.log.error("registration.evidence_refused", rule=refusal.code, detail=refusal.sentence)  # noqa: TRY400 - the sentence is whole
            return None
        if not is_bound(evidence.nonce, self.pod):
            # AWS signed it for another pod, or for an older sidecar, which did not put the pod into its nonces.
            self.log.error("registration.evidence_refused", rule="pod-binding", detail="the nonce names another pod")
            return None
        return issued_at(claims)

    async def _check_or_reload(self, answer: Registered) -> Mapping[str, object]:
        """Return the claims as `check`; the key of a wrong signature is read again, for its file may be corrected."""
        try:
            return self.check(answer)
        except Refusal as refusal:
            if refusal.code != WRONG_SIGNATURE or not await self.signatures.reload(self.public_key_version):
                raise
        return self.check(answer)

    async def _present(self) -> datetime:
        if self.refresh_clock is not None:
            await self.refresh_clock()
        return self.clock.now()

    def _verify(self, nonce: str, signature: str, issued: IssueWindow) -> Mapping[str, object]:
        asked = Asked(self.product_code, self.public_key_version, nonce)
        return verify(signature, self.signatures, self.public_key_version, asked, issued)

    def _evidence(self, made_at: datetime, nonce: str, signature: str) -> Evidence:
        terms = self.pod, self.product_code, self.public_key_version
        return Evidence(*terms, made_at, nonce, signature, follows_records=True)

    def _note_rotation(self, due: datetime | None) -> None:
        if due is None or due == self.rotation_due:
            return
        self.rotation_due = due
        self.log.warning(
            "registration.public_key_rotated",
            public_key_version=self.public_key_version,
            rotation=due.isoformat(),
            cure=KEY_ROTATION_CURE,
        )
