"""What a failed call means for the entitlement and for the record: one table, keyed by the metering client's errors.

The class of an error gives its cure and its disposition, a row all else. The row of the nearest class counts, so an
error without a row is a service fault, and its disposition decides about the record.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sidecar.domain.entitlement.states import Reason
from sidecar.domain.entitlement.token import FORGERY_CURE, Refusal
from sidecar.domain.metering.outcomes import Outcome
from sidecar.marketplace import errors, service_errors
from sidecar.marketplace.errors import Disposition, MarketplaceError, Taken


@dataclass(frozen=True, slots=True)
class Meaning:
    """A row: what is known about an error beyond its class."""

    reason: Reason = Reason.SERVICE_FAULT
    sentence: str = "AWS Marketplace could not answer."
    """What happened, for the operator."""
    refused: bool = False
    """AWS Marketplace answered, and the answer is no: the gate closes."""
    outcome: Outcome | None = None
    """For the record, if nothing was taken; None where the disposition decides."""
    quoted: bool = False
    """The error's own message names an address, a file or a variable that the operator needs."""
    names_account: bool = False
    """Another service account of the pod may be the cause."""
    bills_record: str = ""
    """How a person bills a record that AWS refused so: what its error's cure corrects, only later records have."""


_WRONG_REGION: Final = Meaning(
    Reason.INVALID_REGION, "AWS Marketplace was called in another Region than the pod's own.", refused=True
)
_TAGS: Final = Meaning(
    bills_record="Bill the refused record without its tags: `ledger resolve ... carry --without-tags`."
)
_UNREACHABLE: Final = Meaning(Reason.UNREACHABLE, "AWS Marketplace cannot be reached.", quoted=True)

MEANINGS: Final[Mapping[type[MarketplaceError], Meaning]] = MappingProxyType(
    {
        errors.MarketplaceError: Meaning(),
        service_errors.CustomerNotEntitledException: Meaning(
            Reason.CUSTOMER_NOT_ENTITLED,
            "The AWS account that runs this pod has no valid subscription to the product.",
            refused=True,
            outcome=Outcome.NOT_ENTITLED,
        ),
        service_errors.PlatformNotSupportedException: Meaning(
            Reason.PLATFORM_NOT_SUPPORTED,
            "AWS Marketplace does not see a supported platform behind this pod.",
            refused=True,
        ),
        service_errors.InvalidProductCodeException: Meaning(
            Reason.INVALID_PRODUCT_CODE, "AWS Marketplace does not know the product code.", refused=True
        ),
        service_errors.InvalidPublicKeyVersionException: Meaning(
            Reason.INVALID_PUBLIC_KEY_VERSION,
            "AWS Marketplace does not know this version of the product's public key.",
            refused=True,
        ),
        service_errors.InvalidRegionException: _WRONG_REGION,
        service_errors.InvalidEndpointRegionException: _WRONG_REGION,
        service_errors.InvalidUsageDimensionException: Meaning(
            Reason.INVALID_USAGE_DIMENSION, "The product has no such dimension.", refused=True
        ),
        service_errors.DisabledApiException: Meaning(
            Reason.DISABLED_API, "AWS Marketplace does not offer this operation here.", refused=True
        ),
        service_errors.ThrottlingException: Meaning(
            Reason.THROTTLED, "AWS Marketplace accepts no more calls of this account at the moment."
        ),
        service_errors.DuplicateRequestException: Meaning(outcome=Outcome.DUPLICATE),
        service_errors.IdempotencyConflictException: Meaning(outcome=Outcome.CONFLICT),
        service_errors.TimestampOutOfBoundsException: Meaning(outcome=Outcome.EXPIRED),
        service_errors.InvalidTagException: _TAGS,
        service_errors.InvalidUsageAllocationsException: _TAGS,
        errors.NotSent: _UNREACHABLE,
        errors.NoAnswer: _UNREACHABLE,
        errors.CredentialsMissing: Meaning(
            Reason.CREDENTIALS_MISSING,
            "There are no valid AWS credentials to sign the call with.",
            quoted=True,
            names_account=True,
        ),
        errors.CredentialsRefused: Meaning(
            Reason.CREDENTIALS_REFUSED, "AWS does not accept the credentials of this pod.", names_account=True
        ),
        errors.AccessDenied: Meaning(
            Reason.ACCESS_DENIED, "The pod's IAM role does not allow the call.", names_account=True
        ),
        errors.UnsupportedRegion: Meaning(Reason.UNSUPPORTED_REGION, "The Region to call is missing or invalid."),
    }
)
_OUTCOMES: Final = {
    Disposition.RETRY: Outcome.RETRY,
    Disposition.STOP: Outcome.RETRY,
    Disposition.FIX_SETUP: Outcome.SETUP,
    Disposition.GIVE_UP_RECORD: Outcome.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A failed call as the entitlement sees it."""

    reason: Reason
    detail: str
    """What it means and what to do, for the operator."""
    cure: str
    """What to do alone; empty if the error knows nothing."""
    refused: bool
    """AWS Marketplace answered, and the answer is no."""


def _as_sentence(words: str) -> str:
    """Return the words with a capital; an address, which may come first, keeps its own spelling."""
    return f"{words[0].upper()}{words[1:]}" if words.partition(" ")[0].isalpha() else words


def interpret(error: MarketplaceError, service_account: str | None = None) -> Explanation:
    """Return what `error` means for the pod's entitlement.

    `service_account` is what the pod runs as, namespace/name; part of the detail if the pod's role depends on it.
    """
    meaning = _meaning(error)
    # The address may be the proxy's, the token service's or the emulator's.
    quoted = f" {_as_sentence(error.message)}." if meaning.quoted and error.message else ""
    detail = f"{meaning.sentence}{quoted} {error.cure}".rstrip()
    if service_account is not None and meaning.names_account:
        detail = f"{detail} The pod runs as the service account {service_account}."
    return Explanation(meaning.reason, detail, error.cure, meaning.refused)


def outcome_of(error: MarketplaceError) -> Outcome:
    """Return what to do with the record after its submission ended with `error`."""
    outcome = _meaning(error).outcome or _OUTCOMES[error.disposition]
    # A conflict is an answer: the same request would meet it again, regardless of the usage AWS holds under the token.
    if error.taken is Taken.UNKNOWN and outcome is not Outcome.CONFLICT:
        return Outcome.UNKNOWN
    return outcome


def record_cure(error: MarketplaceError) -> str:
    """Return what to do about later records, and about the one that ended with `error`."""
    certain = outcome_of(error) is Outcome.REJECTED
    return f"{error.cure} {_meaning(error).bills_record if certain else ''}".rstrip()


def label_of(error: MarketplaceError) -> str:
    """Return the name under which metrics count `error`: a modelled error or one of the client's, never a new one."""
    return next(
        kind.__name__
        for kind in type(error).__mro__
        if kind in MEANINGS or kind.__module__ in {errors.__name__, service_errors.__name__}
    )


def explain_refusal(refusal: Refusal) -> str:
    """Return what an invalid registration token means and what to do, for the operator."""
    return f"The answer is not AWS Marketplace's, or not to this pod's question: {refusal}. {FORGERY_CURE}"


def _meaning(error: MarketplaceError) -> Meaning:
    return next(MEANINGS[kind] for kind in type(error).__mro__ if kind in MEANINGS)
