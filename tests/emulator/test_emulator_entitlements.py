"""GetEntitlements as a SaaS seller's program sees it: through boto3 over a socket."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sidecar.emulator.protocol.entitlement_requests import ENTITLEMENT_REQUESTS, FILTERS
from sidecar.emulator.protocol.errors import ENTITLEMENT_MODELLED
from sidecar.emulator.protocol.shapes import Many, Structure, Text, Whole
from sidecar.emulator.state.seed import SeedError, make_seed
from tests.support.service_model import ENTITLEMENT_MODEL, modelled

if TYPE_CHECKING:
    from tests.emulator.conftest import Connect, RunningEmulator, Start

FROZEN = "2026-11-23T12:30:00Z"
ARN = "arn:aws:license-manager::294406891311:license:l-1"
ENTITLEMENTS: list[dict[str, Any]] = [
    {"Dimension": "users", "Value": {"IntegerValue": 10}, "ExpirationDate": "2027-01-01T00:00:00Z"},
    {"Dimension": "storage", "Value": {"DoubleValue": 2.5}},
    {"Dimension": "audit", "Value": {"BooleanValue": True}},
    {"Dimension": "tier", "Value": {"StringValue": "gold"}},
]


@pytest.fixture
def client(emulator: "RunningEmulator", connect: "Connect") -> Any:
    """A client of an emulator without a seed."""
    emulator.freeze(FROZEN)
    return connect(emulator, service="marketplace-entitlement", region="us-east-1")


def listed(client: Any, **members: Any) -> list[str]:
    """Return the dimensions of all pages."""
    pages = client.get_paginator("get_entitlements").paginate(ProductCode="prod", **members)
    return [each["Dimension"] for page in pages for each in page["Entitlements"]]


def refused(client: Any, **members: Any) -> ClientError:
    """Make a call that must be refused; returns the SDK's exception."""
    with pytest.raises(ClientError) as raised:
        client.get_entitlements(**{"ProductCode": "prod", **members})
    return raised.value


def test_entitlements_follow_the_resolved_customer(
    emulator: "RunningEmulator", client: Any, connect: "Connect"
) -> None:
    """The customer that ResolveCustomer returns has the entitlements, under the same names."""
    answer = emulator.post(
        "customers", action="entitle", CustomerIdentifier="c-1", LicenseArn=ARN, entitlements=ENTITLEMENTS
    )
    buyer = connect(emulator).resolve_customer(RegistrationToken=answer["RegistrationToken"])
    by_account = {"CUSTOMER_AWS_ACCOUNT_ID": [buyer["CustomerAWSAccountId"]]}
    found = client.get_entitlements(ProductCode="prod", Filter=by_account)["Entitlements"]
    assert ["users", "storage", "audit", "tier"] == [each["Dimension"] for each in found]
    assert [{"IntegerValue": 10}, {"DoubleValue": 2.5}, {"BooleanValue": True}, {"StringValue": "gold"}] == [
        each["Value"] for each in found
    ]
    assert {
        "ProductCode": "prod",
        "Dimension": "users",
        "CustomerIdentifier": "c-1",
        "CustomerAWSAccountId": buyer["CustomerAWSAccountId"],
        "LicenseArn": ARN,
        "Value": {"IntegerValue": 10},
        "ExpirationDate": datetime(2027, 1, 1, tzinfo=UTC),
    } == found[0]
    assert "ExpirationDate" not in found[1]
    (shown,) = emulator.get("state")["customers"]
    assert ENTITLEMENTS == shown["entitlements"]


def test_filters_are_united_and_intersected(emulator: "RunningEmulator", client: Any) -> None:
    """One of a filter's values must fit, and every filter; without a filter all customers are listed."""
    for number in range(2):
        emulator.post(
            "customers",
            action="entitle",
            CustomerIdentifier=f"c-{number}",
            CustomerAWSAccountId=f"{number:012}",
            LicenseArn=f"{ARN}{number}",
            entitlements=ENTITLEMENTS,
        )
    assert 8 == len(listed(client))
    assert ["users", "tier"] == listed(client, Filter={"DIMENSION": ["tier", "users"], "LICENSE_ARN": [f"{ARN}1"]})
    assert ["audit", "audit"] == listed(client, Filter={"DIMENSION": ["audit"], "CUSTOMER_IDENTIFIER": ["c-0", "c-1"]})
    assert [] == listed(client, Filter={"CUSTOMER_IDENTIFIER": ["c-0"], "LICENSE_ARN": [f"{ARN}1"]})


