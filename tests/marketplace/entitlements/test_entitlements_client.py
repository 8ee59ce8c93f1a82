"""The client of the Entitlement Service against a peer on a real socket."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.marketplace import Endpoint, InvalidRequest, Taken, UnknownAnswer, call
from sidecar.marketplace.entitlements import (
    Entitlement,
    EntitlementService,
    EntitlementServiceClient,
    EntitlementValue,
    GetEntitlementFilterName,
    GetEntitlementsRequest,
    InvalidParameterException,
    faults,
)
from sidecar.marketplace.sdk import Connection
from tests.marketplace.waiting import HALF, FakeClock

if TYPE_CHECKING:
    from tests.marketplace.conftest import Peer

REQUEST = GetEntitlementsRequest(
    product_code="0abc123example",
    filter={
        GetEntitlementFilterName.CUSTOMER_AWS_ACCOUNT_ID: ("123456789012",),
        GetEntitlementFilterName.DIMENSION: ("users", "storage"),
    },
    max_results=2,
)
USERS: dict[str, Any] = {
    "ProductCode": "0abc123example",
    "Dimension": "users",
    "CustomerAWSAccountId": "123456789012",
    "CustomerIdentifier": "buyer",
    "LicenseArn": "arn:aws:license-manager::294406891311:license:l-1",
    "Value": {"IntegerValue": 10},
    "ExpirationDate": 1795428000,
}


@pytest.fixture
async def service(peer: "Peer") -> AsyncIterator[EntitlementServiceClient]:
    """A client of the peer."""
    async with EntitlementServiceClient(Endpoint.emulated(peer.url, {})) as client:
        yield client


def test_client_is_the_protocol() -> None:
    """The client can stand wherever the protocol is asked for."""
    service: EntitlementService = EntitlementServiceClient(Endpoint(region_name="us-east-1"))
    assert callable(service.get_entitlements)


async def test_request_and_answer_are_the_models(peer: "Peer", service: EntitlementServiceClient) -> None:
    """Each member goes and comes under the model's name; the value keeps its kind, the date is in UTC."""
    storage = {"Dimension": "storage", "Value": {"DoubleValue": 2}}
    flags = [{"Value": {"BooleanValue": False}}, {"Value": {"StringValue": "gold"}}, {}]
    peer.answers = [peer.says({"Entitlements": [USERS, storage, *flags]})]
    result = await service.get_entitlements(REQUEST)
    assert result.entitlements[0] == Entitlement(
        product_code="0abc123example",
        dimension="users",
        customer_identifier="buyer",
        customer_aws_account_id="123456789012",
        license_arn="arn:aws:license-manager::294406891311:license:l-1",
        value=EntitlementValue(integer_value=10),
        expiration_date=datetime(2026, 11, 23, 10, tzinfo=UTC),
    )
    assert [
        EntitlementValue(double_value=2.0),
        EntitlementValue(boolean_value=False),
        EntitlementValue(string_value="gold"),
        None,
    ] == [each.value for each in result.entitlements[1:]]
    assert "request-1" == result.request_id
    (request,) = peer.requests
    assert "AWSMPEntitlementService.GetEntitlements" == request.headers["X-Amz-Target"]
    assert "/us-east-1/aws-marketplace/aws4_request" in request.headers["Authorization"]
    assert {
        "ProductCode": "0abc123example",
        "Filter": {"CUSTOMER_AWS_ACCOUNT_ID": ["123456789012"], "DIMENSION": ["users", "storage"]},
        "MaxResults": 2,
    } == json.loads(peer.bodies[0])


