"""A long list in a request reaches the service as the SDK would have written it."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from hypothesis import given
from hypothesis import strategies as st

from sidecar.marketplace import Endpoint, MarketplaceError
from sidecar.marketplace.long_lists import EncodedList, encode
from sidecar.marketplace.sdk import Connection
from tests.marketplace.canned import canned

TEXT = st.text(max_size=8)
ALLOCATIONS = st.lists(
    st.fixed_dictionaries(
        {"Tags": st.lists(st.fixed_dictionaries({"Key": TEXT, "Value": TEXT}), max_size=5)},
        optional={"AllocatedUsageQuantity": st.integers(), "AllocatedUsageQuantityAsDecimal": TEXT},
    ),
    min_size=1,
    max_size=5,
)
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
Requests = list[AWSPreparedRequest]


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[Connection, Requests]]:
    """A connection that reaches nothing, and the requests that would have left, all signed at one instant."""
    left: Requests = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        left.append(request)
        return canned(b'{"MeteringRecordId": "1"}', [])(request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: NOW)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        connection = Connection(Endpoint.live({"AWS_REGION": "eu-west-1"}))
        connection.session.register("before-send.marketplace-metering", answer)
        assert connection.credentials() is not None
        yield connection, left


def request_of(allocations: object) -> dict[str, Any]:
    """Return the members of a MeterUsage request."""
    return {
        "ProductCode": "code",
        "Timestamp": NOW,
        "UsageDimension": "d",
        "ClientToken": "t",
        "UsageAllocations": allocations,
    }


@given(some=ALLOCATIONS, number=st.sampled_from([101, 200, 201]))
def test_request_is_the_sdks(service: tuple[Connection, Requests], some: list[Any], number: int) -> None:
    """Body, length and signature are those of a request that the SDK has serialized whole."""
    connection, left = service
    members = request_of((some * number)[:number])
    encoded = encode(members)
    assert isinstance(encoded["UsageAllocations"], EncodedList)
    left.clear()
    connection.send("MeterUsage", members)
    connection.send("MeterUsage", encoded)
    whole, ours = left
    assert whole.body == ours.body
    assert number == len(json.loads(ours.body)["UsageAllocations"])
    for name in ("Content-Length", "Content-Type", "Authorization", "X-Amz-Target"):
        assert whole.headers[name] == ours.headers[name]


def test_short_list_is_the_sdks() -> None:
    """A list that the SDK serializes in no time is left to it."""
    members = request_of([{"AllocatedUsageQuantity": 1}] * 100)
    assert members == encode(members)


def test_another_protocol_gets_the_list(service: tuple[Connection, Requests], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the SDK would not write JSON, it serializes the whole request."""
    connection, _ = service
    members = request_of([{"AllocatedUsageQuantity": 1}] * 101)
    built: list[dict[str, Any]] = []
    meta = connection._ready_client().meta
    meta.events.register_last("before-parameter-build", lambda params, **_: built.append(dict(params)))
    connection.send("MeterUsage", encode(members))
    monkeypatch.setitem(vars(meta.service_model), "resolved_protocol", "query")  # where the SDK keeps it
    with suppress(MarketplaceError):  # the canned answer is JSON
        connection.send("MeterUsage", encode(members))
    assert [None, members["UsageAllocations"]] == [each.get("UsageAllocations") for each in built]
