"""License Manager's six requests as values, and their shapes from the service model.

Invariant: a request that exists is well-formed; whether it is allowed is for the rules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.emulator.protocol.shapes import ARN, Flag, Many, Structure, Text, Whole

UNITS = (
    *("Count", "None", "Seconds", "Microseconds", "Milliseconds"),
    *("Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes"),
    *("Bits", "Kilobits", "Megabits", "Gigabits", "Terabits", "Percent"),
    *("Bytes/Second", "Kilobytes/Second", "Megabytes/Second", "Gigabytes/Second", "Terabytes/Second"),
    *("Bits/Second", "Kilobits/Second", "Megabits/Second", "Gigabits/Second", "Terabits/Second", "Count/Second"),
)
"""What an entitlement can be counted in."""

PROVISIONAL = "PROVISIONAL"
"""The type of a checkout that returns by itself."""
PERPETUAL = "PERPETUAL"
"""The type of a checkout that draws down."""


@dataclass(frozen=True, slots=True)
class EntitlementAsked:
    """How much of one entitlement is asked for."""

    name: str
    unit: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class CheckoutLicenseRequest:
    """Entitlements that a product asks for."""

    sku: str
    checkout_type: str
    fingerprint: str
    entitlements: tuple[EntitlementAsked, ...]
    client_token: str
    beneficiary: str | None = None
    node_id: str | None = None


@dataclass(frozen=True, slots=True)
class CheckInLicenseRequest:
    """A checkout that comes back."""

    consumption_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ExtendLicenseConsumptionRequest:
    """A checkout that is still in use."""

    consumption_token: str = field(repr=False)
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class GetLicenseRequest:
    """One license, in its current version or none."""

    arn: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class GetLicenseUsageRequest:
    """The usage of one license."""

    arn: str


@dataclass(frozen=True, slots=True)
class ListReceivedLicensesRequest:
    """One page of the licenses that the account has received."""

    arns: tuple[str, ...] | None = None
    filters: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Name and values of each."""
    next_token: str | None = None
    page_size: int = 100


LicenseRequest = (
    CheckoutLicenseRequest
    | CheckInLicenseRequest
    | ExtendLicenseConsumptionRequest
    | GetLicenseRequest
    | GetLicenseUsageRequest
    | ListReceivedLicensesRequest
)

LICENSE_ARN = Text(0, 2048, ARN)
UNIT = Text(pattern=re.compile("|".join(UNITS)))
_ENTITLEMENT = Structure({"Name": Text(), "Value": Text(), "Unit": UNIT}, frozenset({"Name", "Unit"}))
_FILTER = Structure({"Name": Text(), "Values": Many(Text())})

LICENSE_REQUESTS: Mapping[str, Structure] = {
    "CheckoutLicense": Structure(
        {
            "ProductSKU": Text(),
            "CheckoutType": Text(pattern=re.compile(f"{PROVISIONAL}|{PERPETUAL}")),
            "KeyFingerprint": Text(),
            "Entitlements": Many(_ENTITLEMENT),
            "ClientToken": Text(0, 2048, re.compile(r"\S+")),
            "Beneficiary": Text(),
            "NodeId": Text(),
        },
        frozenset({"ProductSKU", "CheckoutType", "KeyFingerprint", "Entitlements", "ClientToken"}),
    ),
    "CheckInLicense": Structure(
        {"LicenseConsumptionToken": Text(), "Beneficiary": Text()}, frozenset({"LicenseConsumptionToken"})
    ),
    "ExtendLicenseConsumption": Structure(
        {"LicenseConsumptionToken": Text(), "DryRun": Flag()}, frozenset({"LicenseConsumptionToken"})
    ),
    "GetLicense": Structure({"LicenseArn": LICENSE_ARN, "Version": Text()}, frozenset({"LicenseArn"})),
    "GetLicenseUsage": Structure({"LicenseArn": LICENSE_ARN}, frozenset({"LicenseArn"})),
    "ListReceivedLicenses": Structure(
        {"LicenseArns": Many(LICENSE_ARN), "Filters": Many(_FILTER), "NextToken": Text(), "MaxResults": Whole(1, 100)}
    ),
}
"""The request of each operation, from the service model."""


def read_license_request(operation: str, members: dict[str, Any]) -> LicenseRequest:
    """Make the request of an operation from members that `shapes` has checked."""
    match operation:
        case "CheckoutLicense":
            return CheckoutLicenseRequest(
                members["ProductSKU"],
                members["CheckoutType"],
                members["KeyFingerprint"],
                tuple(
                    EntitlementAsked(each["Name"], each["Unit"], each.get("Value")) for each in members["Entitlements"]
                ),
                members["ClientToken"],
                members.get("Beneficiary"),
                members.get("NodeId"),
            )
        case "CheckInLicense":
            return CheckInLicenseRequest(members["LicenseConsumptionToken"])
        case "ExtendLicenseConsumption":
            return ExtendLicenseConsumptionRequest(members["LicenseConsumptionToken"], members.get("DryRun", False))
        case "GetLicense":
            return GetLicenseRequest(members["LicenseArn"], members.get("Version"))
        case "GetLicenseUsage":
            return GetLicenseUsageRequest(members["LicenseArn"])
        case _:
            arns = members.get("LicenseArns")
            return ListReceivedLicensesRequest(
                None if arns is None else tuple(arns),
                tuple((each.get("Name", ""), tuple(each.get("Values", ()))) for each in members.get("Filters", ())),
                members.get("NextToken"),
                members.get("MaxResults", 100),
            )
