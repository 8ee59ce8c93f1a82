"""Proves the right of a licensed pod: by the seats that it holds, or by a checkout that takes none.

One call tries the missing checkouts in one order, each once, and stops at the first that AWS does not grant. So no two
pods wait for each other's seats. What follows from the outcome is decided in `sidecar.domain.entitlement.licensing`.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind, CheckoutState
from sidecar.domain.entitlement.license_policy import LicensePolicy, RequiredEntitlement
from sidecar.domain.entitlement.licenses import License, LicenseEntitlement, proof_entitlement
from sidecar.marketplace.errors import MarketplaceError
from sidecar.services.checkout_keeper import CheckoutKeeper


class ProofOutcome(StrEnum):
    """What AWS has answered in this process."""

    PROVEN = "proven"  # it granted every seat, or the checkout that takes none
    UNSEATED = "unseated"  # it refused a seat
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class Proof:
    """How one call of the proof has ended."""

    outcome: ProofOutcome
    error: MarketplaceError | None = None
    """Why a checkout has no answer."""
    refused_at: datetime | None = None
    """When AWS refused the seat, if that was before this call."""


class LicenseProver:
    """The proof of one pod."""

    def __init__(self, checkouts: CheckoutKeeper, policy: LicensePolicy) -> None:
        self._checkouts = checkouts
        self._policy = policy

    def holds_all(self, license_: License) -> bool:
        """Return whether the pod holds every seat that it requires."""
        return all(self._is_held(required) for required, _ in self._seats(license_))

    def is_answered(self, license_: License) -> bool:
        """Return whether AWS has granted meanwhile what the proof waits for."""
        seats = self._seats(license_)
        if seats:
            keys = [(CheckoutKind.SEAT, required.name) for required, _ in seats]
            return self.holds_all(license_) and self._checkouts.confirmed.issuperset(keys)
        entitlement = proof_entitlement(license_, self._policy)
        return entitlement is not None and (CheckoutKind.PROBE, entitlement.name) in self._checkouts.confirmed

    def needs_checkout(self, license_: License) -> bool:
        """Return whether the proof needs a checkout, and with it the ledger; False where the license alone proves."""
        return bool(self._seats(license_)) or proof_entitlement(license_, self._policy) is not None

    def not_before(self, license_: License) -> datetime | None:
        """Return when the first seat that is not held may be asked for again; None if no call for it has failed."""
        missing = (required.name for required, _ in self._seats(license_) if not self._is_held(required))
        first = next(missing, None)
        return None if first is None else self._checkouts.not_before(CheckoutKind.SEAT, first)

    async def prove(self, license_: License, *, seated: bool) -> Proof:
        """Try the missing checkouts up to the first without a grant.

        `seated`: the pod has had all its seats. Another pod returns later seats if AWS refuses it an earlier one.

        Raises:
            LedgerUnavailable: The ledger cannot be used (sidecar.domain.metering.events).
        """
        seats = self._seats(license_)
        if not seats:
            return await self._prove_without_seat(license_)
        for place, (required, granted) in enumerate(seats):
            match await self._hold(license_, required, granted):
                case CheckoutState.HELD:
                    continue
                case CheckoutState.REFUSED:
                    if not seated:
                        await self._give_up(seats[place + 1 :])
                    return Proof(ProofOutcome.UNSEATED)
                case _ if (key := (CheckoutKind.SEAT, required.name)) in self._checkouts.refused:
                    # Where the seats are taken, the silence of another Region must not keep the pod out.
                    return Proof(ProofOutcome.UNSEATED, refused_at=self._checkouts.refused[key])
                case _:
                    return Proof(ProofOutcome.UNANSWERED, self._checkouts.errors.get(key))
        return Proof(ProofOutcome.PROVEN)

    async def _give_up(self, seats: Iterable[tuple[RequiredEntitlement, LicenseEntitlement]]) -> None:
        for required, _ in seats:
            await self._checkouts.give_up(CheckoutKind.SEAT, required.name)
            await self._checkouts.advance(CheckoutKind.SEAT, required.name)

    async def _prove_without_seat(self, license_: License) -> Proof:
        """Make a checkout that takes nothing; a license without such an entitlement is proof itself."""
        entitlement = proof_entitlement(license_, self._policy)
        if entitlement is None:
            return Proof(ProofOutcome.PROVEN)
        key = (CheckoutKind.PROBE, entitlement.name)
        if key not in self._checkouts.confirmed:
            if self._checkouts.find(*key) is None:
                await self._intend(CheckoutKind.PROBE, license_, entitlement, 1)
            await self._checkouts.advance(*key, until_confirmed=True)
        if key in self._checkouts.confirmed:
            self._checkouts.confirmed.discard(key)
            return Proof(ProofOutcome.PROVEN)
        return Proof(ProofOutcome.UNANSWERED, self._checkouts.errors.get(key))

    async def _hold(
        self, license_: License, required: RequiredEntitlement, granted: LicenseEntitlement
    ) -> CheckoutState:
        """Hold the seats of one entitlement; return what AWS answered in this process, `intended` if nothing."""
        key = (CheckoutKind.SEAT, required.name)
        live = self._checkouts.find(*key)
        fits = live is not None and (live.count, live.sku) == (required.hold, license_.sku)
        if live is not None and (live.returning or not fits):
            # It was given up, or the configuration has changed since.
            await self._checkouts.give_up(*key)
            live = await self._checkouts.advance(*key)
            if fits:
                live = await self._checkouts.resume(*key)
            if live is not None and live.state.live and live.returning:
                return CheckoutState.INTENDED
        if live is not None and live.state is CheckoutState.HELD:
            if key in self._checkouts.confirmed:
                return CheckoutState.HELD
            live = await self._checkouts.confirm_held(*key)
            if live is not None and live.state.live:
                return live.state if key in self._checkouts.confirmed else CheckoutState.INTENDED
        if self._checkouts.find(*key) is None:
            await self._intend(CheckoutKind.SEAT, license_, granted, required.hold)
        after = await self._checkouts.advance(*key)
        # One that AWS has allowed only in part is held until its return is answered.
        return CheckoutState.INTENDED if after is None or (after.returning and after.state.live) else after.state

    async def _intend(
        self, kind: CheckoutKind, license_: License, entitlement: LicenseEntitlement, count: int
    ) -> Checkout:
        return await self._checkouts.intend(
            kind,
            entitlement.name,
            entitlement,
            issuer=license_.issuer,
            count=count,
            client_token=str(uuid.uuid4()),
        )

    def _is_held(self, required: RequiredEntitlement) -> bool:
        found = self._checkouts.find(CheckoutKind.SEAT, required.name)
        if found is None or found.state is not CheckoutState.HELD or found.returning:
            return False
        if (found.kind, found.id) in self._checkouts.unknown:
            return False  # asked for again once a new look has found a good license
        return found.count == required.hold

    def _seats(self, license_: License) -> list[tuple[RequiredEntitlement, LicenseEntitlement]]:
        """Return the entitlements of which this pod holds seats, by name. One without a count has none to hold."""
        found = ((required, license_.entitlement(required.name)) for required in self._policy.seats)
        return [(required, granted) for required, granted in found if granted is not None and granted.counted]
