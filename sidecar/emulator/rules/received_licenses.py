"""GetLicense, GetLicenseUsage and ListReceivedLicenses: what the account sees of its licenses.

Refuses to hide a license without a right: one that was issued to itself, or whose grant waits, is listed like any
other. Only one that was removed is not.
"""

from collections.abc import Sequence
from datetime import datetime

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.license_requests import GetLicenseRequest, ListReceivedLicensesRequest
from sidecar.emulator.rules.licenses import license_status
from sidecar.emulator.rules.pages import cut_page
from sidecar.emulator.state.customers import RUNNING_ACCOUNT
from sidecar.emulator.state.license_entries import License
from sidecar.emulator.state.store import State

_INVALID = "InvalidParameterValueException"
FILTERS = ("ProductSKU", "Status", "Fingerprint", "IssuerName", "Beneficiary")


def get_license(state: State, request: GetLicenseRequest, *, region: str | None = None) -> License:
    """Find a license; raises ServiceError if there is no such license, or not in this version."""
    license_ = state.licenses.get(request.arn)
    if license_ is None or license_.removed or region not in (None, license_.home_region):
        raise ServiceError(_INVALID, "LicenseArn: the account has no such license.", rule=Rule.LICENSE)
    if request.version not in (None, str(license_.version)):
        raise ServiceError(_INVALID, "Version: the license has no such version.", rule=Rule.LICENSE)
    return license_


def list_received_licenses(
    state: State, now: datetime, request: ListReceivedLicensesRequest, *, region: str | None = None
) -> tuple[Sequence[License], str | None]:
    """Return one page, and the token of the next one; raises ServiceError if a filter or the token is not valid."""
    for name, values in request.filters:
        if name not in FILTERS:
            raise ServiceError(_INVALID, f"Filters: the names are {', '.join(FILTERS)}.")
        if len(values) != 1:
            raise ServiceError(_INVALID, "Filters: each takes exactly one value.")
    found = [
        each
        for each in state.licenses.values()
        if not each.removed
        and region in (None, each.home_region)
        and (request.arns is None or each.arn in request.arns)
        and all(_property(each, name, now) == values[0] for name, values in request.filters)
    ]
    return cut_page(found, request.next_token, request.page_size, _INVALID)


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
