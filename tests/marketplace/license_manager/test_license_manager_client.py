"""The client of License Manager against a peer on a real socket."""

import copy
import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from sidecar.marketplace import (
    AccessDenied,
    BackOff,
    Endpoint,
    InvalidRequest,
    NoAnswer,
    NotSent,
    Taken,
    UnknownAnswer,
    call,
)
from sidecar.marketplace.license_manager import (
    MARKETPLACE_FINGERPRINT,
    CheckInLicenseRequest,
    CheckoutLicenseRequest,
    CheckoutType,
    DatetimeRange,
    Entitlement,
    EntitlementData,
    EntitlementUsage,
    ExtendLicenseConsumptionRequest,
    Filter,
    FilterName,
    GetLicenseRequest,
    GetLicenseUsageRequest,
    GrantedLicense,
    GrantType,
    IssuerDetails,
    LicenseManager,
    LicenseManagerClient,
    LicenseStatus,
    ListReceivedLicensesRequest,
    NoEntitlementsAllowedException,
    RateLimitExceededException,
    ReceivedMetadata,
    ReceivedStatus,
    RedirectException,
    Unit,
)
from sidecar.marketplace.license_manager.client import MOST_PAGES

if TYPE_CHECKING:
    from tests.marketplace.conftest import Peer

ARN = "arn:aws:license-manager::294406891311:license:l-0001"
CHECKOUT = CheckoutLicenseRequest(
    product_sku="prod-1",
    checkout_type=CheckoutType.PROVISIONAL,
    key_fingerprint=MARKETPLACE_FINGERPRINT,
    entitlements=(EntitlementData(name="users", unit=Unit.COUNT, value="2"),),
    client_token="client-token",
)
EXTEND = ExtendLicenseConsumptionRequest(license_consumption_token="secret-token")
CHECK_IN = CheckInLicenseRequest(license_consumption_token="secret-token")
LIST = ListReceivedLicensesRequest(
    filters=(Filter(name=FilterName.PRODUCT_SKU, values=("prod-1",)),), license_arns=(ARN,), max_results=100
)
HELD: dict[str, Any] = {
    "CheckoutType": "PROVISIONAL",
    "LicenseConsumptionToken": "secret-token",
    "EntitlementsAllowed": [{"Name": "users", "Unit": "Count", "Value": "2"}],
    "SignedToken": "secret-signature",
    "IssuedAt": "2026-11-23T10:00:00Z",
    "Expiration": "2026-11-23T12:00:00.500+01:00",
    "LicenseArn": ARN,
}
LICENSE: dict[str, Any] = {
    "LicenseArn": ARN,
    "LicenseName": "name",
    "ProductSKU": "prod-1",
    "Issuer": {"Name": "AWS/Marketplace", "KeyFingerprint": MARKETPLACE_FINGERPRINT},
    "HomeRegion": "us-east-1",
    "Status": "AVAILABLE",
    "Validity": {"Begin": "2026-01-01T00:00:00Z", "End": "2027-01-01T00:00:00Z"},
    "Entitlements": [
        {"Name": "users", "Unit": "Count", "MaxCount": 5, "Overage": False, "AllowCheckIn": True},
        {"Name": "AWS::Marketplace::Usage", "Unit": "None", "Value": "Enabled"},
    ],
    "CreateTime": "1767225600",
    "ReceivedMetadata": {
        "ReceivedStatus": "ACTIVE",
        "AllowedOperations": ["CheckoutLicense"],
        "GrantType": "BuyerGrant",
    },
}
HOLLOW = ["", "null", "[]", "{}", '"text"', "{", "<html></html>", "\x00", '{"__type": 5}', "{}garbage"]


