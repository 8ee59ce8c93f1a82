"""Which license gives a pod the right to run: a pure judgment over what License Manager lists.

Anybody can issue a license for any product to their own account, and AWS lists it as AVAILABLE. So a license counts
only if AWS Marketplace is its issuer, this account has received it as a buyer and has accepted it, and it is within its
validity.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.states import CLOCK_SKEW

MARKETPLACE_FINGERPRINT: Final = "aws:294406891311:AWS/Marketplace:issuer-fingerprint"
"""The issuer of each license that a subscription in AWS Marketplace creates."""
MARKETPLACE_USAGE: Final = "AWS::Marketplace::Usage"
"""A feature entitlement that AWS Marketplace adds to licenses; a checkout of it consumes nothing."""
UNCOUNTED: Final = "None"
"""The unit of an entitlement that is granted or not: a feature or a tier. Any other unit has a count."""
_ACCOUNT: Final = "aws:"
"""How the fingerprint of each AWS account begins. Only AWS Marketplace's account issues licenses that count."""
_BUYER_GRANT: Final = "BuyerGrant"


class LicenseStatus(StrEnum):
    """AWS's own word for the state of a license."""

    AVAILABLE = "AVAILABLE"
    PENDING_AVAILABLE = "PENDING_AVAILABLE"
    DEACTIVATED = "DEACTIVATED"
    SUSPENDED = "SUSPENDED"
    EXPIRED = "EXPIRED"
    PENDING_DELETE = "PENDING_DELETE"
    DELETED = "DELETED"


class Worth(StrEnum):
    """What a license is worth to a pod."""

    GOOD = "good"  # it grants everything that is required
    LACKING = "lacking"  # good, but a required entitlement is missing or too small
    SUSPENDED = "suspended"  # AWS or the seller has stopped it
    EXPIRED = "expired"  # its time is over
    PENDING = "pending"  # it begins later, or the grant waits to be accepted
    GONE = "gone"  # deleted, rejected, or disabled
    FOREIGN = "foreign"  # another issuer, another product, or a view that a delegated grant gives


@dataclass(frozen=True, slots=True)
class LicenseEntitlement:
    """One entitlement of a license."""

    name: str
    unit: str
    max_count: int | None = None
    overage: bool = False
    """The buyer may use more than `max_count`; AWS bills the rest."""
    allow_check_in: bool = True

    @property
    def counted(self) -> bool:
        """A checkout of it takes a number of seats."""
        return self.unit != UNCOUNTED

    def grants(self, count: int) -> bool:
        """Return whether `count` is within what the buyer paid for."""
        return not self.counted or self.overage or (self.max_count or 0) >= count


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """A license that this account has received, as License Manager lists it."""

    arn: str
    sku: str
    issuer: str
    """The fingerprint of the issuer's key."""
    status: str
    """One of `LicenseStatus`, or a word that AWS has added since."""
    received: str
    """AWS's word for the grant: ACTIVE, PENDING_ACCEPT, REJECTED, ..."""
    grant_type: str | None = None
    begin: datetime | None = None
    end: datetime | None = None
    created_at: datetime | None = None
    home_region: str | None = None
    entitlements: tuple[LicenseEntitlement, ...] = ()

    def entitlement(self, name: str) -> LicenseEntitlement | None:
        """Return the entitlement of that name; None if the license has none."""
        return next((each for each in self.entitlements if each.name == name), None)

    def has_expired(self, now: datetime) -> bool:
        """Return whether its time is over, by AWS's status or by this machine's clock."""
        return self.status == LicenseStatus.EXPIRED or (self.end is not None and now >= self.end)


@dataclass(frozen=True, slots=True)
class Survey:
    """What each license of a product is worth, in one look at all of them; the oldest first."""

    found: tuple[tuple[Worth, License], ...] = ()

    def best(self, *order: Worth) -> tuple[Worth, License] | None:
        """Return the first worth of `order` that there is, with its newest license: a checkout takes the newest."""
        newest = dict(self.found)
        return next(((worth, newest[worth]) for worth in order if worth in newest), None)

    def right(self, own: str | None = None) -> License | None:
        """Return the license that gives the right: a good one, else the pod's own though it grants less meanwhile.

        `own` is the license that admitted the pod. An amendment keeps the ARN, a renewal has another one: any other
        license that lacks something never gave this pod a right.
        """
        good = self.best(Worth.GOOD)
        kept = good or next((each for each in self.found if each[0] is Worth.LACKING and each[1].arn == own), None)
        return None if kept is None else kept[1]

    def nearest(self) -> tuple[Worth, License] | None:
        """Return the license that comes nearest to a good one, with its worth; None if none comes near."""
        return self.best(Worth.LACKING, Worth.SUSPENDED, Worth.PENDING, Worth.EXPIRED, Worth.GONE)

    def of(self, arn: str) -> tuple[Worth, License] | None:
        """Return one license with its worth; None if it is not listed."""
        return next((each for each in self.found if each[1].arn == arn), None)


