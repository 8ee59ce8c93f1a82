"""The answers of License Manager that must hold more than their types say.

Pure translation: it judges no license.
"""

from sidecar.marketplace.errors import UnknownAnswer
from sidecar.marketplace.license_manager.types import (
    CheckoutLicenseRequest,
    CheckoutLicenseResponse,
    CheckoutType,
    ExtendLicenseConsumptionRequest,
    ExtendLicenseConsumptionResponse,
)
from sidecar.marketplace.reading import Members, read, request_id


def checkout_response(request: CheckoutLicenseRequest, answer: Members) -> CheckoutLicenseResponse:
    """Read the answer of CheckoutLicense.

    Raises:
        UnknownAnswer: It is garbled, allows nothing, or lacks the token of a provisional checkout.
    """
    response = read(CheckoutLicenseResponse, answer)
    if request.checkout_type is CheckoutType.PROVISIONAL and not response.license_consumption_token:
        raise UnknownAnswer("the answer has no LicenseConsumptionToken", request_id=request_id(answer))
    if not response.entitlements_allowed:
        raise UnknownAnswer("the answer has no EntitlementsAllowed", request_id=request_id(answer))
    return response


def extend_response(request: ExtendLicenseConsumptionRequest, answer: Members) -> ExtendLicenseConsumptionResponse:
    """Read the answer of ExtendLicenseConsumption. A dry run that succeeds plainly has extended nothing.

    Raises:
        UnknownAnswer: It is garbled or has no token, and it was no dry run.
    """
    if request.dry_run:
        return ExtendLicenseConsumptionResponse(request_id=request_id(answer))
    response = read(ExtendLicenseConsumptionResponse, answer)
    if not response.license_consumption_token:
        raise UnknownAnswer("the answer has no LicenseConsumptionToken", request_id=request_id(answer))
    return response
