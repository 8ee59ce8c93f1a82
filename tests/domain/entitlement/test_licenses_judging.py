"""Which license is good, and what it grants."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sidecar.domain.entitlement.license_policy import LicensePolicy, RequiredEntitlement
from sidecar.domain.entitlement.licenses import (
    MARKETPLACE_USAGE,
    License,
    LicenseEntitlement,
    Worth,
    allows,
    judge,
    proof_entitlement,
    shortfall,
    survey,
    tier_of,
)
from tests.support.licenses import BASIC, FEATURE, GOOD, HOLD_ONE, LOOK_ONLY, OTHER_SKU, PRO, RENEWED, SKU, START, USERS

MINUTE = timedelta(minutes=1)
LATER = START + timedelta(days=1)
SELF_ISSUED = "aws:111122223333:Own issuer:issuer-fingerprint"


@pytest.mark.parametrize(
    ("found", "worth"),
    [
        (GOOD, Worth.GOOD),
        (replace(GOOD, grant_type="BuyerGrant"), Worth.GOOD),
        (replace(GOOD, grant_type="DelegateGrant"), Worth.FOREIGN),
        (replace(GOOD, issuer=SELF_ISSUED), Worth.FOREIGN),
        (replace(GOOD, issuer=""), Worth.FOREIGN),
        (replace(GOOD, sku=OTHER_SKU), Worth.FOREIGN),
        (replace(GOOD, received="PENDING_ACCEPT"), Worth.PENDING),
        (replace(GOOD, received="PENDING_WORKFLOW"), Worth.PENDING),
        (replace(GOOD, received="REJECTED"), Worth.GONE),
        (replace(GOOD, received="DISABLED"), Worth.GONE),
        (replace(GOOD, received="DELETED"), Worth.GONE),
        (replace(GOOD, received=""), Worth.GONE),
        (replace(GOOD, status="SUSPENDED"), Worth.SUSPENDED),
        (replace(GOOD, status="DEACTIVATED"), Worth.SUSPENDED),
        (replace(GOOD, status="EXPIRED"), Worth.EXPIRED),
        (replace(GOOD, status="PENDING_AVAILABLE"), Worth.PENDING),
        (replace(GOOD, status="DELETED"), Worth.GONE),
        (replace(GOOD, status="PENDING_DELETE"), Worth.GONE),
        (replace(GOOD, status="A_NEW_WORD"), Worth.GONE),
        (replace(GOOD, begin=LATER), Worth.PENDING),
        (replace(GOOD, begin=START + 4 * MINUTE), Worth.GOOD),
        (replace(GOOD, end=START - 4 * MINUTE), Worth.GOOD),
        (replace(GOOD, end=START - 5 * MINUTE), Worth.EXPIRED),
        (replace(GOOD, end=None), Worth.GOOD),
        (replace(GOOD, entitlements=(FEATURE,)), Worth.LACKING),
    ],
)
def test_each_license_is_judged(found: License, worth: Worth) -> None:
    """Issuer, product, grant, status, validity and entitlements each decide by themselves."""
    assert worth is judge(found, SKU, LOOK_ONLY, START)


@pytest.mark.parametrize(
    ("issuer", "worth"), [("local-tests", Worth.GOOD), (SELF_ISSUED, Worth.FOREIGN), (GOOD.issuer, Worth.GOOD)]
)
def test_other_issuers_in_emulator(issuer: str, worth: Worth) -> None:
    """With an emulator another issuer counts, but never another AWS account: that is a buyer's own license."""
    assert worth is judge(replace(GOOD, issuer=issuer), SKU, LOOK_ONLY, START, any_issuer=True)


@pytest.mark.parametrize(
    ("granted", "hold", "sentence"),
    [
        (LicenseEntitlement("seats", "Count", 2), 2, ""),
        (
            LicenseEntitlement("seats", "Count", 1),
            2,
            "The license grants 1 of the entitlement seats, and each pod requires 2.",
        ),
        (
            LicenseEntitlement("seats", "Count", 0),
            0,
            "The license grants 0 of the entitlement seats, and each pod requires 1.",
        ),
        (LicenseEntitlement("seats", "Count", 1, overage=True), 2, ""),
        (LicenseEntitlement("seats", "None"), 2, ""),
        (
            LicenseEntitlement("other", "Count", 9),
            1,
            "The license has no entitlement seats, which the product requires.",
        ),
    ],
)
def test_hold_above_maximum_is_shortfall(granted: LicenseEntitlement, hold: int, sentence: str) -> None:
    """A pod never asks for more than the buyer paid for, unless the contract allows more."""
    policy = LicensePolicy(require=(RequiredEntitlement("seats", hold),))
    assert sentence == shortfall(replace(GOOD, entitlements=(granted,)), policy)


def test_newest_of_two_licenses_counts() -> None:
    """AWS takes the newest license of a product, and so does the judgment, whatever the order of the list."""
    found = survey([RENEWED, GOOD], SKU, LOOK_ONLY, START)
    assert (Worth.GOOD, RENEWED) == found.best(Worth.GOOD)
    assert (Worth.GOOD, GOOD) == found.of(GOOD.arn)


def test_good_one_among_bad_ones() -> None:
    """One good license suffices, whatever else the account has received."""
    others = [replace(RENEWED, status=status) for status in ("SUSPENDED", "EXPIRED", "DELETED")]
    found = survey([GOOD, *others], SKU, LOOK_ONLY, START)
    assert (Worth.GOOD, GOOD) == found.best(Worth.GOOD, Worth.SUSPENDED)


@pytest.mark.parametrize(
    ("name", "requested", "allowed"),
    [
        ("users", 500, True),
        ("users", 501, False),
        ("basic", 1, True),
        ("pro", 1, True),
        ("enterprise", 1, False),
        ("unknown", 1, False),
        (MARKETPLACE_USAGE, 1, True),
    ],
)
def test_entitlement_allowed(name: str, requested: int, *, allowed: bool) -> None:
    """A count is allowed up to the maximum, a tier if it or a higher one is granted."""
    license_ = replace(GOOD, entitlements=(USERS, PRO, FEATURE))
    assert allowed is allows(license_, name, requested, ("basic", "pro", "enterprise"))


def test_overage_allows_more() -> None:
    """With overage the buyer may use more than the contract counts."""
    license_ = replace(GOOD, entitlements=(replace(USERS, overage=True),))
    assert allows(license_, "users", 10_000, ())


def test_highest_tier() -> None:
    """The tier is the highest granted one, in the seller's order."""
    license_ = replace(GOOD, entitlements=(PRO, BASIC))
    assert ("pro", None) == (tier_of(license_, ("basic", "pro")), tier_of(license_, ("gold",)))


@pytest.mark.parametrize(
    ("entitlements", "policy", "proof"),
    [
        ((USERS, PRO, FEATURE), LOOK_ONLY, FEATURE),
        ((USERS, BASIC, PRO), LOOK_ONLY, PRO),
        ((USERS, BASIC), HOLD_ONE, BASIC),
        ((USERS,), LOOK_ONLY, None),
    ],
)
def test_proof_takes_no_seat(
    entitlements: tuple[LicenseEntitlement, ...], policy: LicensePolicy, proof: LicenseEntitlement | None
) -> None:
    """The right is proved by an entitlement without a count, AWS's own where the license has it."""
    assert proof == proof_entitlement(replace(GOOD, entitlements=entitlements), policy)
