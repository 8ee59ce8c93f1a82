"""What can go wrong with a call, split by what the caller does next.

Each class has a disposition, a cure for the operator, and whether the service may have processed the request: it may,
unless the error proves the contrary. Errors carry only text, so they can be copied and pickled, and none holds a nonce,
a token or a signature. `service_errors` has the service's own exceptions.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final


class Disposition(StrEnum):
    """What the caller does next."""

    RETRY = "retry"  # the same request may succeed later
    GIVE_UP_RECORD = "give-up-record"  # this request never succeeds; others are not affected
    STOP = "stop"  # the software may not be used here
    FIX_SETUP = "fix-setup"  # the operator must change the setup first; the request itself is valid


class Taken(StrEnum):
    """Whether the service processed the request that failed."""

    NO = "no"  # proven: not processed
    UNKNOWN = "unknown"  # possibly processed: another pod that sends it could count it twice


@dataclass(frozen=True, slots=True)
class RequestFault:
    """One thing wrong with a request: where, in the service's member names, and what."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


KINDS: Final[dict[str, type["MarketplaceError"]]] = {}
"""From error code to class, filled by the classes as they are defined. Complete in `service_errors.ERRORS`.

Another service has its own table, because services share codes: see `MarketplaceError.kinds`."""


class MarketplaceError(Exception):
    """A call failed. Without proof of the contrary, the service may have processed it.

    A subclass whose name ends in "Exception" is the error of that code, and of the further `codes` that it lists.

    Args:
        message: What happened, in the service's or the SDK's words.
        code: The service's error code; without one, the name of the class.
        request_id: AWS's id of the request, if AWS answered.
        taken: What is known about this call, if it differs from the class's `taken`.
    """

    disposition: ClassVar[Disposition] = Disposition.RETRY
    taken: Taken = Taken.UNKNOWN
    cure: str = ""
    codes: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[dict[str, type["MarketplaceError"]]] = KINDS
    """The table that takes a subclass's codes: that of its service."""

    def __init_subclass__(cls) -> None:
        own = (cls.__name__,) if cls.__name__.endswith("Exception") else ()
        cls.kinds.update(dict.fromkeys((*own, *vars(cls).get("codes", ())), cls))

    def __init__(
        self, message: str = "", code: str = "", request_id: str | None = None, taken: Taken | None = None
    ) -> None:
        super().__init__(message, code, request_id, taken)
        self.message = message
        self.code = code or type(self).__name__
        self.request_id = request_id
        if taken is not None:
            self.taken = taken

    def read_members(self, members: Mapping[str, Any]) -> None:
        """Take what the service's error has besides its message; most errors have nothing more."""

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}" if self.message else self.code
        return text if self.request_id is None else f"{text} (request {self.request_id})"


class InvalidRequest(MarketplaceError):
    """The request breaks the service's rules and was not sent. `faults` lists every violation."""

    disposition = Disposition.GIVE_UP_RECORD
    taken = Taken.NO
    cure = "Correct every member that the message names."

    def __init__(self, faults: Iterable[RequestFault] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(str(fault) for fault in self.faults))
        self.args = (self.faults,)


class NotSent(MarketplaceError):
    """The request never left: name resolution, connecting, the proxy, the TLS handshake or its certificate failed."""

    taken = Taken.NO
    cure = (
        "Allow the pod to reach the service's endpoint in its Region on port 443 (DNS, network policy, proxy, VPC "
        "endpoint), and trust its certificate."
    )


class ClientClosed(NotSent):
    """The client was closed before the request was sent. `call` and `submit_batch` do not repeat it."""

    cure = "Close a client after its calls have ended. An open client may send the same request."


class NoAnswer(MarketplaceError):
    """The request was sent, or may have been, without an answer: a time-out or a dropped connection."""

    cure = "Check the network between the pod and the service's endpoint; the service may also be slow."


class UnknownAnswer(MarketplaceError):
    """An answer that is not this service's: an unmodelled error, a proxy's page, a success without its result."""

    cure = "If it persists, look for a proxy that answers in AWS's place, or give AWS Support the request id."


class CredentialsMissing(MarketplaceError):
    """No credentials are available, or they have expired."""

    codes = ("ExpiredToken", "MissingAuthenticationToken", "MissingAuthenticationTokenException")
    taken = Taken.NO
    cure = (
        "On EKS annotate the pod's service account with an IAM role (IRSA); on ECS give the task a task role. "
        "Then restart the pod."
    )


class CredentialsRefused(MarketplaceError):
    """AWS does not accept the identity or the signature."""

    codes = (
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "NotAuthorized",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )
    disposition = Disposition.FIX_SETUP
    taken = Taken.NO
    cure = (
        "Check that the role's trust policy names this cluster's OIDC provider and this service account, that no "
        "static keys are set, and that the clock is right."
    )


class AccessDenied(MarketplaceError):
    """The role lacks the permission."""

    codes = ("AccessDenied", "UnauthorizedOperation")
    disposition = Disposition.FIX_SETUP
    taken = Taken.NO
    cure = "Allow aws-marketplace:RegisterUsage and aws-marketplace:MeterUsage on resource * in the role's policy."

    def name_permission(self, service: str, operation: str) -> None:
        """Let the cure name what `operation` needs, unless the cure of the class does; `service` as IAM names it."""
        if operation not in re.findall(r"\w+", self.cure):
            self.cure = f"Allow {service}:{operation} on resource * in the role's policy."


class UnsupportedRegion(MarketplaceError):
    """No Region is known, or what is named is none."""

    disposition = Disposition.FIX_SETUP
    taken = Taken.NO
    cure = "Set AWS_REGION to the pod's own Region, such as eu-west-1 (EKS and ECS do so themselves)."
