"""What License Manager would refuse, found before sending.

`faults` lists every fault of a request with its path in the service's own member names. It refuses to know licenses:
whether an entitlement exists and in which unit, only AWS can say.
"""

from collections.abc import Iterator
from enum import StrEnum

from sidecar.marketplace.errors import RequestFault
from sidecar.marketplace.license_manager.limits import ANY_TEXT, COUNTED, LIMITS, ONE, ONE_OR_MORE
from sidecar.marketplace.license_manager.types import (
    CheckInLicenseRequest,
    CheckoutLicenseRequest,
    CheckoutType,
    EntitlementData,
    ExtendLicenseConsumptionRequest,
    Filter,
    FilterName,
    GetLicenseRequest,
    GetLicenseUsageRequest,
    ListReceivedLicensesRequest,
    Request,
    Unit,
)
from sidecar.marketplace.limits import check_each, check_flag, check_text, check_whole_number


def faults(request: Request) -> list[RequestFault]:
    """Return everything that is wrong with `request`, in the order of its members; empty when it may be sent."""
    match request:
        case CheckoutLicenseRequest():
            return list(_checkout(request))
        case CheckInLicenseRequest():
            return [*_token(request), *check_text("Beneficiary", request.beneficiary, ANY_TEXT, optional=True)]
        case ExtendLicenseConsumptionRequest():
            return [*_token(request), *check_flag("DryRun", request.dry_run)]
        case GetLicenseRequest():
            return [
                *_arn("LicenseArn", request.license_arn),
                *check_text("Version", request.version, ANY_TEXT, optional=True),
            ]
        case GetLicenseUsageRequest():
            return list(_arn("LicenseArn", request.license_arn))
        case ListReceivedLicensesRequest():
            return list(_list(request))


def _token(request: CheckInLicenseRequest | ExtendLicenseConsumptionRequest) -> Iterator[RequestFault]:
    yield from check_text("LicenseConsumptionToken", request.license_consumption_token, ANY_TEXT)


def _checkout(request: CheckoutLicenseRequest) -> Iterator[RequestFault]:
    yield from check_text("ProductSKU", request.product_sku, ANY_TEXT)
    yield from _check_choice("CheckoutType", request.checkout_type, CheckoutType)
    yield from check_text("KeyFingerprint", request.key_fingerprint, ANY_TEXT)
    yield from check_each("Entitlements", request.entitlements, ONE_OR_MORE, EntitlementData, _entitlement)
    yield from check_text("ClientToken", request.client_token, LIMITS["ClientToken"])
    yield from check_text("Beneficiary", request.beneficiary, ANY_TEXT, optional=True)
    yield from check_text("NodeId", request.node_id, ANY_TEXT, optional=True)


def _entitlement(path: str, entitlement: EntitlementData) -> Iterator[RequestFault]:
    yield from check_text(f"{path}.Name", entitlement.name, ANY_TEXT)
    yield from _check_choice(f"{path}.Unit", entitlement.unit, Unit)
    if entitlement.unit == Unit.COUNT:
        yield from check_text(f"{path}.Value", entitlement.value, COUNTED)
    elif entitlement.unit == Unit.NONE:
        yield from check_text(f"{path}.Value", entitlement.value, ANY_TEXT, optional=True)
    else:
        yield from check_text(f"{path}.Value", entitlement.value, ANY_TEXT)


def _list(request: ListReceivedLicensesRequest) -> Iterator[RequestFault]:
    if request.license_arns is not None:
        yield from check_each("LicenseArns", request.license_arns, ONE_OR_MORE, str, _arn)
    if request.filters is not None:
        yield from check_each("Filters", request.filters, ONE_OR_MORE, Filter, _filter)
    yield from check_whole_number("MaxResults", request.max_results, LIMITS["MaxSize100"], optional=True)


def _filter(path: str, given: Filter) -> Iterator[RequestFault]:
    yield from _check_choice(f"{path}.Name", given.name, FilterName)
    yield from check_each(
        f"{path}.Values", given.values, ONE, str, lambda path, value: check_text(path, value, ANY_TEXT)
    )


def _arn(path: str, value: str) -> Iterator[RequestFault]:
    return check_text(path, value, LIMITS["Arn"])


def _check_choice(path: str, value: object, choices: type[StrEnum]) -> Iterator[RequestFault]:
    if value not in list(choices):
        yield RequestFault(path, f"must be one of {', '.join(choices)}")