class Clock:
    """A clock that steps to where it is slept to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 10, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    async def sleep_until(self, instant: datetime) -> None:
        self.time = max(self.time, instant)


def sent(peer: "Peer") -> list[tuple[str, Any]]:
    """Return the operation and the members of each request."""
    return [
        (request.headers["X-Amz-Target"].removeprefix("AWSLicenseManager."), json.loads(body))
        for request, body in zip(peer.requests, peer.bodies, strict=True)
    ]


def test_client_is_the_protocol() -> None:
    """The client can stand wherever the protocol is asked for."""
    service: LicenseManager = LicenseManagerClient(Endpoint.live({"AWS_REGION": "eu-west-1"}))
    assert callable(service.checkout_license)


async def test_checkout_sends_the_frozen_request(peer: "Peer", manager: LicenseManagerClient) -> None:
    """CheckoutLicense sends every member as it was made, each time, and returns what AWS allowed."""
    peer.answers = [peer.fails("RateLimitExceededException"), peer.says(HELD)]
    request = replace(CHECKOUT, beneficiary="111122223333", node_id="node")
    with pytest.raises(RateLimitExceededException):
        await manager.checkout_license(request)
    response = await manager.checkout_license(request)
    expected = {
        "ProductSKU": "prod-1",
        "CheckoutType": "PROVISIONAL",
        "KeyFingerprint": MARKETPLACE_FINGERPRINT,
        "Entitlements": [{"Name": "users", "Unit": "Count", "Value": "2"}],
        "ClientToken": "client-token",
        "Beneficiary": "111122223333",
        "NodeId": "node",
    }
    assert [("CheckoutLicense", expected)] * 2 == sent(peer)
    assert (CheckoutType.PROVISIONAL, "secret-token", ARN, "request-1") == (
        response.checkout_type,
        response.license_consumption_token,
        response.license_arn,
        response.request_id,
    )
    assert response.entitlements_allowed == CHECKOUT.entitlements
    assert datetime(2026, 11, 23, 11, 0, 0, 500_000, tzinfo=UTC) == response.expiration
    assert "secret" not in f"{response!r} {EXTEND!r} {CHECK_IN!r}"


async def test_perpetual_checkout_needs_no_token(peer: "Peer", manager: LicenseManagerClient) -> None:
    """What is drawn down is never extended or returned, so a token is not asked for."""
    peer.answers = [peer.says({"EntitlementsAllowed": HELD["EntitlementsAllowed"]})]
    response = await manager.checkout_license(replace(CHECKOUT, checkout_type=CheckoutType.PERPETUAL))
    assert response.license_consumption_token is None


async def test_check_in_returns(peer: "Peer", manager: LicenseManagerClient) -> None:
    """CheckInLicense sends the token; an empty answer of AWS is the success."""
    peer.answers = [peer.says({})]
    response = await manager.check_in_license(replace(CHECK_IN, beneficiary="b"))
    assert [("CheckInLicense", {"LicenseConsumptionToken": "secret-token", "Beneficiary": "b"})] == sent(peer)
    assert "request-1" == response.request_id


async def test_extend_returns_the_new_token(peer: "Peer", manager: LicenseManagerClient) -> None:
    """The token of an extension may be another one."""
    peer.answers = [peer.says({"LicenseConsumptionToken": "other-token", "Expiration": "2026-11-23T11:00:00Z"})]
    response = await manager.extend_license_consumption(EXTEND)
    assert ("other-token", datetime(2026, 11, 23, 11, tzinfo=UTC)) == (
        response.license_consumption_token,
        response.expiration,
    )


@pytest.mark.parametrize(("body", "status"), [({"__type": "DryRunOperation"}, 400), ({}, 200)])
async def test_dry_run_extends_nothing(peer: "Peer", manager: LicenseManagerClient, body: object, status: int) -> None:
    """A dry run has succeeded when AWS says so by either answer, and returns no token."""
    peer.answers = [peer.says(body, status)]
    response = await manager.extend_license_consumption(replace(EXTEND, dry_run=True))
    assert response.license_consumption_token is None
    assert sent(peer)[0][1]["DryRun"] is True


async def test_dry_run_answer_needs_a_dry_run(peer: "Peer", manager: LicenseManagerClient) -> None:
    """DryRunOperation in answer to a real request is no success."""
    peer.answers = [peer.fails("DryRunOperation")]
    with pytest.raises(UnknownAnswer):
        await manager.extend_license_consumption(EXTEND)


async def test_license_is_read_whole(peer: "Peer", manager: LicenseManagerClient) -> None:
    """A received license keeps every member; its creation time comes as seconds since 1970 in text."""
    peer.answers = [peer.says({"Licenses": [LICENSE]})]
    (license_,) = (await manager.list_received_licenses(LIST)).licenses
    expected = GrantedLicense(
        license_arn=ARN,
        license_name="name",
        product_sku="prod-1",
        issuer=IssuerDetails(name="AWS/Marketplace", key_fingerprint=MARKETPLACE_FINGERPRINT),
        home_region="us-east-1",
        status=LicenseStatus.AVAILABLE,
        validity=DatetimeRange(begin=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2027, 1, 1, tzinfo=UTC)),
        entitlements=(
            Entitlement(name="users", unit=Unit.COUNT, max_count=5, overage=False, allow_check_in=True),
            Entitlement(name="AWS::Marketplace::Usage", unit=Unit.NONE, value="Enabled"),
        ),
        create_time=datetime(2026, 1, 1, tzinfo=UTC),
        received_metadata=license_.received_metadata,
    )
    assert expected == license_
    received = license_.received_metadata
    assert isinstance(received, ReceivedMetadata)
    assert (ReceivedStatus.ACTIVE, GrantType.BUYER_GRANT, ("CheckoutLicense",)) == (
        received.received_status,
        received.grant_type,
        received.allowed_operations,
    )
    assert [
        (
            "ListReceivedLicenses",
            {
                "LicenseArns": [ARN],
                "Filters": [{"Name": "ProductSKU", "Values": ["prod-1"]}],
                "MaxResults": 100,
            },
        )
    ] == sent(peer)


async def test_list_reads_all_pages(peer: "Peer", manager: LicenseManagerClient) -> None:
    """All pages are one list, in their order and without repeats."""
    other = {**LICENSE, "LicenseArn": f"{ARN}-b"}
    peer.answers = [
        peer.says({"Licenses": [LICENSE], "NextToken": "second"}),
        peer.says({"Licenses": [], "NextToken": "third"}),
        peer.says({"Licenses": [LICENSE, other]}),
    ]
    response = await manager.list_received_licenses(ListReceivedLicensesRequest())
    assert [ARN, f"{ARN}-b"] == [each.license_arn for each in response.licenses]
    assert [None, "second", "third"] == [members.get("NextToken") for _, members in sent(peer)]


async def test_one_lost_page_loses_the_list(peer: "Peer", manager: LicenseManagerClient) -> None:
    """A part of the list is never taken for the list, also when a page fails for as long as it is repeated."""
    peer.answers = [peer.says({"Licenses": [], "NextToken": "second"}), peer.drops]
    with pytest.raises(NoAnswer):
        await manager.list_received_licenses(ListReceivedLicensesRequest())
    assert [None, *["second"] * 4] == [members.get("NextToken") for _, members in sent(peer)]


async def test_throttled_page_is_asked_again(peer: "Peer", manager: LicenseManagerClient) -> None:
    """A throttled page does not begin the list anew; the first page is one attempt."""
    peer.answers = [
        peer.says({"Licenses": [LICENSE], "NextToken": "second"}),
        peer.fails("RateLimitExceededException"),
        peer.says({"Licenses": []}),
    ]
    assert 1 == len((await manager.list_received_licenses(ListReceivedLicensesRequest())).licenses)
    assert [None, "second", "second"] == [members.get("NextToken") for _, members in sent(peer)]
    peer.answers = [peer.fails("RateLimitExceededException")]
    with pytest.raises(RateLimitExceededException):
        await manager.list_received_licenses(ListReceivedLicensesRequest())
    assert 4 == len(peer.requests)


async def test_endless_pages_end(peer: "Peer", manager: LicenseManagerClient) -> None:
    """A list whose pages go round is no answer."""
    peer.answers = [peer.says({"Licenses": [], "NextToken": "again"})]
    with pytest.raises(UnknownAnswer, match="1000 pages"):
        await manager.list_received_licenses(ListReceivedLicensesRequest())
    assert MOST_PAGES == len(peer.requests)


async def test_unknown_values_stay_text(peer: "Peer", manager: LicenseManagerClient) -> None:
    """A status, unit or grant that AWS adds later is kept as text, and equals none that is known."""
    new = {
        **LICENSE,
        "Status": "HIBERNATING",
        "Entitlements": [{"Name": "users", "Unit": "Seats"}],
        "ReceivedMetadata": {"GrantType": "NewGrant"},
        "NewMember": {"deep": [1]},
    }
    peer.answers = [peer.says({"Licenses": [new]})]
    (license_,) = (await manager.list_received_licenses(LIST)).licenses
    assert ("HIBERNATING", "Seats") == (license_.status, license_.entitlements[0].unit)
    assert license_.status not in list(LicenseStatus)


async def test_get_license_and_its_usage(peer: "Peer", manager: LicenseManagerClient) -> None:
    """GetLicense and GetLicenseUsage ask by the license's ARN."""
    usage = {"Name": "users", "ConsumedValue": "3", "MaxCount": "5", "Unit": "Count"}
    peer.answers = [peer.says({"License": LICENSE}), peer.says({"LicenseUsage": {"EntitlementUsages": [usage]}})]
    license_ = (await manager.get_license(GetLicenseRequest(license_arn=ARN, version="2"))).license
    used = (await manager.get_license_usage(GetLicenseUsageRequest(license_arn=ARN))).license_usage
    assert ARN == license_.license_arn
    assert (EntitlementUsage(name="users", consumed_value="3", max_count="5", unit=Unit.COUNT),) == (
        used.entitlement_usages
    )
    assert [("GetLicense", {"LicenseArn": ARN, "Version": "2"}), ("GetLicenseUsage", {"LicenseArn": ARN})] == sent(peer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1767225600", datetime(2026, 1, 1, tzinfo=UTC)),
        ("1767225600.5", datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("1767225600123", None),
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
    ],
)
async def test_creation_is_read_in_any_form(
    peer: "Peer", manager: LicenseManagerClient, text: str, expected: datetime | None
) -> None:
    """A creation time that cannot be read does not cost the license."""
    peer.answers = [peer.says({"License": {**LICENSE, "CreateTime": text}})]
    assert expected == (await manager.get_license(GetLicenseRequest(license_arn=ARN))).license.create_time


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("9999-12-31T23:59:59-01:00", datetime.max.replace(tzinfo=UTC)),
        ("12026-01-01T00:00:00Z", datetime.max.replace(tzinfo=UTC)),
        ("-0044-03-15T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
        ("0000-01-01T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
        ("0001-01-01T00:00:00+05:00", datetime.min.replace(tzinfo=UTC)),
        ("2027-01-01T05:30:00.123456789+05:30", datetime(2027, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)),
    ],
)
async def test_validity_outside_the_calendar_is_its_edge(
    peer: "Peer", manager: LicenseManagerClient, end: str, expected: datetime
) -> None:
    """The model allows years that Python has not; such a license is valid without end, or never was."""
    validity = {"Begin": "2026-01-01T00:00:00Z", "End": end}
    peer.answers = [peer.says({"License": {**LICENSE, "Validity": validity}})]
    read = (await manager.get_license(GetLicenseRequest(license_arn=ARN))).license.validity
    assert isinstance(read, DatetimeRange)
    assert expected == read.end


