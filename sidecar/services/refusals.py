"""What a failed call means for the entitlement: one table from the metering client's errors to the reasons.

Decides only whether AWS Marketplace refused the pod. What is not in the table is no refusal: it is asked again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sidecar.domain.entitlement.states import Reason
from sidecar.domain.entitlement.token import Refusal
from sidecar.marketplace import errors, service_errors
from sidecar.marketplace.emulation import EmulatorUnreachable

REASONS: Final[Mapping[type[errors.MarketplaceError], Reason]] = MappingProxyType(
    {
        service_errors.CustomerNotEntitledException: Reason.CUSTOMER_NOT_ENTITLED,
        service_errors.PlatformNotSupportedException: Reason.PLATFORM_NOT_SUPPORTED,
        service_errors.InvalidProductCodeException: Reason.INVALID_PRODUCT_CODE,
        service_errors.InvalidPublicKeyVersionException: Reason.INVALID_PUBLIC_KEY_VERSION,
        service_errors.InvalidRegionException: Reason.INVALID_REGION,
        service_errors.InvalidEndpointRegionException: Reason.INVALID_REGION,
        service_errors.InvalidUsageDimensionException: Reason.INVALID_USAGE_DIMENSION,
        service_errors.DisabledApiException: Reason.DISABLED_API,
        service_errors.ThrottlingException: Reason.THROTTLED,
        errors.NotSent: Reason.UNREACHABLE,
        errors.NoAnswer: Reason.UNREACHABLE,
        errors.CredentialsMissing: Reason.CREDENTIALS_MISSING,
        errors.CredentialsRefused: Reason.CREDENTIALS_REFUSED,
        errors.AccessDenied: Reason.ACCESS_DENIED,
        errors.UnsupportedRegion: Reason.UNSUPPORTED_REGION,
        errors.MarketplaceError: Reason.SERVICE_FAULT,
    }
)
"""The nearest class counts."""

_MEANINGS: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.CUSTOMER_NOT_ENTITLED: "The AWS account that runs this pod has no valid subscription to the product.",
        Reason.PLATFORM_NOT_SUPPORTED: "AWS Marketplace does not see a platform that it supports behind this pod.",
        Reason.INVALID_PRODUCT_CODE: "AWS Marketplace does not know the product code.",
        Reason.INVALID_PUBLIC_KEY_VERSION: "AWS Marketplace does not know this version of the product's public key.",
        Reason.INVALID_REGION: "AWS Marketplace was called in another Region than the pod's own.",
        Reason.INVALID_USAGE_DIMENSION: "The product has no such dimension.",
        Reason.DISABLED_API: "AWS Marketplace does not offer this operation here.",
        Reason.THROTTLED: "AWS Marketplace takes no more calls of this account at the moment.",
        Reason.SERVICE_FAULT: "AWS Marketplace could not answer.",
        Reason.UNREACHABLE: "AWS Marketplace cannot be reached.",
        Reason.CREDENTIALS_MISSING: "There are no valid AWS credentials to sign the call with.",
        Reason.CREDENTIALS_REFUSED: "AWS does not accept the credentials of this pod.",
        Reason.ACCESS_DENIED: "The pod's IAM role does not allow the call.",
        Reason.UNSUPPORTED_REGION: "There is no AWS Marketplace metering in this Region.",
    }
)
_CURES: Final[Mapping[str, str]] = {reason: kind.cure for kind, reason in reversed(list(REASONS.items()))}
"""By reason, of the first class in the table that has it."""
_LOCAL: Final = frozenset({Reason.UNREACHABLE, Reason.CREDENTIALS_MISSING})
"""What happens on the way to AWS; the error's own words name the address, the file or the variable."""
_OF_THE_ACCOUNT: Final = frozenset({Reason.CREDENTIALS_MISSING, Reason.CREDENTIALS_REFUSED, Reason.ACCESS_DENIED})
"""What another service account of the pod may be the cause of."""
_REFUSALS: Final = frozenset(
    {
        Reason.CUSTOMER_NOT_ENTITLED,
        Reason.PLATFORM_NOT_SUPPORTED,
        Reason.INVALID_PRODUCT_CODE,
        Reason.INVALID_PUBLIC_KEY_VERSION,
        Reason.INVALID_REGION,
        Reason.INVALID_USAGE_DIMENSION,
        Reason.DISABLED_API,
    }
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """A failed call in the words of entitlement."""

    reason: Reason
    detail: str
    """What it means and what to do, for a person."""
    refused: bool
    """AWS Marketplace answered, and the answer is no."""


def interpret(error: errors.MarketplaceError, service_account: str | None = None) -> Meaning:
    """Return what `error` means for the pod's entitlement.

    Args:
        error: What the metering client raised.
        service_account: What the pod runs as, namespace/name; named where the role comes from it.
    """
    reason = next(REASONS[kind] for kind in type(error).__mro__ if kind in REASONS)
    # What cannot be reached is named: the address may be the proxy's, the token service's or the emulator's.
    words = f" {error.message[:1].upper()}{error.message[1:]}." if reason in _LOCAL and error.message else ""
    detail = f"{_MEANINGS[reason]}{words} {error.cure}".rstrip()
    if service_account is not None and reason in _OF_THE_ACCOUNT:
        detail = f"{detail} The pod runs as the service account {service_account}."
    return Meaning(reason, detail, reason in _REFUSALS)


def cure_of(reason: str, *, emulator: bool = False) -> str:
    """Return what to do about a reason; empty where waiting is all. `emulator`: the emulator should have answered."""
    if emulator and reason == Reason.UNREACHABLE:
        return EmulatorUnreachable.cure
    if reason == Reason.SIGNATURE_INVALID:
        return "Check the product's public key for this version, the clock, and any proxy between the pod and AWS."
    return _CURES.get(reason, "")


def disbelieve(refusal: Refusal) -> str:
    """Return what a token that failed verification means, and what to do."""
    return (
        f"The answer is not AWS Marketplace's, or not to this pod's question: {refusal}. Check that the public key is "
        "the product's for this version, that the clock is right, and that no proxy between the pod and AWS answers."
    )
