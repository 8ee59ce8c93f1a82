"""What the emulator remembers of licenses: the licenses that the account has received, and what is checked out.

Refuses behavior: these are values, as those of `entries`.
"""

from dataclasses import dataclass, field
from datetime import datetime

from sidecar.emulator.protocol.license_requests import CheckoutLicenseRequest


@dataclass(frozen=True, slots=True)
class EntitlementTerms:
    """One entitlement of a license, in AWS's members. The unit None has no count."""

    name: str
    unit: str
    value: str | None = None
    max_count: int | None = None
    overage: bool | None = None
    allow_check_in: bool | None = None


@dataclass(frozen=True, slots=True)
class License:
    """A license as the account has received it."""

    arn: str
    sku: str
    issuer: str
    """The issuer's name; `AWS/Marketplace` is AWS Marketplace, any other one the account itself."""
    fingerprint: str
    home_region: str
    entitlements: tuple[EntitlementTerms, ...]
    begin: datetime
    created_at: datetime
    end: datetime | None = None
    """None is valid until it is changed."""
    received: str = "ACTIVE"
    grant_type: str | None = "BuyerGrant"
    set_status: str | None = None
    """What somebody has set; None follows from the validity."""
    version: int = 1
    """Counts the changes, from 1."""
    removed: bool = False
    """No longer in any list."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """What a client token took from a license; the latest entry of a token counts."""

    request: CheckoutLicenseRequest
    license_arn: str
    identity: str
    issued_at: datetime
    consumption_token: str = field(repr=False)
    expires_at: datetime | None = None
    """When it returns by itself; None for a draw-down."""
    returned_at: datetime | None = None
    extensions: int = 0
    """How often its consumption token was replaced by another one."""
