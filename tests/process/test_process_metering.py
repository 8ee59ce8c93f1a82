"""From the app's events to the records that AWS's side holds, over sockets."""

import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.timestamps import parse, render

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Site

pytestmark = pytest.mark.process

HOUR = "2026-11-23T10:00:00Z"


def test_usage_becomes_record(site: "Site", emulator: "Emulator") -> None:
    """An hour's events are one record on AWS's side, equal in quantity, client token and id; nothing goes before."""
    site.changes = {"metering": {"dimensions": [{"name": "requests"}, {"name": "gigabytes"}]}}
    sidecar = site.start_entitled()
    events = [{"dimension": "requests", "quantity": quantity} for quantity in ("1.5", "2", "0.000001")]
    assert (3, 0) == sidecar.report(*events)
    assert (1, 0) == sidecar.report({"dimension": "requests", "tags": {"Team": "IT"}})
    assert ["1", "3.500001"] == sorted(bucket["quantity"] for bucket in sidecar.get("/v1/usage")["buckets"])
    assert {"accepted": "4.500001", "open": "4.500001"} == sidecar.terms()
    assert [] == emulator.calls("MeterUsage")
    site.advance(sidecar, "1h")
    records = {record["dimension"]: record for record in sidecar.await_records(2)}
    held = {record["UsageDimension"]: record for record in emulator.get("records")["records"]}
    assert {(HOUR, "requests"): "4.500001", (HOUR, "gigabytes"): "0"} == emulator.held()
    for dimension, record in records.items():
        theirs = held[dimension]
        assert (record["client_token"], record["metering_record_id"], record["hour"], record["quantity"]) == (
            theirs["ClientToken"],
            theirs["MeteringRecordId"],
            theirs["Timestamp"],
            theirs["UsageQuantity"],
        )
    shares = {allocation["AllocatedUsageQuantity"] for allocation in held["requests"]["UsageAllocations"]}
    assert {"1", "3.500001"} == shares
    assert {"accepted": "4.500001", "submitted": "4.500001"} == sidecar.terms()


def test_event_counts_once(site: "Site", emulator: "Emulator") -> None:
    """The same id never counts twice: in a batch, in another one, after SIGKILL; changed, it is refused whole."""
    sidecar = site.start_entitled()
    first = {"id": "evt-1", "dimension": "requests", "quantity": "2", "timestamp": "2026-11-23T10:05:00Z"}
    second = {**first, "id": "evt-2"}
    assert (2, 1) == sidecar.report(first, first, second)
    assert (0, 2) == sidecar.report(second, first)
    sidecar.kill()
    sidecar = site.start()
    assert (1, 1) == sidecar.report(first, {**second, "id": "evt-3"})
    reused = sidecar.post("/v1/usage", [{**second, "id": "evt-4"}, {**first, "quantity": "3"}])
    assert (409, True) == (reused.status, reused.document["type"].endswith("id-reused"))
    assert {"accepted": "6", "open": "6"} == sidecar.terms()
    site.advance(sidecar, "1h")
    sidecar.await_records(1)
    assert {(HOUR, "requests"): "6"} == emulator.held()


def test_invalid_usage_is_stored_by_none(site: "Site") -> None:
    """One bad event refuses the whole batch, every fault named by its index and field."""
    sidecar = site.start_entitled()
    good = {"dimension": "requests"}
    reply = sidecar.post("/v1/usage", [good, {"dimension": "unknown"}, {**good, "quantity": "-1"}])
    assert (422, True) == (reply.status, reply.document["type"].endswith("invalid-usage"))
    found = [(error["index"], error["field"]) for error in reply.document["errors"]]
    assert [(1, "dimension"), (2, "quantity")] == found
    assert {} == sidecar.terms()


def test_lost_answer_is_one_record(site: "Site", emulator: "Emulator") -> None:
    """An answer that is lost after AWS took the record is followed by the identical request, so there is one record."""
    sidecar = site.start_entitled()
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "7"})
    emulator.order("MeterUsage", "drop-response", 1)
    site.advance(sidecar, "1h")
    sidecar.await_event("metering.refused")
    emulator.post("clock", advance="10s")
    (record,) = sidecar.await_records(1)
    assert 2 == record["attempts"]
    (held,) = emulator.get("records")["records"]
    assert (record["client_token"], "7") == (held["ClientToken"], held["UsageQuantity"])
    first, second = emulator.calls("MeterUsage")
    assert first["requestParameters"] == second["requestParameters"]


