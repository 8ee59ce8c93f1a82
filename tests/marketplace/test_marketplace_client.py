"""The client against a peer on a real socket."""

import asyncio
import pickle
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.marketplace import (
    AccessDenied,
    BatchMeterUsageRequest,
    ClientClosed,
    Endpoint,
    InvalidRequest,
    MarketplaceMetering,
    MarketplaceMeteringClient,
    MeterUsageRequest,
    MeterUsageResult,
    RegisterUsageRequest,
    RequestFault,
    ResolveCustomerRequest,
    Tag,
    Taken,
    ThrottlingException,
    UnknownAnswer,
    UsageAllocation,
    UsageRecord,
    UsageRecordResultStatus,
    service_client,
)
from sidecar.marketplace.passage import never_left
from sidecar.marketplace.validation import faults
from sidecar.services.submitter import MAX_CONCURRENT

if TYPE_CHECKING:
    from tests.marketplace.conftest import Peer
from tests.marketplace.watching import Watched

HOUR = datetime(2026, 11, 23, 10, tzinfo=UTC)
EPOCH = HOUR.timestamp()
REGISTER = RegisterUsageRequest(product_code="code", public_key_version=1, nonce="secret  nonce")
USAGE = MeterUsageRequest(
    product_code="code", timestamp=HOUR, usage_dimension="requests", usage_quantity_as_decimal="1.50"
)
RESOLVE = ResolveCustomerRequest(registration_token="secret-token")
RECORD = UsageRecord(timestamp=HOUR, dimension="requests", quantity=1, customer_identifier="buyer")


def test_client_is_the_protocol() -> None:
    """The client can stand wherever the protocol is asked for."""
    service: MarketplaceMetering = MarketplaceMeteringClient(Endpoint.live({"AWS_REGION": "eu-west-1"}))
    assert callable(service.meter_usage)


