"""The client of License Manager against the emulator of it, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from sidecar.emulator.server import serve
from sidecar.emulator.service import Options
from sidecar.emulator.state.seed import make_seed
from sidecar.marketplace import Endpoint, NoAnswer, Taken, UnknownAnswer
from sidecar.marketplace.license_manager import (
    MARKETPLACE_FINGERPRINT,
    CheckInLicenseRequest,
    CheckoutLicenseRequest,
    CheckoutType,
    EntitlementData,
    ExtendLicenseConsumptionRequest,
    GetLicenseRequest,
    GetLicenseUsageRequest,
    GrantType,
    InvalidParameterValueException,
    LicenseManagerClient,
    LicenseStatus,
    ListReceivedLicensesRequest,
    NoEntitlementsAllowedException,
    RateLimitExceededException,
    ReceivedStatus,
    RedirectException,
    ResourceNotFoundException,
    ServerInternalException,
    Unit,
)
from sidecar.marketplace.service_clock import ServiceClock

SEED = make_seed(
    {
        "product": {"id": "prod-1"},
        "licenses": [
            {
                "entitlements": [
                    {"Name": "users", "Unit": "Count", "MaxCount": 2, "Overage": False, "AllowCheckIn": True},
                    {"Name": "AWS::Marketplace::Usage", "Unit": "None"},
                ],
                "begin": "2026-01-01T00:00:00Z",
                "end": "2999-01-01T00:00:00Z",
                "home_region": "us-east-1",
            }
        ],
    }
)
CHECKOUT = CheckoutLicenseRequest(
    product_sku="prod-1",
    checkout_type=CheckoutType.PROVISIONAL,
    key_fingerprint=MARKETPLACE_FINGERPRINT,
    entitlements=(EntitlementData(name="users", unit=Unit.COUNT, value="2"),),
    client_token="t-1",
)
Control = Callable[[str, Any], Awaitable[None]]


@asynccontextmanager
async def emulated(region: str | None = None, **options: Any) -> AsyncIterator[tuple[LicenseManagerClient, Control]]:
    """Give a client of an emulator that has one license, and the emulator's control."""
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    server = asyncio.create_task(serve(Options(port=0, seed=SEED, **options), announce=url.set_result, stop=stop))
    watched = ServiceClock(lambda: datetime.now(UTC))
    try:
        address = await url
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            LicenseManagerClient(Endpoint.emulated(address, {}, region), watched) as client,
        ):

            async def control(path: str, members: Any) -> None:
                async with session.post(f"{address}/_emulator/{path}", json=members):
                    pass

            yield client, control
    finally:
        stop.set()
        await server


async def test_seat_is_held_extended_and_returned() -> None:
    """All six operations work together as a product uses them."""
    async with emulated() as (client, control):
        (license_,) = (await client.list_received_licenses(ListReceivedLicensesRequest(max_results=1))).licenses
        received = license_.received_metadata
        assert received is not None
        assert (LicenseStatus.AVAILABLE, ReceivedStatus.ACTIVE, GrantType.BUYER_GRANT) == (
            license_.status,
            received.received_status,
            received.grant_type,
        )
        held = await client.checkout_license(CHECKOUT)
        token = held.license_consumption_token
        assert token is not None
        assert (CHECKOUT.entitlements, license_.license_arn) == (held.entitlements_allowed, held.license_arn)
        assert held.issued_at is not None
        assert held.issued_at + timedelta(hours=1) == held.expiration
        usage = await client.get_license_usage(GetLicenseUsageRequest(license_arn=license_.license_arn))
        assert [("users", "2", "2"), ("AWS::Marketplace::Usage", "0", None)] == [
            (each.name, each.consumed_value, each.max_count) for each in usage.license_usage.entitlement_usages
        ]
        await control("clock", {"advance": "30m"})
        extended = await client.extend_license_consumption(
            ExtendLicenseConsumptionRequest(license_consumption_token=token)
        )
        assert token == extended.license_consumption_token
        assert extended.expiration is not None
        assert extended.expiration > held.expiration
        await client.check_in_license(CheckInLicenseRequest(license_consumption_token=token))
        with pytest.raises(ResourceNotFoundException):
            await client.check_in_license(CheckInLicenseRequest(license_consumption_token=token))
        same = (await client.get_license(GetLicenseRequest(license_arn=license_.license_arn))).license
        assert license_.entitlements == same.entitlements
        assert client.service_clock is not None
        assert client.service_clock.skew is not None


async def test_lost_checkout_is_repeated() -> None:
    """After a lost answer the same request finds the seat that it has taken; another one does not get it."""
    async with emulated() as (client, control):
        await control("faults", {"operation": "CheckoutLicense", "fault": "drop-response"})
        with pytest.raises(NoAnswer) as lost:
            await client.checkout_license(CHECKOUT)
        assert Taken.UNKNOWN is lost.value.taken
        other = replace(CHECKOUT, client_token="t-2")
        with pytest.raises(NoEntitlementsAllowedException):
            await client.checkout_license(other)
        assert (await client.checkout_license(CHECKOUT)).license_consumption_token
        changed = replace(CHECKOUT, node_id="node")
        with pytest.raises(InvalidParameterValueException):
            await client.checkout_license(changed)


@pytest.mark.parametrize(
    ("fault", "expected", "taken"),
    [
        ("throttle", RateLimitExceededException, Taken.NO),
        ("internal", ServerInternalException, Taken.UNKNOWN),
        ("internal-taken", ServerInternalException, Taken.UNKNOWN),
        ("no-token", UnknownAnswer, Taken.UNKNOWN),
        ("garbage", UnknownAnswer, Taken.UNKNOWN),
        ("disconnect", NoAnswer, Taken.UNKNOWN),
    ],
)
async def test_faults_are_what_they_are(fault: str, expected: type[Exception], taken: Taken) -> None:
    """Each fault of the emulator arrives as its kind, with what it proves."""
    async with emulated() as (client, control):
        await control("faults", {"operation": "CheckoutLicense", "fault": fault})
        with pytest.raises(expected) as raised:
            await client.checkout_license(CHECKOUT)
        assert taken is getattr(raised.value, "taken", None)


async def test_redirect_leads_home() -> None:
    """The error of a redirect has the Region in which the same request succeeds."""
    async with emulated("eu-west-1", license_region="home") as (client, _):
        with pytest.raises(RedirectException) as redirected:
            await client.checkout_license(CHECKOUT)
        assert "us-east-1" == redirected.value.location
        home = Endpoint.emulated(client.endpoint.endpoint_url or "", {}, redirected.value.location)
        async with LicenseManagerClient(home) as there:
            assert (await there.checkout_license(CHECKOUT)).license_arn