def test_frozen_record_outlives_process(site: "Site", emulator: "Emulator") -> None:
    """A record whose answer was lost is sent again by the next process of the pod with the same client token."""
    sidecar = site.start_entitled()
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "7"})
    emulator.order("MeterUsage", "drop-response", 1)
    emulator.order("MeterUsage", "internal")
    site.advance(sidecar, "1h")
    sidecar.await_event("metering.refused")
    sidecar.kill()
    (held,) = emulator.get("records")["records"]
    emulator.order("MeterUsage", "internal", 0)
    sidecar = site.start()
    (record,) = sidecar.await_records(1)
    assert (held["ClientToken"], held["MeteringRecordId"]) == (record["client_token"], record["metering_record_id"])
    assert {(HOUR, "requests"): "7"} == emulator.held()


@pytest.mark.parametrize(("fault", "held"), [("internal-taken", "7"), ("internal", None)])
def test_500_is_never_billed_again(site: "Site", emulator: "Emulator", fault: str, held: str | None) -> None:
    """After a 500, whether AWS took the record or not, a successor keeps it in doubt and bills nothing for it."""
    sidecar = site.start_entitled(variables={"POD_UID": "pod-a"})
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "7"})
    emulator.order("MeterUsage", fault)
    site.advance(sidecar, "1h")
    sidecar.await_event("metering.refused")
    sidecar.kill()
    emulator.order("MeterUsage", fault, 0)
    sidecar = site.start_entitled(variables={"POD_UID": "pod-b"})
    (record,) = sidecar.await_records(1, "unbilled")
    assert record["reason"].startswith("in-doubt")
    site.advance(sidecar, "1h")
    sidecar.await_for("the next hour's record", lambda: len(emulator.held()) > (held is not None))
    assert set(emulator.held().values()) == {"0", held} - {None}
    assert {"accepted": "7", "unbilled": "7"} == sidecar.terms()


def test_late_usage_is_carried(site: "Site", emulator: "Emulator") -> None:
    """Usage that comes for an hour already sent goes into the current one; the sent record stays as it is."""
    sidecar = site.start_entitled()
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "1"})
    site.advance(sidecar, "1h")
    sidecar.await_records(1)
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "0.5", "timestamp": "2026-11-23T10:30:00Z"})
    site.advance(sidecar, "1h")
    sidecar.await_records(2)
    assert {(HOUR, "requests"): "1", ("2026-11-23T11:00:00Z", "requests"): "0.5"} == emulator.held()
    assert {"accepted": "1.5", "submitted": "1.5"} == sidecar.terms()


@pytest.mark.ending
def test_fast_hours_are_exact(site: "Site", emulator: "Emulator") -> None:
    """With an hour in each second, every hour's record is exactly what was acknowledged in it."""
    hours = 5
    sidecar = site.start_entitled(metering={"settle": "50m"})
    expected = {}
    for number in range(hours):
        # The time does not move while the app works: how fast this machine is does not decide what is in an hour.
        now = parse(emulator.post("clock", speed=0)["now"])
        assert now is not None
        hour = now.replace(minute=0, second=0, microsecond=0)
        stamp = render(now)
        events = [
            {"id": f"{number}-{index}", "dimension": "requests", "quantity": "0.1", "timestamp": stamp}
            for index in range(10 + number)
        ]
        assert sidecar.report(*events) == (10 + number, 0)
        expected[render(hour), "requests"] = "1" if number == 0 else f"1.{number}"
        emulator.post("clock", speed=3600)
        next_hour = hour + timedelta(hours=1)
        sidecar.await_for(f"{next_hour}", lambda end=next_hour: parse(emulator.get("clock")["now"]) >= end)
    sidecar.await_for("the last record", lambda: not {"open", "sealed"} & sidecar.terms().keys())
    emulator.post("clock", speed=1)
    held = emulator.held()
    assert {slot: held[slot] for slot in expected} == expected
    assert {held[slot] for slot in held.keys() - expected.keys()} <= {"0"}
    assert {"accepted": "6", "submitted": "6"} == sidecar.terms()
    sidecar.signal(signal.SIGTERM)
    assert 0 == sidecar.await_end()


def test_other_product_is_not_billed(site: "Site", emulator: "Emulator") -> None:
    """Usage of one product is never sent under another's code: it stays unbilled, with a fault and its cure."""
    sidecar = site.start_entitled(entitlement={"check": "none"})
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "7"})
    sidecar.kill()
    sidecar = site.start(product={"code": "0another"}, entitlement={"check": "none"})
    assert {"accepted": "7", "unbilled": "7"} == sidecar.terms()
    (fault,) = (fault for fault in sidecar.get("/v1/status")["faults"] if fault["code"] == "other-product")
    assert "ledger resolve" in fault["cure"]
    (record,) = sidecar.await_records(1, "unbilled")
    assert ("usage", "0abc123example") == (record["kind"], record["product_code"])
    assert record["reason"].startswith("other-product")
    assert 1 == len(sidecar.events("ledger.other_product"))
    site.advance(sidecar, "1h")
    assert "0" == emulator.held().get((HOUR, "requests"), "0")