async def test_register_usage_returns_the_signature(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """RegisterUsage sends what was asked and returns the signature, the rotation date and the request id."""
    peer.answers = [peer.says({"Signature": "a.b.c", "PublicKeyRotationTimestamp": EPOCH})]
    result = await client.register_usage(REGISTER)
    expected = {"ProductCode": "code", "PublicKeyVersion": 1, "Nonce": "secret  nonce"}
    assert [("RegisterUsage", expected)] == peer.sent()
    assert ("a.b.c", HOUR, "request-1") == (
        result.signature,
        result.public_key_rotation_timestamp,
        result.request_id,
    )
    assert "a.b.c" not in repr(result)
    assert "secret" not in repr(REGISTER)


async def test_meter_usage_sends_the_frozen_request(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """MeterUsage sends every member as it was made, and the same client token each time the object is sent."""
    peer.answers = [peer.fails("ThrottlingException"), peer.says({"MeteringRecordId": "record-1"})]
    allocations = (UsageAllocation(allocated_usage_quantity_as_decimal="1.5", tags=(Tag("Team", "IT"),)),)
    request = replace(USAGE, usage_allocations=allocations)
    with pytest.raises(ThrottlingException):
        await client.meter_usage(request)
    result = await client.meter_usage(request)
    expected = {
        "ProductCode": "code",
        "Timestamp": EPOCH,
        "UsageDimension": "requests",
        "UsageQuantityAsDecimal": "1.50",
        "UsageAllocations": [{"AllocatedUsageQuantityAsDecimal": "1.5", "Tags": [{"Key": "Team", "Value": "IT"}]}],
        "ClientToken": request.client_token,
    }
    assert [("MeterUsage", expected)] * 2 == peer.sent()
    assert ("record-1", "request-1") == (result.metering_record_id, result.request_id)


def test_each_request_has_its_own_token() -> None:
    """Two requests never share a client token; a copy of one keeps it."""
    other = MeterUsageRequest(product_code="code", timestamp=HOUR, usage_dimension="requests")
    assert other.client_token != USAGE.client_token
    assert replace(USAGE).client_token == USAGE.client_token


@pytest.mark.parametrize(
    ("body", "status"), [({"__type": "DryRunOperation"}, 400), ({}, 200), ({"MeteringRecordId": "record-1"}, 200)]
)
async def test_dry_run_succeeds(peer: "Peer", client: MarketplaceMeteringClient, body: object, status: int) -> None:
    """A dry run has succeeded when AWS says DryRunOperation, and when it plainly succeeds; no record is named."""
    peer.answers = [peer.says(body, status)]
    result = await client.meter_usage(replace(USAGE, dry_run=True))
    assert (None, "request-1") == (result.metering_record_id, result.request_id)
    assert peer.sent()[0][1]["DryRun"] is True


async def test_dry_run_tells_missing_permission(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """A dry run without the permission is access denied."""
    peer.answers = [peer.fails("UnauthorizedException")]
    with pytest.raises(AccessDenied):
        await client.meter_usage(replace(USAGE, dry_run=True))


@pytest.mark.parametrize(
    ("call", "permission"),
    [
        (lambda client: client.register_usage(REGISTER), "aws-marketplace:RegisterUsage"),
        (lambda client: client.meter_usage(USAGE), "aws-marketplace:MeterUsage"),
        (
            lambda client: client.batch_meter_usage(BatchMeterUsageRequest(usage_records=(RECORD,), product_code="c")),
            "aws-marketplace:BatchMeterUsage",
        ),
        (lambda client: client.resolve_customer(RESOLVE), "aws-marketplace:ResolveCustomer"),
    ],
)
async def test_cure_names_missing_permission(
    peer: "Peer",
    client: MarketplaceMeteringClient,
    call: Callable[[MarketplaceMeteringClient], Awaitable[object]],
    permission: str,
) -> None:
    """The cure of a denied call names the permission of its operation, also in a copy of the error."""
    peer.answers = [peer.fails("AccessDeniedException")]
    with pytest.raises(AccessDenied) as caught:
        await call(client)
    assert permission in pickle.loads(pickle.dumps(caught.value)).cure


async def test_dry_run_answer_needs_a_dry_run(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """DryRunOperation in answer to a real request is no success."""
    peer.answers = [peer.fails("DryRunOperation")]
    with pytest.raises(UnknownAnswer):
        await client.meter_usage(USAGE)


async def test_batch_tells_each_record(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """A batch sends identical records once and returns each caller's record with its own outcome."""
    tags = (Tag("Team", "IT"),)
    first, refused, left, hollow, odd = (
        replace(
            RECORD,
            dimension=f"requests-{number}",
            quantity=number,
            usage_allocations=(UsageAllocation(allocated_usage_quantity=number, tags=tags),),
        )
        for number in (1, 2, 3, 4, 5)
    )

    def wire(quantity: int) -> dict[str, object]:
        dimension = f"requests-{quantity}"
        record = {"Timestamp": EPOCH, "CustomerIdentifier": "buyer", "Dimension": dimension, "Quantity": quantity}
        part = {"AllocatedUsageQuantity": quantity, "Tags": [{"Key": "Team", "Value": "IT"}]}
        return record | {"UsageAllocations": [part]}

    peer.answers = [
        peer.says(
            {
                "Results": [
                    {"UsageRecord": wire(2), "Status": "CustomerNotSubscribed"},
                    {"UsageRecord": wire(4), "Status": "Success"},
                    {"UsageRecord": wire(5), "Status": "Unheard"},
                    {"UsageRecord": wire(1), "Status": "Success", "MeteringRecordId": "record-1"},
                ],
                "UnprocessedRecords": [wire(3)],
            }
        )
    ]
    request = BatchMeterUsageRequest(usage_records=(first, refused, left, first, hollow, odd), product_code="code")
    result = await client.batch_meter_usage(request)
    sent = [record["Quantity"] for record in peer.sent()[0][1]["UsageRecords"]]
    assert [1, 2, 3, 4, 5] == sent
    success, not_subscribed = UsageRecordResultStatus.SUCCESS, UsageRecordResultStatus.CUSTOMER_NOT_SUBSCRIBED
    assert [(first, success, "record-1"), (refused, not_subscribed, None), (first, success, "record-1")] == [
        (each.usage_record, each.status, each.metering_record_id) for each in result.results
    ]
    assert (left, hollow, odd) == result.unprocessed_records
    assert (hollow, odd) == result.in_doubt
    assert "request-1" == result.request_id


async def test_null_settles_no_record(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """A result that is null settles nothing: the record is in doubt, and the other results count."""
    other = replace(RECORD, dimension="other")
    echo = {"Timestamp": EPOCH, "Dimension": "other", "Quantity": 1, "CustomerIdentifier": "buyer"}
    settled = {"UsageRecord": echo, "MeteringRecordId": "id", "Status": "Success"}
    peer.answers = [peer.says({"Results": [None, settled]})]
    result = await client.batch_meter_usage(BatchMeterUsageRequest(usage_records=(RECORD, other), product_code="code"))
    assert [other] == [each.usage_record for each in result.results]
    assert ((RECORD,), (RECORD,)) == (result.unprocessed_records, result.in_doubt)


async def test_resolve_customer_names_the_buyer(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """ResolveCustomer returns every member that AWS has about the buyer."""
    told = {
        "CustomerIdentifier": "buyer",
        "CustomerAWSAccountId": "123456789012",
        "ProductCode": "code",
        "LicenseArn": "arn:aws:license-manager::1:license:l-1",
        "Metadata": {"AgreementId": "agmt-1"},
    }
    peer.answers = [peer.says(told)]
    result = await client.resolve_customer(RESOLVE)
    assert [("ResolveCustomer", {"RegistrationToken": "secret-token"})] == peer.sent()
    assert result.metadata is not None
    assert list(told.values())[:4] == [
        result.customer_identifier,
        result.customer_aws_account_id,
        result.product_code,
        result.license_arn,
    ]
    assert ("agmt-1", "request-1") == (result.metadata.agreement_id, result.request_id)
    assert "secret-token" not in repr(RESOLVE)


async def test_faulty_request_is_not_sent(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """A request with faults is refused with all of them, and nothing goes out."""
    with pytest.raises(InvalidRequest, match=r"UsageDimension .*; UsageQuantityAsDecimal "):
        await client.meter_usage(replace(USAGE, usage_dimension="", usage_quantity_as_decimal="x"))
    assert [] == peer.requests


async def test_usage_is_checked_off_the_loop(
    peer: "Peer", client: MarketplaceMeteringClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of a usage request, which may have 2,500 allocations, and its members take none of the loop's time."""
    threads: list[threading.Thread] = []

    def check(request: MeterUsageRequest) -> list[RequestFault]:
        threads.append(threading.current_thread())
        return faults(request)

    monkeypatch.setattr("sidecar.marketplace.client.faults", check)
    peer.answers = [peer.says({"MeteringRecordId": "record-1"})]
    assert "record-1" == (await client.meter_usage(USAGE)).metering_record_id
    (thread,) = threads
    assert thread is not threading.main_thread()


async def test_batch_is_worked_on_off_the_loop(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """The records of a batch, each with up to 2,500 allocations, and the results take none of the loop's time."""
    zone = Watched()
    record = replace(RECORD, timestamp=RECORD.timestamp.replace(tzinfo=zone))
    peer.answers = [peer.says({"Results": []})]
    result = await client.batch_meter_usage(BatchMeterUsageRequest(usage_records=(record,), product_code="code"))
    threads = set(zone.threads)
    assert (record,) == result.unprocessed_records
    assert threads
    assert threading.main_thread() not in threads


async def test_one_request_is_checked_at_a_time(
    peer: "Peer", client: MarketplaceMeteringClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that check requests together would finish no sooner, and keep the loop waiting for each of them."""
    running: list[MeterUsageRequest] = []
    together: list[int] = []

    def check(request: MeterUsageRequest) -> list[RequestFault]:
        running.append(request)
        time.sleep(0.02)  # gives another thread its turn
        together.append(len(running))
        running.remove(request)
        return faults(request)

    monkeypatch.setattr("sidecar.marketplace.client.faults", check)
    peer.answers = [peer.says({"MeteringRecordId": "record-1"})]
    calls = [client.meter_usage(USAGE) for _ in range(client.endpoint.max_pool_connections)]
    assert {"record-1"} == {result.metering_record_id for result in await asyncio.gather(*calls)}
    assert [1] * len(calls) == together


async def test_cancelled_call_harms_nothing(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """Cancelling an await does not recall the request; the client continues working."""
    peer.silent = True
    peer.answers = [peer.says({"MeteringRecordId": "record-1"})]
    call = asyncio.create_task(client.meter_usage(USAGE))
    await peer.heard.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    peer.silent = False
    assert "record-1" == (await client.meter_usage(USAGE)).metering_record_id
    peer.released.set()
    assert [("MeterUsage", USAGE.client_token)] * 2 == [(name, body["ClientToken"]) for name, body in peer.sent()]


async def test_cut_calls_hold_up_no_other(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """A drain may cut off twice as many calls as it makes at a time; a further one does not wait for their limits."""
    peer.silent = True
    peer.answers = [peer.says({"MeteringRecordId": "record-1"})]
    calls = [asyncio.create_task(client.meter_usage(USAGE)) for _ in range(2 * MAX_CONCURRENT)]
    while len(peer.requests) < len(calls):
        peer.heard.clear()
        await peer.heard.wait()
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    peer.silent = False
    assert "record-1" == (await client.meter_usage(USAGE)).metering_record_id
    assert client.endpoint.max_pool_connections >= 3 * MAX_CONCURRENT
    peer.released.set()


async def test_calls_run_at_once(peer: "Peer", client: MarketplaceMeteringClient) -> None:
    """As many calls as there are threads run side by side; none waits for another's answer."""
    peer.silent = True
    peer.answers = [peer.says({"MeteringRecordId": "record-1"})]
    calls = [asyncio.create_task(client.meter_usage(USAGE)) for _ in range(client.endpoint.max_pool_connections)]
    while len(peer.requests) < len(calls):
        peer.heard.clear()
        await peer.heard.wait()
    peer.released.set()
    assert {"record-1"} == {result.metering_record_id for result in await asyncio.gather(*calls)}


async def test_closed_client_refuses(peer: "Peer") -> None:
    """Before open and after close nothing is sent; opening and closing twice does no harm, nor does opening again."""
    client = MarketplaceMeteringClient(Endpoint.emulated(peer.url, {}))
    with pytest.raises(RuntimeError, match="not open"):
        await client.meter_usage(USAGE)
    await client.open()
    await client.open()
    await client.close()
    await client.close()
    with pytest.raises(ClientClosed) as caught:
        await client.meter_usage(USAGE)
    assert Taken.NO is caught.value.taken
    assert [] == peer.requests
    peer.answers = [peer.says({"MeteringRecordId": "record-1"})]
    await client.open()
    assert "record-1" == (await client.meter_usage(USAGE)).metering_record_id
    await client.close()


async def test_opened_by_two_tasks(peer: "Peer", monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks that open a client together open it once, and a close waits for an open that runs."""
    pools: list[ThreadPoolExecutor] = []

    def make_pool(*arguments: Any, **options: Any) -> ThreadPoolExecutor:
        pools.append(ThreadPoolExecutor(*arguments, **options))
        return pools[-1]

    monkeypatch.setattr(service_client, "ThreadPoolExecutor", make_pool)
    client = MarketplaceMeteringClient(Endpoint.emulated(peer.url, {}))
    await asyncio.gather(client.open(), client.open(), client.close())
    assert 1 == len(pools)
    with pytest.raises(ClientClosed):
        await client.meter_usage(USAGE)


MeterUsageTask = asyncio.Task[MeterUsageResult]


async def queue(peer: "Peer") -> tuple[MarketplaceMeteringClient, MeterUsageTask, MeterUsageTask]:
    """Return a client with one thread, the call that has left on it, and one that waits for it."""
    peer.silent = True
    peer.answers = [peer.says({"MeteringRecordId": "record-1"})]
    client = MarketplaceMeteringClient(replace(Endpoint.emulated(peer.url, {}), max_pool_connections=1))
    await client.open()
    running = asyncio.create_task(client.meter_usage(USAGE))
    await peer.heard.wait()
    waiting = asyncio.create_task(client.meter_usage(USAGE))
    await asyncio.sleep(0)
    return client, running, waiting


async def test_close_refuses_waiting_calls(peer: "Peer") -> None:
    """A call that waits for a thread ends with an error at the close, and its task is not cancelled."""
    client, running, waiting = await queue(peer)
    await client.close()
    with pytest.raises(ClientClosed):
        await waiting
    peer.released.set()
    assert "record-1" == (await running).metering_record_id
    assert 1 == len(peer.requests)


async def test_cancelled_while_closing(peer: "Peer") -> None:
    """A task that is cancelled when its client closes ends as cancelled, and its call was never sent."""
    client, running, waiting = await queue(peer)
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await waiting
    assert never_left(caught.value)
    peer.released.set()
    await asyncio.gather(closing, running)


async def test_sdk_loads_off_the_loop(peer: "Peer") -> None:
    """Opening leaves the event loop's thread to others: the SDK is loaded and called on threads of the client."""
    async with MarketplaceMeteringClient(Endpoint.emulated(peer.url, {})) as client:
        peer.answers = [peer.says({"MeteringRecordId": "record-1"})]
        await client.meter_usage(USAGE)
        assert any(thread.name.startswith("marketplace") for thread in threading.enumerate())
