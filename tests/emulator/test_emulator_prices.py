"""The price of the product decides which operation it takes; the first call, which hours."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from sidecar.emulator.state.seed import Seed, make_seed

if TYPE_CHECKING:
    from tests.emulator.conftest import Connect, Start

NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
WRONG = "InvalidProductCodeException"


def code(call: Any, **members: object) -> str | None:
    """Return the code of the refusal, None when the call is taken."""
    try:
        call(**members)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


def meter(client: Any, timestamp: datetime = NOW, **members: object) -> str | None:
    """Report usage."""
    return code(client.meter_usage, ProductCode="p", Timestamp=timestamp, UsageDimension="d", **members)


PRICES = [
    (None, (None, None)),
    ("hourly", (None, WRONG)),
    ("custom", (WRONG, None)),
    ("contract", (WRONG, None)),
]


@pytest.mark.parametrize(("pricing", "expected"), PRICES)
def test_wrong_operation_is_refused(
    start: "Start", connect: "Connect", pricing: str | None, expected: tuple[str | None, str | None]
) -> None:
    """An operation that does not belong to the price is InvalidProductCode; a contract takes usage beyond it."""
    emulator = start(seed=make_seed({"product": {"pricing": pricing}}))
    emulator.freeze("2026-11-23T10:20:00Z")
    client = connect(emulator)

    found = code(client.register_usage, ProductCode="p", PublicKeyVersion=1), meter(client, UsageQuantityAsDecimal="1")
    assert expected == found
    assert "DryRunOperation" == meter(client, DryRun=True)


def test_any_operation_is_taken(start: "Start", connect: "Connect") -> None:
    """Told so, the emulator takes every operation for each price."""
    emulator = start(seed=Seed(pricing="custom"), any_operation=True)

    assert code(connect(emulator).register_usage, ProductCode="p", PublicKeyVersion=1) is None
    assert emulator.get("state")["pricing"] is None


def test_real_usage_is_judged_dry_runs_are_not(start: "Start", connect: "Connect") -> None:
    """Without a subscription a dry run is taken, and every real record refused, until the account subscribes."""
    emulator = start(seed=make_seed({"product": {"pricing": "custom"}, "customers": [{"entitled": False}]}))
    emulator.freeze("2026-11-23T10:20:00Z")
    client = connect(emulator)
    found = [meter(client, DryRun=True), meter(client), meter(client)]
    emulator.post("customers", action="entitle")
    found.append(meter(client))
    emulator.post("customers", action="unsubscribe")
    found.append(meter(client, NOW - timedelta(hours=1)))

    refused = "CustomerNotEntitledException"
    assert ["DryRunOperation", refused, refused, None, refused] == found


def test_hours_before_first_call_are_refused(start: "Start", connect: "Connect", tmp_path: Any) -> None:
    """Switched on, hours before the pod's first call are out of bounds, for each pod by itself and after a restart."""
    options: dict[str, Any] = {"from_first_call": True, "state_file": tmp_path / "state"}
    emulator = start(**options)
    emulator.freeze("2026-11-23T10:20:00Z")
    found = [meter(connect(emulator), NOW - timedelta(hours=1)), meter(connect(emulator))]
    emulator.post("clock", now="2026-11-23T11:10:00Z", speed=0)
    emulator.stop()
    emulator = start(**options)
    found.append(meter(connect(emulator), NOW + timedelta(minutes=30)))
    found.append(meter(connect(emulator, key="AKIAPODTWO"), NOW + timedelta(minutes=30)))

    outside = "TimestampOutOfBoundsException"
    assert [outside, None, None, outside] == found


def test_earlier_hours_are_taken_as_ever(start: "Start", connect: "Connect") -> None:
    """Without the switch a pod may report hours before its first call."""
    emulator = start()
    emulator.freeze("2026-11-23T10:20:00Z")

    assert meter(connect(emulator), NOW - timedelta(hours=1)) is None