@pytest.mark.parametrize(
    "body",
    [
        *HOLLOW,
        *(
            json.dumps({name: value for name, value in HELD.items() if name != gone})
            for gone in ("LicenseConsumptionToken", "EntitlementsAllowed")
        ),
        json.dumps({**HELD, "LicenseConsumptionToken": ""}),
        json.dumps({**HELD, "Expiration": "soon"}),
        json.dumps({**HELD, "Expiration": "2026-13-01T00:00:00Z"}),
        json.dumps({**HELD, "EntitlementsAllowed": []}),
        json.dumps({**HELD, "EntitlementsAllowed": [{"Name": "users"}]}),
        json.dumps({**HELD, "EntitlementsAllowed": "users"}),
    ],
)
async def test_hollow_checkout_is_none(peer: "Peer", manager: LicenseManagerClient, body: str) -> None:
    """A 200 that holds no checkout is no success, and the seats may have been taken."""
    peer.answers = [peer.says(body)]
    with pytest.raises(UnknownAnswer) as caught:
        await manager.checkout_license(CHECKOUT)
    assert Taken.UNKNOWN is caught.value.taken


@pytest.mark.parametrize(
    "body",
    [
        *HOLLOW,
        '{"Licenses": null}',
        '{"Licenses": [{"Status": "AVAILABLE"}]}',
        json.dumps({"Licenses": [{**LICENSE, "Validity": {"End": "2027-01-01T00:00:00Z"}}]}),
        json.dumps({"Licenses": [{**LICENSE, "Validity": {"Begin": "2027-01-01"}}]}),
        json.dumps({"Licenses": [{**LICENSE, "Status": 5}]}),
        json.dumps({"Licenses": [{**LICENSE, "Entitlements": [{"Name": "u", "Unit": "Count", "MaxCount": "many"}]}]}),
        json.dumps({"Licenses": [LICENSE, "license"]}),
    ],
)
async def test_garbled_list_is_none(peer: "Peer", manager: LicenseManagerClient, body: str) -> None:
    """A list that cannot be read is never an empty list, which would close a gate."""
    peer.answers = [peer.says(body)]
    with pytest.raises(UnknownAnswer):
        await manager.list_received_licenses(ListReceivedLicensesRequest())


