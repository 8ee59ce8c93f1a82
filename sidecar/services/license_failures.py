"""What a failed call to License Manager means for the entitlement. No failure closes the gate."""

from sidecar.domain.entitlement.states import Reason
from sidecar.marketplace.errors import MarketplaceError
from sidecar.marketplace.license_manager import NoEntitlementsAllowedException, RateLimitExceededException
from sidecar.services.failed_calls import Explanation, interpret


def explain(error: MarketplaceError, service_account: str | None = None) -> Explanation:
    """Return what `error` means; the arguments are those of `sidecar.services.failed_calls.interpret`."""
    match error:
        case RateLimitExceededException():
            detail = "License Manager accepts no more calls of this account at the moment."
            return Explanation(Reason.THROTTLED, f"{detail} {error.cure}", error.cure, refused=False)
        case NoEntitlementsAllowedException():
            detail = "License Manager lists a good license and refuses a checkout of it."
            return Explanation(Reason.SERVICE_FAULT, f"{detail} {error.cure}", error.cure, refused=False)
        case _:
            return interpret(error, service_account)
