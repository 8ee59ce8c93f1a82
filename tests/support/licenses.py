"""Licenses and policies as tests need them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sidecar.domain.entitlement.checkouts import Checkout, CheckoutKind
from sidecar.domain.entitlement.license_policy import LicensePolicy, RequiredEntitlement
from sidecar.domain.entitlement.licenses import (
    MARKETPLACE_FINGERPRINT,
    MARKETPLACE_USAGE,
    License,
    LicenseEntitlement,
)
from sidecar.domain.entitlement.licensing import LicenseTerms
from sidecar.domain.entitlement.states import EntitlementSource
from sidecar.domain.policy import OnExpired, OnTaken

START = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
SKU = "prod-abcdefghijklm"
OTHER_SKU = "prod-zzzzzzzzzzzzz"
ARN = "arn:aws:license-manager::294406891311:license:l-1"
SEATS = LicenseEntitlement("seats", "Count", 1)
USERS = LicenseEntitlement("users", "Count", 500)
FEATURE = LicenseEntitlement(MARKETPLACE_USAGE, "None")
BASIC = LicenseEntitlement("basic", "None")
PRO = LicenseEntitlement("pro", "None")
LOOK_ONLY = LicensePolicy(require=(RequiredEntitlement("users"),), tiers=("basic", "pro"))
HOLD_ONE = LicensePolicy(require=(RequiredEntitlement("seats", 1),))
GOOD = License(
    arn=ARN,
    sku=SKU,
    issuer=MARKETPLACE_FINGERPRINT,
    status="AVAILABLE",
    received="ACTIVE",
    begin=START - timedelta(days=100),
    end=START + timedelta(days=265),
    created_at=START - timedelta(days=100),
    home_region="us-east-1",
    entitlements=(SEATS, USERS, FEATURE),
)
CHECKOUT = Checkout(
    id="seats",
    kind=CheckoutKind.SEAT,
    sku=SKU,
    issuer=MARKETPLACE_FINGERPRINT,
    entitlement="seats",
    unit="Count",
    count=1,
    client_token="token",
    region="us-east-1",
    intended_at=START,
    confirmed_at=START,
)
"""A seat of the pod, intended and not attempted yet."""
RENEWED = replace(
    GOOD,
    arn=f"{ARN}-renewed",
    begin=START,
    end=START + timedelta(days=365),
    created_at=START,
)


def terms(
    policy: LicensePolicy = LOOK_ONLY,
    *,
    on_taken: OnTaken = OnTaken.ADMIT,
    on_expired: OnExpired = OnExpired.DENY,
    remember_for: timedelta = timedelta(hours=24),
    pod: str = "pod-1",
    sku: str = SKU,
) -> LicenseTerms:
    """Return the terms of a pod."""
    return LicenseTerms(
        pod=pod,
        product_code="0abc123example",
        public_key_version=1,
        sku=sku,
        policy=replace(policy, on_taken=on_taken, on_expired=on_expired),
        source=EntitlementSource.LIVE,
        retry_for=timedelta(minutes=30),
        remember_for=remember_for,
    )
