"""A license as it is granted, in a control request or in the seed.

Refuses a license without a product or an entitlement. What is not said follows AWS Marketplace: its own license, a
buyer's active grant, valid for a year.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sidecar.emulator.state.customers import RUNNING_ACCOUNT
from sidecar.emulator.state.license_entries import License
from sidecar.emulator.state.license_members import GrantError, LicenseMembers, read_license_members

MARKETPLACE = "AWS/Marketplace"
MARKETPLACE_ACCOUNT = "294406891311"
HOME_REGION = "us-east-1"
TERM = timedelta(days=365)
"""How long a license is valid unless it is said."""
GRANT_MEMBERS = frozenset(
    {"sku", "arn", "entitlements", "begin", "end", "received", "issuer", "grant_type", "home_region"}
)
"""The members of a license that have an effect when it is granted."""

_SEEDED_AT = datetime(2000, 1, 1, tzinfo=UTC)


def new_license(given: LicenseMembers, now: datetime, *, number: int, default_sku: str | None) -> License:
    """Make the license of a grant; raises GrantError if it names no product or no entitlement."""
    sku = given.sku or default_sku
    if sku is None:
        raise GrantError("sku: is missing; give it here or product.id in the seed file")
    if given.entitlements is None:
        raise GrantError("entitlements: is missing; give at least one, in AWS's members")
    issuer = given.issuer or MARKETPLACE
    account = MARKETPLACE_ACCOUNT if issuer == MARKETPLACE else RUNNING_ACCOUNT
    begin = given.begin or now
    return License(
        arn=given.arn or make_arn(account, sku, number),
        sku=sku,
        issuer=issuer,
        fingerprint=f"aws:{account}:{issuer}:issuer-fingerprint",
        home_region=given.home_region or HOME_REGION,
        entitlements=given.entitlements,
        begin=begin,
        created_at=now,
        end=given.end or begin + TERM,
        received=given.received or "ACTIVE",
        grant_type=given.grant_type if "grant_type" in given.given else "BuyerGrant",
    )


def seeded_license(members: Mapping[str, Any], *, number: int, default_sku: str | None) -> License:
    """Make a license that exists from the start. It has no end unless it is given.

    Raises:
        GrantError: A member is not valid.
    """
    given = read_license_members(members, GRANT_MEMBERS)
    made = new_license(given, given.begin or _SEEDED_AT, number=number, default_sku=default_sku)
    if given.end is None:
        made = replace(made, end=None)
    check_validity(made)
    return made


def check_validity(license_: License) -> None:
    """Refuse a license that ends before it begins; raises GrantError."""
    if license_.end is not None and license_.end < license_.begin:
        raise GrantError(f"end: {license_.end.isoformat()}: lies before begin, {license_.begin.isoformat()}")


def make_arn(account: str, sku: str, number: int) -> str:
    """Return the ARN of a product's license, the same one in every run. `number` counts all licenses."""
    digest = hashlib.sha256(f"{sku}|{number}".encode()).hexdigest()
    return f"arn:aws:license-manager::{account}:license:l-{digest[:32]}"