async def test_all_pages_are_read(peer: "Peer", service: EntitlementServiceClient) -> None:
    """Pages are followed to their end, past one without entitlements, and each repeats the filters."""
    peer.answers = [
        peer.says({"Entitlements": [USERS], "NextToken": "page-1"}),
        peer.says({"Entitlements": [], "NextToken": "page-2"}),
        peer.says({"Entitlements": [USERS]}),
    ]
    result = await service.get_entitlements(REQUEST)
    assert 2 == len(result.entitlements)
    sent = [json.loads(body) for body in peer.bodies]
    assert [None, "page-1", "page-2"] == [members.pop("NextToken", None) for members in sent]
    assert sent[0] == sent[1] == sent[2]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{}",
        "null",
        '{"Entitlements": null}',
        '{"Entitlements": [null]}',
        '{"Entitlements": [{"Dimension": 1}]}',
        '{"Entitlements": [{"Value": {"IntegerValue": "1"}}]}',
        '{"Entitlements": [{"Value": {"IntegerValue": true}}]}',
        "<html></html>",
    ],
)
async def test_hollow_answer_is_no_empty_list(peer: "Peer", service: EntitlementServiceClient, answer: str) -> None:
    """An answer that cannot be read never looks like a customer without entitlements."""
    peer.answers = [peer.says(answer)]
    with pytest.raises(UnknownAnswer):
        await service.get_entitlements(REQUEST)


async def test_one_layer_retries(peer: "Peer", service: EntitlementServiceClient) -> None:
    """A call is one attempt; `call` repeats it while its error may pass."""
    peer.answers = [
        peer.fails("ThrottlingException"),
        peer.fails("InternalServiceErrorException", status=500),
        peer.fails("InvalidParameterException"),
    ]
    with pytest.raises(InvalidParameterException) as caught:
        await call(lambda: service.get_entitlements(REQUEST), clock=FakeClock(), back_off=HALF)
    assert Taken.UNKNOWN is caught.value.taken
    assert 3 == len(peer.requests)


async def test_failed_page_is_asked_again(peer: "Peer", service: EntitlementServiceClient) -> None:
    """A page after the first is repeated while its error may pass: a throttled list does not begin anew."""
    peer.answers = [
        peer.says({"Entitlements": [USERS], "NextToken": "page-1"}),
        peer.fails("ThrottlingException"),
        peer.drops,
        peer.says({"Entitlements": [USERS]}),
    ]
    assert 2 == len((await service.get_entitlements(REQUEST)).entitlements)
    assert [None, *["page-1"] * 3] == [json.loads(body).get("NextToken") for body in peer.bodies]


async def test_faulty_request_is_not_sent(peer: "Peer", service: EntitlementServiceClient) -> None:
    """Every fault of a request is named at once, and nothing is sent."""
    faulty = GetEntitlementsRequest(
        product_code="",
        filter={
            GetEntitlementFilterName.CUSTOMER_IDENTIFIER: (),
            GetEntitlementFilterName.CUSTOMER_AWS_ACCOUNT_ID: ("",),
            "LICENSE": ("x",),  # type: ignore[dict-item]
        },
        max_results=26,
    )
    with pytest.raises(InvalidRequest) as caught:
        await service.get_entitlements(faulty)
    assert [
        "ProductCode must be at least 1 characters",
        "Filter.CUSTOMER_IDENTIFIER must be at least 1 items",
        "Filter.CUSTOMER_AWS_ACCOUNT_ID[0] must be at least 1 characters",
        "Filter has a key other than CUSTOMER_IDENTIFIER, DIMENSION, CUSTOMER_AWS_ACCOUNT_ID, LICENSE_ARN",
        "Filter has CUSTOMER_IDENTIFIER and CUSTOMER_AWS_ACCOUNT_ID; give only one of them",
        "MaxResults must be at most 25",
    ] == [str(fault) for fault in caught.value.faults]
    assert [] == peer.requests
    assert [] == faults(GetEntitlementsRequest(product_code="p"))


def test_live_call_goes_to_the_host_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """A live call reaches the service's host in the Region and no configured address."""
    from sidecar.marketplace.entitlements.client import ENTITLEMENT_SERVICE  # noqa: PLC0415
    from tests.marketplace.canned import canned  # noqa: PLC0415

    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://evil.example")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    connection = Connection(Endpoint.live({}, "us-east-1"), service=ENTITLEMENT_SERVICE)
    urls: list[str] = []
    connection.session.register("before-send.marketplace-entitlement-service", canned(b'{"Entitlements": []}', urls))
    connection.send("GetEntitlements", {"ProductCode": "p"})
    assert ["https://entitlement.marketplace.us-east-1.amazonaws.com/"] == urls
