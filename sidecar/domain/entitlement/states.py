"""The words of entitlement: its states, sources and reasons, the proof that outlives a process, and what apps read.

Views and values only. What leads from one state to another is `sidecar.domain.entitlement.registration`'s.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

CLOCK_SKEW = timedelta(minutes=5)
"""How far AWS's clock, or this machine's own of another day, may be from this machine's clock."""


class State(StrEnum):
    """Whether the app may run."""

    PENDING = "pending"  # not answered yet, or every seat is taken
    ENTITLED = "entitled"  # registered, or remembered within its time
    DENIED = "denied"  # AWS refused explicitly, or the signature is wrong
    UNAVAILABLE = "unavailable"  # no answer for `retry_for`; still trying
    SUSPENDED = "suspended"  # was entitled, AWS has since refused explicitly


class EntitlementSource(StrEnum):
    """Where the entitlement comes from."""

    LIVE = "live"  # AWS answered in this process
    REMEMBERED = "remembered"  # the ledger kept AWS's signature of an earlier process of this pod
    EMULATOR = "emulator"  # the local emulator answered


class Reason(StrEnum):
    """Why the entitlement is what it is: stable words that apps and alerts may match."""

    REGISTERED = "registered"  # RegisterUsage answered with a right signature
    METERED = "metered"  # by the start probe: AWS holds a record of this pod, has a license, or has taken a dry run
    NOT_CHECKED = "not-checked"  # the seller asks for no check
    REMEMBERED = "remembered"  # no answer, but an earlier process of this pod was registered
    REGISTERING = "registering"  # the first answer is awaited
    THROTTLED = "throttled"  # too many calls of the account
    SERVICE_FAULT = "service-fault"  # AWS answered, but not to the question
    UNREACHABLE = "unreachable"  # no answer
    CREDENTIALS_MISSING = "credentials-missing"  # nothing to sign the call with
    CREDENTIALS_REFUSED = "credentials-refused"  # AWS does not know who calls
    ACCESS_DENIED = "access-denied"  # the role lacks the permission
    UNSUPPORTED_REGION = "unsupported-region"  # the Region is missing, or is the name of none
    CUSTOMER_NOT_ENTITLED = "customer-not-entitled"  # no valid subscription
    PLATFORM_NOT_SUPPORTED = "platform-not-supported"  # not EKS, ECS or Fargate in AWS's eyes
    INVALID_PRODUCT_CODE = "invalid-product-code"
    INVALID_PUBLIC_KEY_VERSION = "invalid-public-key-version"
    INVALID_REGION = "invalid-region"  # not the Region that the pod runs in
    INVALID_USAGE_DIMENSION = "invalid-usage-dimension"  # asked by `check: meter` only
    DISABLED_API = "disabled-api"  # switched off in this Region
    LEDGER_UNAVAILABLE = "ledger-unavailable"  # what the gate rests on cannot be stored or read
    NO_PROBE_SLOT = "no-probe-slot"  # the pod's own records take the hours in which a probe could lie
    SIGNATURE_INVALID = "signature-invalid"  # the answer is not AWS's, or not to this question
    LICENSED = "licensed"  # a good license grants what the product requires
    NO_LICENSE = "no-license"  # no license, or it lacks a required entitlement
    LICENSE_PENDING = "license-pending"  # it begins later, or waits to be accepted
    LICENSE_EXPIRED = "license-expired"
    LICENSE_SUSPENDED = "license-suspended"  # AWS or the seller has stopped it
    SEATS_TAKEN = "seats-taken"  # the license is good and every seat is in use


@dataclass(frozen=True, slots=True)
class Evidence:
    """Proof of a registration, kept on the ledger for the next process of the same pod."""

    pod: str
    product_code: str
    public_key_version: int
    registered_at: datetime
    nonce: str = field(repr=False)
    signature: str = field(repr=False)
    """Empty where AWS signed nothing: metering has no signature, and a refusal voids it."""
    suspended_at: datetime | None = None
    """Since when AWS refuses the pod's usage; a later RegisterUsage of the same pod does not lift it."""
    refused_at: datetime | None = None
    """When AWS last refused the pod outright; None once it has proved the subscription since."""
    licensed_at: datetime | None = None
    """When a license last proved the subscription, with `probe: license`; None where none has."""
    follows_records: bool = False
    """The ledger ends `suspended_at` and `refused_at` with each record that AWS takes; in older versions it does not.

    So no two readings of a clock are compared: the clock may be set between them.
    """

    def recorded(self) -> Self:
        """Return the proof after AWS took a record of the pod."""
        return replace(self, suspended_at=None, refused_at=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseEvidence:
    """What is known of this pod's license, kept on the ledger for the next process of the same pod."""

    pod: str
    sku: str
    arn: str
    region: str
    """The Region that answered."""
    begin: datetime | None = None
    end: datetime | None = None
    proved_at: datetime
    """When AWS last proved the right: by a checkout, or by a good license of a pod that runs."""
    seated: bool = False
    """The pod has held every seat that it requires, or requires none."""
    unseated_at: datetime | None = None
    """When AWS first refused a seat to a pod that never had one."""
    refused_at: datetime | None = None
    """When AWS last did so; None in the evidence of an older version."""
    missing_at: datetime | None = None
    """Since when no good license is listed."""
    closed_at: datetime | None = None
    """Since when the gate is closed by an explicit answer."""


@dataclass(frozen=True, slots=True)
class EntitlementView:
    """One entitlement of the license."""

    name: str
    unit: str
    max: int | None
    held: int
    """How many this pod holds."""


@dataclass(frozen=True, slots=True)
class LicenseView:
    """The license as `GET /v1/entitlement` shows it."""

    arn: str
    status: str
    begin: datetime | None
    end: datetime | None
    tier: str | None
    entitlements: tuple[EntitlementView, ...]


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What `GET /v1/entitlement` answers, judged at one instant."""

    state: State
    reason: str
    detail: str
    source: EntitlementSource
    product_code: str
    public_key_version: int
    since: datetime
    registered_at: datetime | None = None
    until: datetime | None = None
    nonce: str | None = field(default=None, repr=False)
    signature: str | None = field(default=None, repr=False)
    license: LicenseView | None = None
    """Of a contract price; None while none is known."""
    cure: str = ""
    """What to do, of the failed call behind the state; empty where the reason itself gives it."""

    @property
    def entitled(self) -> bool:
        """The one boolean that apps read."""
        return self.state is State.ENTITLED


class SlowDown(Exception):
    """Attestations are limited; ask again after `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"one attestation per 10 s; try again in {retry_after} s")
        self.retry_after = retry_after


class AttestationFailed(Exception):
    """AWS returned no valid signature; the message gives the reason, without the token."""