async def test_empty_list_is_an_answer(peer: "Peer", manager: LicenseManagerClient) -> None:
    """An account without licenses is told by an empty list."""
    peer.answers = [peer.says({"Licenses": []})]
    assert () == (await manager.list_received_licenses(ListReceivedLicensesRequest())).licenses


async def test_foreign_answer_returns_nothing(peer: "Peer", manager: LicenseManagerClient) -> None:
    """A page of a proxy is no success, though AWS's own answer to CheckInLicense is as empty."""
    peer.answers = [lambda _: web.Response(text="<html>", content_type="text/html")]
    with pytest.raises(UnknownAnswer):
        await manager.check_in_license(CHECK_IN)
    with pytest.raises(UnknownAnswer):
        await manager.list_received_licenses(LIST)


@pytest.mark.parametrize(
    ("location", "region"),
    [
        ("us-east-1", "us-east-1"),
        ("license-manager.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("https://license-manager.ap-northeast-2.amazonaws.com/", "ap-northeast-2"),
        ("https://evil.example/", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
async def test_redirect_names_a_region(
    peer: "Peer", manager: LicenseManagerClient, location: object, region: str | None
) -> None:
    """Of a redirect only the Region is kept, and it is not followed."""
    peer.answers = [peer.says({"__type": "RedirectException", "Message": "Wrong Region", "Location": location}, 400)]
    with pytest.raises(RedirectException) as caught:
        await manager.checkout_license(CHECKOUT)
    error = caught.value
    assert (region, Taken.NO, "Wrong Region") == (error.location, error.taken, error.message)
    assert 1 == len(peer.requests)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert region == twin.location


async def test_messages_lose_the_token(peer: "Peer", manager: LicenseManagerClient) -> None:
    """AWS's words may repeat the consumption token; the error does not."""
    peer.answers = [peer.says({"__type": "ResourceNotFoundException", "Message": "no secret-token here"}, 400)]
    with pytest.raises(Exception, match="no <LicenseConsumptionToken> here") as caught:
        await manager.extend_license_consumption(EXTEND)
    assert "secret" not in repr(caught.value)


async def test_cure_names_missing_permission(peer: "Peer", manager: LicenseManagerClient) -> None:
    """The permissions of a container product are named together, another one by itself."""
    peer.answers = [peer.fails("AccessDeniedException")]
    with pytest.raises(AccessDenied, match="AccessDenied") as caught:
        await manager.check_in_license(CHECK_IN)
    assert "license-manager:CheckoutLicense, CheckInLicense" in caught.value.cure
    with pytest.raises(AccessDenied, match="AccessDenied") as caught:
        await manager.get_license_usage(GetLicenseUsageRequest(license_arn=ARN))
    assert "Allow license-manager:GetLicenseUsage on resource" in caught.value.cure


async def test_invalid_request_is_not_sent(peer: "Peer", manager: LicenseManagerClient) -> None:
    """A request that breaks the model's bounds costs no call."""
    with pytest.raises(InvalidRequest, match="ClientToken"):
        await manager.checkout_license(replace(CHECKOUT, client_token="with space"))
    with pytest.raises(InvalidRequest, match="MaxResults"):
        await manager.list_received_licenses(ListReceivedLicensesRequest(max_results=0))
    assert [] == peer.requests


async def test_one_layer_retries(peer: "Peer", manager: LicenseManagerClient) -> None:
    """A call is one attempt; `call` repeats the same request and remembers that a lost one may have been taken."""
    peer.answers = [peer.drops, peer.fails("RateLimitExceededException"), peer.fails("NoEntitlementsAllowedException")]
    clock = Clock()
    with pytest.raises(NoEntitlementsAllowedException) as caught:
        await call(
            lambda: manager.checkout_license(CHECKOUT),
            deadline=clock.now() + timedelta(minutes=10),
            clock=clock,
            back_off=BackOff(random=lambda: 0.5),
        )
    assert Taken.UNKNOWN is caught.value.taken
    assert 3 == len(peer.requests)
    assert 1 == len(set(peer.bodies))


async def test_lost_answer_is_told_from_an_unsent_call(peer: "Peer", manager: LicenseManagerClient) -> None:
    """A request whose first byte left may have been taken; one that found no listener was not."""
    peer.answers = [peer.drops]
    with pytest.raises(NoAnswer) as lost:
        await manager.checkout_license(CHECKOUT)
    assert Taken.UNKNOWN is lost.value.taken
    async with LicenseManagerClient(Endpoint.emulated("http://127.0.0.1:1", {})) as nowhere:
        with pytest.raises(NotSent) as unsent:
            await nowhere.checkout_license(CHECKOUT)
    assert Taken.NO is unsent.value.taken


async def test_call_is_signed_for_the_service(peer: "Peer", manager: LicenseManagerClient) -> None:
    """The signature's scope is License Manager in the endpoint's Region, in the JSON 1.1 protocol."""
    peer.answers = [peer.says({"Licenses": []})]
    await manager.list_received_licenses(ListReceivedLicensesRequest())
    (request,) = peer.requests
    assert "/us-east-1/license-manager/aws4_request" in request.headers["Authorization"]
    assert "application/x-amz-json-1.1" == request.content_type