def test_pages_hold_what_was_asked(emulator: "RunningEmulator", client: Any) -> None:
    """A page holds at most MaxResults, or 25; the pages together hold all, each once."""
    many = [{"Dimension": f"d-{number}", "Value": {"IntegerValue": number}} for number in range(30)]
    emulator.post("customers", action="entitle", CustomerIdentifier="c-1", entitlements=many)
    first = client.get_entitlements(ProductCode="prod")
    assert 25 == len(first["Entitlements"])
    rest = client.get_entitlements(ProductCode="prod", NextToken=first["NextToken"])
    assert (5, None) == (len(rest["Entitlements"]), rest.get("NextToken"))
    expected = [each["Dimension"] for each in many]
    assert expected == listed(client, MaxResults=7)
    assert expected == listed(client)


def test_only_what_is_good_is_listed(emulator: "RunningEmulator", client: Any) -> None:
    """An entitlement ends at its date, all of a customer end when it unsubscribes; they come back with it."""
    emulator.post("customers", action="entitle", CustomerIdentifier="c-1", entitlements=ENTITLEMENTS)
    emulator.post("clock", now="2026-12-31T23:59:59Z")
    assert 4 == len(listed(client))
    emulator.post("clock", now="2027-01-01T00:00:00Z")
    assert ["storage", "audit", "tier"] == listed(client)
    emulator.post("customers", action="unsubscribe", CustomerIdentifier="c-1")
    assert [] == listed(client)
    emulator.post("customers", action="entitle", CustomerIdentifier="c-1")
    assert ["storage", "audit", "tier"] == listed(client)
    emulator.post("customers", action="entitle", CustomerIdentifier="c-1", entitlements=[])
    assert [] == listed(client)


@pytest.mark.parametrize(
    "members",
    [
        {"Filter": {"CUSTOMER_IDENTIFIER": ["c"], "CUSTOMER_AWS_ACCOUNT_ID": ["1"]}},
        {"Filter": {"COLOR": ["red"]}},
        {"NextToken": "somewhere"},
        {"NextToken": "page-\u0661"},
        {"ProductCode": "p" * 256},
        {"MaxResults": 26},
    ],
)
def test_faulty_request_is_refused(client: Any, members: dict[str, Any]) -> None:
    """What breaks the model's bounds or the rules of filters is InvalidParameterException, the SDK's own class."""
    error = refused(client, **members)
    assert isinstance(error, client.exceptions.InvalidParameterException)
    assert error.response["Error"]["Message"]


def test_foreign_product_is_refused(start: "Start", connect: "Connect") -> None:
    """With a seed the product is known."""
    emulator = start(seed=make_seed({"product": {"code": "prod"}}))
    client = connect(emulator, service="marketplace-entitlement", region="us-east-1")
    assert [] == client.get_entitlements(ProductCode="prod")["Entitlements"]
    assert isinstance(refused(client, ProductCode="other"), client.exceptions.InvalidParameterException)


@pytest.mark.parametrize("error", ENTITLEMENT_MODELLED["GetEntitlements"])
def test_modelled_error_is_recognized(emulator: "RunningEmulator", client: Any, error: str) -> None:
    """Every modelled error can be asked for, and the SDK raises its own exception class with the message."""
    emulator.post("faults", operation="GetEntitlements", fault=error)
    refusal = refused(client)
    assert isinstance(refusal, getattr(client.exceptions, error))
    assert (500 if error == "InternalServiceErrorException" else 400) == refusal.response["ResponseMetadata"][
        "HTTPStatusCode"
    ]
    assert refusal.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("throttle", "ThrottlingException"),
        ("internal", "InternalServiceErrorException"),
        ("internal-taken", "InternalServiceErrorException"),
        ("access-denied", "AccessDeniedException"),
        ("expired-token", "ExpiredTokenException"),
    ],
)
def test_fault_happens_once(emulator: "RunningEmulator", client: Any, fault: str, code: str) -> None:
    """The faults of every operation happen to this one, too; after them it answers."""
    emulator.post("faults", operation="GetEntitlements", fault=fault)
    assert code == refused(client).response["Error"]["Code"]
    assert [] == listed(client)


def test_call_is_in_the_log(emulator: "RunningEmulator", client: Any) -> None:
    """The log of calls has it under the source that the service model names, as a reading call."""
    listed(client, Filter={"DIMENSION": ["users"]}, MaxResults=3)
    (event,) = emulator.get("events")["Records"]
    assert ("marketplaceentitlementservice.amazonaws.com", "GetEntitlements", True) == (
        event["eventSource"],
        event["eventName"],
        event["readOnly"],
    )
    assert {"productCode": "prod", "filter": {"DIMENSION": ["users"]}, "maxResults": 3} == event["requestParameters"]


