"""What the seller chose for contract prices: the keys of the group `license`."""

from dataclasses import dataclass
from datetime import timedelta

from sidecar.domain.declaration import Group, key
from sidecar.domain.policy import OnExpired, OnTaken


@dataclass(frozen=True, slots=True)
class RequiredEntitlement:
    """An entitlement that the license must grant."""

    name: str
    hold: int = 0
    """Seats that each pod holds while it lives; 0 looks at the entitlement and takes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class LicensePolicy(Group):
    """What a license must grant, and what follows when it does not."""

    require: tuple[RequiredEntitlement, ...] = key(
        (),
        "Entitlements of the contract that the license must grant, by API name. With `hold` each pod holds so many "
        "seats while it lives. Without it the sidecar looks at the entitlement and takes nothing.",
        allowed="`{name, hold}`; `hold` from 0",
    )
    tiers: tuple[str, ...] = key(
        (),
        "Tiered entitlements of the contract, lowest first. The highest one that the license grants is `tier`.",
        allowed="list of names",
    )
    refresh: timedelta = key(
        timedelta(minutes=15),
        "Time between two looks at the license.",
        least=timedelta(minutes=1),
        most=timedelta(hours=24),
        because="AWS recommends 15m",
    )
    on_taken: OnTaken = key(
        OnTaken.ADMIT,
        "When every seat is taken though the license is good: `admit` runs the pod without a seat for as long as a "
        "lost seat may still be held elsewhere; a refusal after that makes it `pending`. `wait` keeps the pod "
        "`pending` from the start; use it only where an old pod ends before the new one starts.",
    )
    on_expired: OnExpired = key(
        OnExpired.DENY,
        "A pod that starts after the license has expired is denied, or runs with a fault (`warn`). A pod that runs "
        "keeps running until it is replaced.",
    )
    warn_before: timedelta = key(
        timedelta(days=30),
        "How long before the end of the license a fault reports it. `0s` is never.",
        least=timedelta(),
        most=timedelta(days=365),
        because="a contract of a year would be reported from its start",
    )

    @property
    def seats(self) -> list[RequiredEntitlement]:
        """The entitlements of which each pod holds seats, in the order in which every pod takes them."""
        return sorted((each for each in self.require if each.hold), key=lambda each: each.name)
