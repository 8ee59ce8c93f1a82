"""The shapes of License Manager's six requests, from the service model; and a checkout as a value, which is kept.

Whether a request is allowed is for the rules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
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


def read_checkout(members: dict[str, Any]) -> CheckoutLicenseRequest:
    """Make the request of a checkout from members that `shapes` has checked."""
    return CheckoutLicenseRequest(
        members["ProductSKU"],
        members["CheckoutType"],
        members["KeyFingerprint"],
        tuple(EntitlementAsked(each["Name"], each["Unit"], each.get("Value")) for each in members["Entitlements"]),
        members["ClientToken"],
        members.get("Beneficiary"),
        members.get("NodeId"),
    )