def test_model_is_the_installed_one() -> None:
    """Operation, errors, members, filters and bounds are the service model's."""
    assert ENTITLEMENT_MODEL["operations"].keys() == ENTITLEMENT_MODELLED.keys() == ENTITLEMENT_REQUESTS.keys()
    assert modelled("GetEntitlements", ENTITLEMENT_MODEL) == set(ENTITLEMENT_MODELLED["GetEntitlements"])
    shapes = ENTITLEMENT_MODEL["shapes"]
    ours = ENTITLEMENT_REQUESTS["GetEntitlements"]
    assert shapes["GetEntitlementsRequest"]["members"].keys() == ours.members.keys()
    assert set(shapes["GetEntitlementsRequest"]["required"]) == ours.required
    assert shapes["GetEntitlementFilterName"]["enum"] == list(FILTERS)
    code, page, filters = ours.members["ProductCode"], ours.members["MaxResults"], ours.members["Filter"]
    assert isinstance(code, Text)
    assert isinstance(page, Whole)
    assert isinstance(filters, Structure)
    assert (shapes["ProductCode"]["min"], shapes["ProductCode"]["max"]) == (code.least, code.most)
    assert (shapes["PageSizeInteger"]["min"], shapes["PageSizeInteger"]["max"]) == (page.least, page.most)
    for values in filters.members.values():
        assert isinstance(values, Many)
        assert shapes["FilterValueList"]["min"] == values.least


FAULTY: list[tuple[Any, str]] = [
    ({}, "entitlements: {}: must be a list"),
    ([1], "entitlements[0]: 1: must be an object"),
    ([{"Dimension": "d", "Value": {"IntegerValue": 1}, "Name": "n"}], "entitlements[0].Name: 'n': is not a member"),
    ([{"Value": {"IntegerValue": 1}}], "entitlements[0].Dimension: None: must be the name"),
    ([{"Dimension": "d"}], "entitlements[0].Value: None: must be an object with exactly one of IntegerValue"),
    ([{"Dimension": "d", "Value": {"IntegerValue": 1, "StringValue": "s"}}], "must be an object with exactly one"),
    ([{"Dimension": "d", "Value": {"LongValue": 1}}], "must be an object with exactly one"),
    ([{"Dimension": "d", "Value": {"IntegerValue": "1"}}], "IntegerValue: '1': must be an integer"),
    ([{"Dimension": "d", "Value": {"IntegerValue": True}}], "IntegerValue: True: must be an integer"),
    ([{"Dimension": "d", "Value": {"IntegerValue": 2**31}}], "must be an integer from -2147483647 to 2147483647"),
    ([{"Dimension": "d", "Value": {"DoubleValue": float("nan")}}], "DoubleValue: nan: must be a finite number"),
    ([{"Dimension": "d", "Value": {"DoubleValue": 10**400}}], "must be a finite number"),
    ([{"Dimension": "d", "Value": {"BooleanValue": 1}}], "BooleanValue: 1: must be true or false"),
    (
        [{"Dimension": "d", "Value": {"IntegerValue": 1}, "ExpirationDate": "soon"}],
        "ExpirationDate: 'soon': is not RFC",
    ),
]


@pytest.mark.parametrize(("entitlements", "expected"), FAULTY)
def test_faulty_entitlement_is_named(emulator: "RunningEmulator", entitlements: Any, expected: str) -> None:
    """The control API and the seed refuse a faulty entitlement with its member, its value and what is allowed."""
    status, problem = emulator.try_post("customers", {"action": "entitle", "entitlements": entitlements})
    assert 400 == status
    assert expected in problem["detail"]
    with pytest.raises(SeedError) as caught:
        make_seed({"customers": [{"CustomerIdentifier": "c", "entitlements": entitlements}]})
    assert expected in caught.value.problems[0]


def test_entitlements_belong_to_a_subscription(emulator: "RunningEmulator") -> None:
    """Unsubscribing takes no entitlements, and a seeded entitlement needs its customer's name."""
    status, problem = emulator.try_post("customers", {"action": "unsubscribe", "entitlements": []})
    assert (400, "entitlements: are for the action entitle") == (status, problem["detail"])
    with pytest.raises(SeedError, match="entitlements need one of CustomerIdentifier"):
        make_seed({"customers": [{"entitlements": ENTITLEMENTS}]})


def test_seed_and_state_file_keep_entitlements(start: "Start", connect: "Connect", tmp_path: Path) -> None:
    """A seeded customer has its entitlements; changed ones survive a restart, and reset returns to the seed."""
    seed = make_seed({"customers": [{"CustomerIdentifier": "c-1", "entitlements": ENTITLEMENTS[:1]}]})
    options = {"seed": seed, "state_file": tmp_path / "state"}
    first = start(**options)
    first.freeze(FROZEN)
    assert ["users"] == listed(connect(first, service="marketplace-entitlement"))
    first.post("customers", action="entitle", CustomerIdentifier="c-1", entitlements=ENTITLEMENTS)
    first.stop()
    second = start(**options)
    client = connect(second, service="marketplace-entitlement")
    assert ["users", "storage", "audit", "tier"] == listed(client)
    second.post("reset")
    assert ["users"] == listed(client)
