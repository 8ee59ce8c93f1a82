"""GetLicense, GetLicenseUsage and ListReceivedLicenses: what the account sees of its licenses.

Refuses to hide a license without a right: one that was issued to itself, or whose grant waits, is listed like any
other. Only one that was removed is not.
"""

from datetime import datetime

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.license_requests import GetLicenseRequest, ListReceivedLicensesRequest
from sidecar.emulator.rules.licenses import license_status
from sidecar.emulator.state.customers import RUNNING_ACCOUNT
from sidecar.emulator.state.license_entries import License
from sidecar.emulator.state.store import State

FILTERS = ("ProductSKU", "Status", "Fingerprint", "IssuerName", "Beneficiary")


def get_license(state: State, request: GetLicenseRequest, *, region: str | None = None) -> License:
    """Find a license.

    Raises:
        ServiceError: There is no such license, or not in this version.
    """
    license_ = state.licenses.get(request.arn)
    if license_ is None or license_.removed or region not in (None, license_.home_region):
        raise ServiceError(
            "InvalidParameterValueException", "LicenseArn: the account has no such license.", rule=Rule.LICENSE
        )
    if request.version not in (None, str(license_.version)):
        raise ServiceError(
            "InvalidParameterValueException", "Version: the license has no such version.", rule=Rule.LICENSE
        )
    return license_


def list_received_licenses(
    state: State, now: datetime, request: ListReceivedLicensesRequest, *, region: str | None = None
) -> tuple[list[License], str | None]:
    """Return one page, and the token of the next one.

    Raises:
        ServiceError: A filter or the token is not valid.
    """
    for name, values in request.filters:
        if name not in FILTERS:
            raise ServiceError("InvalidParameterValueException", f"Filters: the names are {', '.join(FILTERS)}.")
        if len(values) != 1:
            raise ServiceError("InvalidParameterValueException", "Filters: each takes exactly one value.")
    start = _read_token(request.next_token)
    found = [
        each
        for each in state.licenses.values()
        if not each.removed
        and region in (None, each.home_region)
        and (request.arns is None or each.arn in request.arns)
        and all(_property(each, name, now) == values[0] for name, values in request.filters)
    ]
    end = start + request.page_size
    return found[start:end], f"page-{end}" if end < len(found) else None


def _read_token(token: str | None) -> int:
    if token is None:
        return 0
    number = token.removeprefix("page-")
    if not token.startswith("page-") or not number.isascii() or not number.isdecimal() or len(number) > 9:
        raise ServiceError("InvalidParameterValueException", "NextToken: is not a token of this list.")
    return int(number)


def _property(license_: License, name: str, now: datetime) -> str:
    match name:
        case "ProductSKU":
            return license_.sku
        case "Status":
            return license_status(license_, now)
        case "Fingerprint":
            return license_.fingerprint
        case "IssuerName":
            return license_.issuer
        case _:
            return RUNNING_ACCOUNT
