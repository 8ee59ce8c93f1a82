"""What can go wrong with a call, split by what the caller does next.

Every error tells its disposition, the cure in words for the operator, and whether the service may have processed the
request all the same: it may, unless the error proves the contrary. Errors carry texts only: they can be copied and
pickled, and none holds a nonce, a token or a signature. The service's own
exceptions are in `service_errors`.
"""
# ruff: noqa: N818 - named for what happened, as the service names its exceptions

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Disposition(StrEnum):
    """What the caller does next."""

    RETRY = "retry"  # the same request may succeed later
    GIVE_UP_RECORD = "give-up-record"  # this request never will; others are not concerned
    STOP = "stop"  # the software may not be used here
    FIX_SETUP = "fix-setup"  # a person must change the set-up first; the request itself is sound


class Taken(StrEnum):
    """Whether the service processed the request that failed."""

    NO = "no"  # proven not to have been processed
    UNKNOWN = "unknown"  # it may have been: sending it from another pod could count it twice


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where, in the service's member names, and what."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


class MarketplaceError(Exception):
    """A call failed. Without proof of the contrary it may have been processed.

    Args:
        message: What happened, in the service's or the SDK's words.
        code: The service's error code; without one, the name of the class.
        request_id: AWS's id of the request, if there was an answer.
        taken: What is known of this call, where that is not what the class says.
    """

    disposition: ClassVar[Disposition] = Disposition.RETRY
    taken: Taken = Taken.UNKNOWN
    cure: ClassVar[str] = ""

    def __init__(
        self, message: str = "", code: str = "", request_id: str | None = None, taken: Taken | None = None
    ) -> None:
        super().__init__(message, code, request_id, taken)
        self.message = message
        self.code = code or type(self).__name__
        self.request_id = request_id
        if taken is not None:
            self.taken = taken

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}" if self.message else self.code
        return text if self.request_id is None else f"{text} (request {self.request_id})"


class InvalidRequest(MarketplaceError):
    """The request breaks the service's rules and was not sent. `faults` are all of them."""

    disposition = Disposition.GIVE_UP_RECORD
    taken = Taken.NO
    cure = "Correct every member that is named."

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(str(fault) for fault in self.faults))
        self.args = (self.faults,)


class NotSent(MarketplaceError):
    """The request never left: name resolution, connecting, the proxy, the TLS handshake or its certificate failed."""

    taken = Taken.NO
    cure = (
        "Let the pod reach the metering endpoint of its Region on port 443 (DNS, network policy, proxy, VPC endpoint) "
        "and trust its certificate."
    )


class NoAnswer(MarketplaceError):
    """The request was sent, or may have been, and no answer came: a time-out or a dropped connection."""

    cure = "Check the network between the pod and the metering endpoint; the service may also be slow."


class UnknownAnswer(MarketplaceError):
    """No answer of this service: an unmodelled error, a proxy's page, a success that lacks what it is for."""

    cure = "If it persists, look for a proxy that answers in AWS's place, or give AWS Support the request id."


class CredentialsMissing(MarketplaceError):
    """No credentials could be had, or they have expired."""

    taken = Taken.NO
    cure = (
        "On EKS annotate the pod's service account with an IAM role (IRSA); on ECS give the task a task role. "
        "Then restart the pod."
    )


class CredentialsRefused(MarketplaceError):
    """AWS does not accept the identity or the signature."""

    disposition = Disposition.FIX_SETUP
    taken = Taken.NO
    cure = (
        "Check that the role's trust policy names this cluster's OIDC provider and this service account, that no "
        "static keys are set, and that the clock is right."
    )


class AccessDenied(MarketplaceError):
    """The role lacks the permission."""

    disposition = Disposition.FIX_SETUP
    taken = Taken.NO
    cure = "Allow aws-marketplace:RegisterUsage and aws-marketplace:MeterUsage on resource * in the role's policy."


class UnsupportedRegion(MarketplaceError):
    """Custom metering of container products does not exist in the Region, or no Region is known."""

    disposition = Disposition.FIX_SETUP
    taken = Taken.NO
    cure = "Run the pod in a supported Region, and let AWS_REGION name it (EKS and ECS set it by themselves)."
