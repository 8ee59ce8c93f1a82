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
    """A license as the account has received it.

    Attributes:
        issuer: The issuer's name; `AWS/Marketplace` is AWS Marketplace, any other one the account itself.
        end: None is valid until it is changed.
        set_status: What somebody has set; None follows from the validity.
        version: Counts the changes, from 1.
        removed: No longer in any list.
    """

    arn: str
    sku: str
    issuer: str
    fingerprint: str
    home_region: str
    entitlements: tuple[EntitlementTerms, ...]
    begin: datetime
    created_at: datetime
    end: datetime | None = None
    received: str = "ACTIVE"
    grant_type: str | None = "BuyerGrant"
    set_status: str | None = None
    version: int = 1
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Checkout:
    """What a client token took from a license; the latest entry of a token counts.

    Attributes:
        expires_at: When it returns by itself; None for a draw-down.
        extensions: How often its consumption token was replaced by another one.
    """

    request: CheckoutLicenseRequest
    license_arn: str
    identity: str
    issued_at: datetime
    consumption_token: str = field(repr=False)
    expires_at: datetime | None = None
    returned_at: datetime | None = None
    extensions: int = 0