def survey(
    licenses: Iterable[License], sku: str, policy: LicensePolicy, now: datetime, *, any_issuer: bool = False
) -> Survey:
    """Judge every license of a product.

    `any_issuer`: the answers are an emulator's, so an issuer that is no AWS account counts too.
    """
    by_age = sorted(licenses, key=_age)
    return Survey(tuple((judge(each, sku, policy, now, any_issuer=any_issuer), each) for each in by_age))


def judge(license_: License, sku: str, policy: LicensePolicy, now: datetime, *, any_issuer: bool = False) -> Worth:
    """Return what one license is worth; the arguments are those of `survey`."""
    trusted = license_.issuer == MARKETPLACE_FINGERPRINT or (any_issuer and not license_.issuer.startswith(_ACCOUNT))
    if license_.sku != sku or not trusted or license_.grant_type not in {None, _BUYER_GRANT}:
        return Worth.FOREIGN
    match license_.received:
        case "ACTIVE":
            return _judge_status(license_, policy, now)
        case "PENDING_ACCEPT" | "PENDING_WORKFLOW" | "WORKFLOW_COMPLETED":
            return Worth.PENDING
        case _:
            return Worth.GONE


def _judge_status(license_: License, policy: LicensePolicy, now: datetime) -> Worth:
    match license_.status:
        case LicenseStatus.SUSPENDED | LicenseStatus.DEACTIVATED:
            return Worth.SUSPENDED
        case LicenseStatus.EXPIRED:
            return Worth.EXPIRED
        case LicenseStatus.PENDING_AVAILABLE:
            return Worth.PENDING
        case LicenseStatus.AVAILABLE:
            return _judge_validity(license_, policy, now)
        case _:
            return Worth.GONE


def _judge_validity(license_: License, policy: LicensePolicy, now: datetime) -> Worth:
    # This machine's clock may be off; AWS's own status follows within minutes. The skew is added to the present: a
    # license without an end in practice ends where the calendar does.
    if license_.begin is not None and now + CLOCK_SKEW < license_.begin:
        return Worth.PENDING
    if license_.end is not None and now - CLOCK_SKEW >= license_.end:
        return Worth.EXPIRED
    return Worth.LACKING if shortfall(license_, policy) else Worth.GOOD


def shortfall(license_: License, policy: LicensePolicy) -> str:
    """Return what the license lacks of the required entitlements, as a sentence; empty if it lacks nothing."""
    for required in policy.require:
        granted = license_.entitlement(required.name)
        if granted is None:
            return f"The license has no entitlement {required.name}, which the product requires."
        if not granted.grants(max(required.hold, 1)):
            found, needed = granted.max_count or 0, max(required.hold, 1)
            return f"The license grants {found} of the entitlement {required.name}, and each pod requires {needed}."
    return ""


def tier_of(license_: License, tiers: Iterable[str]) -> str | None:
    """Return the highest tier that the license grants; `tiers` begins with the lowest."""
    granted = [name for name in tiers if license_.entitlement(name) is not None]
    return granted[-1] if granted else None


def allows(license_: License, name: str, requested: int, tiers: tuple[str, ...]) -> bool:
    """Return whether the license grants `requested` of an entitlement, or that tier or a higher one.

    The lowest of `tiers` comes first.
    """
    if name in tiers:
        return any(license_.entitlement(each) is not None for each in tiers[tiers.index(name) :])
    granted = license_.entitlement(name)
    return granted is not None and granted.grants(requested)


def proof_entitlement(license_: License, policy: LicensePolicy) -> LicenseEntitlement | None:
    """Return the entitlement by which a checkout proves the right and takes no seat; None if all have a count."""
    preferred = [MARKETPLACE_USAGE, *(each.name for each in policy.require), *reversed(policy.tiers)]
    uncounted = {each.name: each for each in license_.entitlements if not each.counted}
    return next((uncounted[name] for name in preferred if name in uncounted), next(iter(uncounted.values()), None))


def _age(license_: License) -> tuple[datetime, str]:
    return license_.created_at or license_.begin or datetime.min.replace(tzinfo=UTC), license_.arn
