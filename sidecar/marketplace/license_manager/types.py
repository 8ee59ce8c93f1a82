"""The requests and answers of License Manager's six operations, in the words of the service model (2018-08-01).

A member keeps its name in snake case. Nothing here validates, sends or imports an SDK. Instants are aware datetimes in
UTC. A value that an enumeration here does not know stays text, because AWS adds values. Tokens stay out of every
`repr`, so no log can show them.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sidecar.domain.entitlement.licenses import LicenseStatus


class CheckoutType(StrEnum):
    """What becomes of what is checked out."""

    PROVISIONAL = "PROVISIONAL"  # returns by itself when its time is over
    PERPETUAL = "PERPETUAL"  # drawn down, never returns


class Unit(StrEnum):
    """What an entitlement is counted in. An entitlement without a count has the unit None."""

    COUNT = "Count"
    NONE = "None"
    SECONDS = "Seconds"
    MICROSECONDS = "Microseconds"
    MILLISECONDS = "Milliseconds"
    BYTES = "Bytes"
    KILOBYTES = "Kilobytes"
    MEGABYTES = "Megabytes"
    GIGABYTES = "Gigabytes"
    TERABYTES = "Terabytes"
    BITS = "Bits"
    KILOBITS = "Kilobits"
    MEGABITS = "Megabits"
    GIGABITS = "Gigabits"
    TERABITS = "Terabits"
    PERCENT = "Percent"
    BYTES_PER_SECOND = "Bytes/Second"
    KILOBYTES_PER_SECOND = "Kilobytes/Second"
    MEGABYTES_PER_SECOND = "Megabytes/Second"
    GIGABYTES_PER_SECOND = "Gigabytes/Second"
    TERABYTES_PER_SECOND = "Terabytes/Second"
    BITS_PER_SECOND = "Bits/Second"
    KILOBITS_PER_SECOND = "Kilobits/Second"
    MEGABITS_PER_SECOND = "Megabits/Second"
    GIGABITS_PER_SECOND = "Gigabits/Second"
    TERABITS_PER_SECOND = "Terabits/Second"
    COUNT_PER_SECOND = "Count/Second"


class ReceivedStatus(StrEnum):
    """The state of the grant by which a license came. Only an active one gives the right."""

    PENDING_WORKFLOW = "PENDING_WORKFLOW"
    PENDING_ACCEPT = "PENDING_ACCEPT"
    REJECTED = "REJECTED"
    ACTIVE = "ACTIVE"
    FAILED_WORKFLOW = "FAILED_WORKFLOW"
    DELETED = "DELETED"
    DISABLED = "DISABLED"
    WORKFLOW_COMPLETED = "WORKFLOW_COMPLETED"


class GrantType(StrEnum):
    """What a grant gives."""

    BUYER_GRANT = "BuyerGrant"  # the right to use the product
    DELEGATE_GRANT = "DelegateGrant"  # a view of other buyers' licenses, and no right


class RenewType(StrEnum):
    """How often a license renews itself."""

    NONE = "None"
    WEEKLY = "Weekly"
    MONTHLY = "Monthly"


class AllowedOperation(StrEnum):
    """What the receiver of a grant may do with the license."""

    CREATE_GRANT = "CreateGrant"
    CHECKOUT_LICENSE = "CheckoutLicense"
    CHECKOUT_BORROW_LICENSE = "CheckoutBorrowLicense"
    CHECK_IN_LICENSE = "CheckInLicense"
    EXTEND_CONSUMPTION_LICENSE = "ExtendConsumptionLicense"
    LIST_PURCHASED_LICENSES = "ListPurchasedLicenses"
    CREATE_TOKEN = "CreateToken"  # noqa: S105 - the name of an operation
    LIST_RECEIVED_LICENSES = "ListReceivedLicenses"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitlementData:
    """How much of one entitlement is asked for or allowed. A counted unit needs a value, the unit None has none."""

    name: str
    unit: Unit | str
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutLicenseRequest:
    """Asks for entitlements of a product. `client_token` names the checkout: the same token again is the same one."""

    product_sku: str
    """The product ID (`prod-...`; a UUID on old listings), never the product code."""
    checkout_type: CheckoutType
    key_fingerprint: str
    entitlements: tuple[EntitlementData, ...]
    client_token: str
    beneficiary: str | None = None
    node_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutLicenseResponse:
    """What AWS allowed, from `license_arn`. A provisional checkout always has its consumption token."""

    checkout_type: CheckoutType | str | None = None
    license_consumption_token: str | None = field(default=None, repr=False)
    entitlements_allowed: tuple[EntitlementData, ...] = ()
    signed_token: str | None = field(default=None, repr=False)
    node_id: str | None = None
    issued_at: datetime | None = None
    expiration: datetime | None = None
    """When the checkout returns by itself; None if the answer names no time."""
    license_arn: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInLicenseRequest:
    """Returns what a consumption token stands for."""

    license_consumption_token: str = field(repr=False)
    beneficiary: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInLicenseResponse:
    """The checkout is returned."""

    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendLicenseConsumptionRequest:
    """Asks to hold a checkout for longer. A dry run asks only whether the role may."""

    license_consumption_token: str = field(repr=False)
    dry_run: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendLicenseConsumptionResponse:
    """The checkout's new time, under a token that may be a new one; the token is None only after a dry run."""

    license_consumption_token: str | None = field(default=None, repr=False)
    expiration: datetime | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerDetails:
    """Who issued a license. Anybody can issue one for any SKU: only the fingerprint names AWS Marketplace."""

    name: str | None = None
    sign_key: str | None = None
    key_fingerprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatetimeRange:
    """When a license is valid; without an end until it is changed. What the calendar cannot hold is its edge."""

    begin: datetime
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """One entitlement of a license."""

    name: str
    unit: Unit | str
    value: str | None = None
    max_count: int | None = None
    overage: bool | None = None
    """More than `max_count` may be checked out."""
    allow_check_in: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionalConfiguration:
    """How long a provisional checkout may last."""

    max_time_to_live_in_minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BorrowConfiguration:
    """How long a checkout for use without a network may last."""

    allow_early_check_in: bool
    max_time_to_live_in_minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumptionConfiguration:
    """How a license may be consumed."""

    renew_type: RenewType | str | None = None
    provisional_configuration: ProvisionalConfiguration | None = None
    borrow_configuration: BorrowConfiguration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """A name and a value that the issuer attached to a license."""

    name: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMetadata:
    """How a license came to the account. Without a grant type it is a buyer's."""

    received_status: ReceivedStatus | str | None = None
    received_status_reason: str | None = None
    allowed_operations: tuple[AllowedOperation | str, ...] = ()
    grant_type: GrantType | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """A license."""

    license_arn: str
    license_name: str | None = None
    product_name: str | None = None
    product_sku: str | None = None
    issuer: IssuerDetails | None = None
    home_region: str | None = None
    status: LicenseStatus | str | None = None
    validity: DatetimeRange | None = None
    beneficiary: str | None = None
    entitlements: tuple[Entitlement, ...] = ()
    consumption_configuration: ConsumptionConfiguration | None = None
    license_metadata: tuple[Metadata, ...] = ()
    create_time: datetime | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantedLicense(License):
    """A license as its receiver sees it."""

    received_metadata: ReceivedMetadata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetLicenseRequest:
    """Asks for one license."""

    license_arn: str
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetLicenseResponse:
    """One license."""

    license: License
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetLicenseUsageRequest:
    """Asks how much of a license is checked out."""

    license_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntitlementUsage:
    """How much of one entitlement is checked out. Both amounts are text, as AWS has them."""

    name: str
    consumed_value: str
    unit: Unit | str
    max_count: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseUsage:
    """How much of each entitlement of a license is checked out."""

    entitlement_usages: tuple[EntitlementUsage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GetLicenseUsageResponse:
    """The usage of one license."""

    license_usage: LicenseUsage
    request_id: str | None = None


class FilterName(StrEnum):
    """What received licenses can be filtered by."""

    PRODUCT_SKU = "ProductSKU"
    STATUS = "Status"
    FINGERPRINT = "Fingerprint"
    ISSUER_NAME = "IssuerName"
    BENEFICIARY = "Beneficiary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Keeps the licenses with this value. AWS takes one value for a filter."""

    name: FilterName
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReceivedLicensesRequest:
    """Asks for the licenses that the account has received, all pages of them."""

    license_arns: tuple[str, ...] | None = None
    filters: tuple[Filter, ...] | None = None
    max_results: int | None = None
    """How many one page holds; AWS decides if it is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReceivedLicensesResponse:
    """The licenses of all pages, each once, in AWS's order."""

    licenses: tuple[GrantedLicense, ...] = ()
    request_id: str | None = None
    """That of the last page."""


Request = (
    CheckoutLicenseRequest
    | CheckInLicenseRequest
    | ExtendLicenseConsumptionRequest
    | GetLicenseRequest
    | GetLicenseUsageRequest
    | ListReceivedLicensesRequest
)
"""What the service takes."""
