"""What is wrong with a request to License Manager, before it is sent."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.marketplace.license_manager import (
    MARKETPLACE_FINGERPRINT,
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
    Unit,
    faults,
)
from sidecar.marketplace.license_manager.types import Request

ARN = "arn:aws:license-manager::294406891311:license:l-0001"
USERS = EntitlementData(name="users", unit=Unit.COUNT, value="2")
CHECKOUT = CheckoutLicenseRequest(
    product_sku="prod-1",
    checkout_type=CheckoutType.PROVISIONAL,
    key_fingerprint=MARKETPLACE_FINGERPRINT,
    entitlements=(USERS,),
    client_token="t",
)
LIST = ListReceivedLicensesRequest()
VALUES = (Filter(name=FilterName.STATUS, values=("AVAILABLE",)),)


def checkout(**members: Any) -> CheckoutLicenseRequest:
    """Return a checkout with changed members."""
    return replace(CHECKOUT, **members)


def entitled(**members: Any) -> CheckoutLicenseRequest:
    """Return a checkout of one changed entitlement."""
    return replace(CHECKOUT, entitlements=(replace(USERS, **members),))


def listed(**members: Any) -> ListReceivedLicensesRequest:
    """Return a list with changed members."""
    return replace(LIST, **members)


@pytest.mark.parametrize(
    "request_",
    [
        CHECKOUT,
        checkout(client_token="x" * 2048, beneficiary="b", node_id="n"),
        checkout(checkout_type="PERPETUAL"),
        checkout(entitlements=(EntitlementData(name="AWS::Marketplace::Usage", unit=Unit.NONE),)),
        checkout(entitlements=(EntitlementData(name="tier", unit="None", value="Enabled"),)),
        checkout(entitlements=(EntitlementData(name="data", unit=Unit.GIGABYTES, value="0.5"),)),
        CheckInLicenseRequest(license_consumption_token="t", beneficiary="b"),
        ExtendLicenseConsumptionRequest(license_consumption_token="t", dry_run=False),
        GetLicenseRequest(license_arn=ARN, version="1"),
        GetLicenseUsageRequest(license_arn=ARN),
        LIST,
        replace(LIST, license_arns=(ARN,), filters=VALUES, max_results=100),
    ],
)
def test_valid_requests_have_no_fault(request_: Request) -> None:
    """What the model allows, and what is at a bound, may be sent."""
    assert [] == faults(request_)


@pytest.mark.parametrize(
    ("request_", "path", "reason"),
    [
        (checkout(product_sku=""), "ProductSKU", "at least 1"),
        (checkout(product_sku=5), "ProductSKU", "text"),
        (checkout(checkout_type="FOREVER"), "CheckoutType", "one of PROVISIONAL, PERPETUAL"),
        (checkout(key_fingerprint=None), "KeyFingerprint", "text"),
        (checkout(entitlements=()), "Entitlements", "at least 1 items"),
        (checkout(entitlements="users"), "Entitlements", "tuple of EntitlementData"),
        (checkout(entitlements=("users",)), "Entitlements[0]", "EntitlementData"),
        (entitled(name=""), "Entitlements[0].Name", "at least 1"),
        (entitled(unit="Seats"), "Entitlements[0].Unit", "one of Count, None"),
        (entitled(unit=None), "Entitlements[0].Unit", "one of Count, None"),
        (entitled(value=None), "Entitlements[0].Value", "text"),
        (entitled(value=2), "Entitlements[0].Value", "text"),
        (entitled(value="0"), "Entitlements[0].Value", "match"),
        (entitled(value="1.5"), "Entitlements[0].Value", "match"),
        (entitled(value="-1"), "Entitlements[0].Value", "match"),
        (entitled(unit=Unit.BYTES, value=None), "Entitlements[0].Value", "text"),
        (entitled(unit=Unit.NONE, value=2), "Entitlements[0].Value", "text"),
        (checkout(client_token=""), "ClientToken", "match"),
        (checkout(client_token="a b"), "ClientToken", "match"),
        (checkout(client_token="x" * 2049), "ClientToken", "at most 2048"),
        (checkout(beneficiary=""), "Beneficiary", "at least 1"),
        (checkout(node_id="\ud800"), "NodeId", "Unicode"),
        (CheckInLicenseRequest(license_consumption_token=""), "LicenseConsumptionToken", "at least 1"),
        (CheckInLicenseRequest(license_consumption_token="t", beneficiary=""), "Beneficiary", "at least 1"),
        (ExtendLicenseConsumptionRequest(license_consumption_token=""), "LicenseConsumptionToken", "at least 1"),
        (GetLicenseRequest(license_arn="l-0001"), "LicenseArn", "match"),
        (GetLicenseRequest(license_arn=ARN, version=""), "Version", "at least 1"),
        (GetLicenseUsageRequest(license_arn=f"{ARN}{'x' * 2048}"), "LicenseArn", "at most 2048"),
        (listed(license_arns=()), "LicenseArns", "at least 1 items"),
        (listed(license_arns=("l-0001",)), "LicenseArns[0]", "match"),
        (listed(filters=()), "Filters", "at least 1 items"),
        (listed(filters=(replace(VALUES[0], values=("a", "b")),)), "Filters[0].Values", "at most 1 items"),
        (listed(filters=(replace(VALUES[0], values=("",)),)), "Filters[0].Values[0]", "at least 1"),
        (listed(max_results=0), "MaxResults", "at least 1"),
        (listed(max_results=101), "MaxResults", "at most 100"),
        (listed(max_results=True), "MaxResults", "whole number"),
    ],
)
def test_each_fault_is_named(request_: Request, path: str, reason: str) -> None:
    """Each broken bound is told with its path in the service's member names, and nothing else is."""
    (fault,) = faults(request_)
    assert path == fault.path
    assert reason in fault.reason


def test_other_faults() -> None:
    """What no type allows is refused as well."""
    dry: Any = "yes"
    filters: Any = (Filter(name="Colour", values=("red",)),)  # type: ignore[arg-type]
    assert ["DryRun must be true or false"] == [
        str(fault) for fault in faults(ExtendLicenseConsumptionRequest(license_consumption_token="t", dry_run=dry))
    ]
    assert ["Filters[0].Name"] == [fault.path for fault in faults(replace(LIST, filters=filters))]


def test_all_faults_are_listed() -> None:
    """Every fault of a request is listed, in the order of its members, and none repeats a value."""
    request = replace(entitled(name="", value="secret"), product_sku="", client_token="secret token")
    found = faults(request)
    assert ["ProductSKU", "Entitlements[0].Name", "Entitlements[0].Value", "ClientToken"] == [
        fault.path for fault in found
    ]
    assert "secret" not in str(found)
