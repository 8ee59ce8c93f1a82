"""The errors that the emulated service answers with, by their names on the wire.

Refuses to know why an error is raised: rules raise, this module only names. Invariant: every name under `MODELLED`,
`LICENSE_MODELLED` and `ENTITLEMENT_MODELLED` is one that an SDK turns into an exception class of its own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self

from sidecar.emulator.protocol.decisions import BY_ERROR, Rule

MODELLED: Mapping[str, tuple[str, ...]] = {
    "RegisterUsage": (
        "InvalidProductCodeException",
        "InvalidRegionException",
        "InvalidPublicKeyVersionException",
        "PlatformNotSupportedException",
        "CustomerNotEntitledException",
        "ThrottlingException",
        "InternalServiceErrorException",
        "DisabledApiException",
    ),
    "MeterUsage": (
        "InternalServiceErrorException",
        "InvalidProductCodeException",
        "InvalidUsageDimensionException",
        "InvalidTagException",
        "InvalidUsageAllocationsException",
        "InvalidEndpointRegionException",
        "TimestampOutOfBoundsException",
        "DuplicateRequestException",
        "IdempotencyConflictException",
        "ThrottlingException",
        "CustomerNotEntitledException",
    ),
    "BatchMeterUsage": (
        "InternalServiceErrorException",
        "InvalidProductCodeException",
        "InvalidUsageDimensionException",
        "InvalidTagException",
        "InvalidUsageAllocationsException",
        "InvalidCustomerIdentifierException",
        "TimestampOutOfBoundsException",
        "ThrottlingException",
        "DisabledApiException",
        "InvalidLicenseException",
    ),
    "ResolveCustomer": (
        "InvalidTokenException",
        "ExpiredTokenException",
        "ThrottlingException",
        "InternalServiceErrorException",
        "DisabledApiException",
    ),
}
"""The errors of each metering operation, as the service model lists them."""

_LICENSE_COMMON = (
    "ValidationException",
    "InvalidParameterValueException",
    "AuthorizationException",
    "AccessDeniedException",
    "RateLimitExceededException",
    "ServerInternalException",
)
LICENSE_MODELLED: Mapping[str, tuple[str, ...]] = {
    "CheckoutLicense": (
        *_LICENSE_COMMON,
        "ResourceNotFoundException",
        "NoEntitlementsAllowedException",
        "UnsupportedDigitalSignatureMethodException",
        "RedirectException",
    ),
    "CheckInLicense": (*_LICENSE_COMMON, "ResourceNotFoundException", "ConflictException"),
    "ExtendLicenseConsumption": (*_LICENSE_COMMON, "ResourceNotFoundException"),
    "GetLicense": _LICENSE_COMMON,
    "GetLicenseUsage": _LICENSE_COMMON,
    "ListReceivedLicenses": (*_LICENSE_COMMON, "ResourceLimitExceededException"),
}
"""The errors of each License Manager operation, as the service model lists them."""

ENTITLEMENT_MODELLED: Mapping[str, tuple[str, ...]] = {
    "GetEntitlements": ("InvalidParameterException", "ThrottlingException", "InternalServiceErrorException"),
}
"""The errors of the Entitlement Service's operation, as the service model lists them."""

STS_MODELLED = ("InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError", "ExpiredTokenException")
"""The errors of AssumeRoleWithWebIdentity that a caller can meet."""

UNMODELLED = (
    "CustomerNotSubscribedException",  # the service's prose names it, its model does not define it
    "UnauthorizedException",  # the documented refusal of a dry run
)

_STATUS = {
    "InternalServiceErrorException": 500,
    "InvalidSignatureException": 403,
    "RequestEntityTooLargeException": 413,
    "AccessDenied": 403,
    "InternalFailure": 500,
    "ServerInternalException": 500,
    "IDPRejectedClaim": 403,
    "InvalidClientTokenId": 403,
    "MissingAuthenticationToken": 403,
    "SignatureDoesNotMatch": 403,
}


class ServiceError(Exception):
    """An answer that is a refusal.

    Attributes:
        code: The name on the wire, for example `ThrottlingException`.
        message: A sentence for a person. Never holds a nonce, a token or a signature.
        members: The other members of the answer.
        rule: The rule that decided.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        members: Mapping[str, str] = MappingProxyType({}),
        rule: Rule | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.members = members
        self.rule = BY_ERROR.get(code, Rule.SHAPE) if rule is None else rule

    @classmethod
    def of_fault(cls, code: str, message: str = "This fault was armed.", **members: str) -> Self:
        """Return the refusal that a fault of the control API causes."""
        return cls(code, message, members=members, rule=Rule.FAULT)

    @property
    def status(self) -> int:
        """The HTTP status that AWS sends with this error."""
        return _STATUS.get(self.code, 400)
