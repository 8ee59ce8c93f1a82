"""What the emulator remembers: one class for each kind of fact.

Refuses behavior: these are values. Invariant: each holds everything needed to put it back into the state, so
the state is the sum of its entries in order.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sidecar.emulator.protocol.requests import Allocation, MeterUsageRequest
from sidecar.emulator.rules.quantities import Quantity
from sidecar.emulator.state.license_entries import Checkout, License


@dataclass(frozen=True, slots=True)
class MeteringRecord:
    """Usage that was accepted, by MeterUsage or as one record of a BatchMeterUsage."""

    metering_record_id: str
    product_code: str
    dimension: str
    hour: datetime
    quantity: Quantity
    allocations: tuple[Allocation, ...]
    identity: str
    """The pod or task that sent it; for a batch the caller, who is not part of the slot."""
    received_at: datetime
    client_token: str | None = None
    customer: str | None = None
    """The batch customer's CustomerIdentifier, or its LicenseArn; None for MeterUsage."""
    aws_account_id: str | None = None
    by_license: bool = False


@dataclass(frozen=True, slots=True)
class UsedToken:
    """A client token and the request that it stood for."""

    identity: str
    request: MeterUsageRequest


@dataclass(frozen=True, slots=True)
class Registration:
    """A pod that RegisterUsage admitted; it never gets CustomerNotEntitledException again."""

    product_code: str
    identity: str
    public_key_version: int
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class FirstCall:
    """When a pod first called an operation of container products."""

    identity: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CustomerEntitlement:
    """What a customer may use of one dimension of a SaaS contract."""

    dimension: str
    kind: str
    """AWS's member for the value, such as IntegerValue."""
    value: int | float | bool | str
    expires_at: datetime | None = None
    """None is valid until it is changed."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A buyer of the SaaS product."""

    license_arn: str
    aws_account_id: str
    customer_identifier: str | None
    """None for integrations that know the buyer by account and license."""
    agreement_id: str
    entitled: bool
    ever_entitled: bool
    """It once was; from then on unnamed customers count as strangers."""
    entitlements: tuple[CustomerEntitlement, ...] = ()


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """What a buyer's browser brings along, for ResolveCustomer."""

    token: str
    license_arn: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """Whether the account that the pods run in is entitled."""

    entitled: bool


@dataclass(frozen=True, slots=True)
class Session:
    """Credentials handed out by the token service."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    identity: str
    """The pod behind them."""
    role_arn: str
    session_name: str
    expires_at: datetime
    """In system time, because SDKs judge it by the system clock."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One version of the product's key pair."""

    version: int
    private_pem: str | None = None
    """None until the key is first needed."""
    expired_at: datetime | None = None
    """When a newer version took its place."""


@dataclass(frozen=True, slots=True)
class ClockSetting:
    """The emulated time `now` when the system clock read `system_at`, and how fast it runs from there."""

    now: datetime
    system_at: datetime
    speed: float


@dataclass(frozen=True, slots=True)
class TrailEvent:
    """One call in the shape of a CloudTrail record."""

    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reset:
    """Everything but the seed with its key pairs, and the handed-out credentials, was forgotten here."""


Entry = (
    MeteringRecord
    | UsedToken
    | Registration
    | FirstCall
    | Customer
    | RegistrationToken
    | Subscription
    | Session
    | SigningKey
    | ClockSetting
    | TrailEvent
    | License
    | Checkout
    | Reset
)
