"""GetLicense, GetLicenseUsage and ListReceivedLicenses: what the account sees of its licenses.

Refuses to hide a license without a right: one that was issued to itself, or whose grant waits, is listed like any
other. Only one that was removed is not.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.rules.licenses import license_status
from sidecar.emulator.rules.pages import cut_page
from sidecar.emulator.state.customers import RUNNING_ACCOUNT
from sidecar.emulator.state.license_entries import License
from sidecar.emulator.state.store import State

_INVALID = "InvalidParameterValueException"
_PAGE = 100
FILTERS = ("ProductSKU", "Status", "Fingerprint", "IssuerName", "Beneficiary")


def get_license(state: State, arn: str, version: str | None = None, *, region: str | None = None) -> License:
    """Find a license; raises ServiceError if there is no such license, or not in this version."""
    license_ = state.licenses.get(arn)
    if license_ is None or license_.removed or region not in (None, license_.home_region):
        raise ServiceError(_INVALID, "LicenseArn: the account has no such license.", rule=Rule.LICENSE)
    if version not in (None, str(license_.version)):
        raise ServiceError(_INVALID, "Version: the license has no such version.", rule=Rule.LICENSE)
    return license_


def list_received_licenses(
    state: State, now: datetime, members: Mapping[str, Any], *, region: str | None = None
) -> tuple[Sequence[License], str | None]:
    """Return one page, and the token of the next one; raises ServiceError if a filter or the token is not valid."""
    filters = [_read_filter(each) for each in members.get("Filters", ())]
    arns: Collection[str] | None = members.get("LicenseArns")
    found = [
        each
        for each in state.licenses.values()
        if not each.removed
        and region in (None, each.home_region)
        and (arns is None or each.arn in arns)
        and all(_property(each, name, now) == value for name, value in filters)
    ]
    return cut_page(found, members.get("NextToken"), members.get("MaxResults", _PAGE), _INVALID)


def _read_filter(members: Mapping[str, Any]) -> tuple[str, str]:
    """Return name and value of a filter."""
    name, values = members.get("Name", ""), members.get("Values", ())
    if name not in FILTERS:
        raise ServiceError(_INVALID, f"Filters: the names are {', '.join(FILTERS)}.")
    if len(values) != 1:
        raise ServiceError(_INVALID, "Filters: each takes exactly one value.")
    return name, values[0]


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
