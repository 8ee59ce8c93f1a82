"""The end of a process, wanted or not, and the next one on the same ledger."""

import http.client
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from sidecar.commands.demo.environment import wait_for

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Sidecar, Site

pytestmark = pytest.mark.process

HOUR = "2026-11-23T10:00:00Z"


def test_kill_loses_nothing(site: "Site", emulator: "Emulator") -> None:
    """After SIGKILL amid a stream of posts everything acknowledged is there, and resending all counts each once."""
    sidecar = site.start_entitled()
    acknowledged: list[int] = []

    def post(to: "Sidecar") -> None:
        try:
            for number in range(100_000):
                to.report({"id": f"evt-{number}", "dimension": "requests", "quantity": "0.5"})
                acknowledged.append(number)
        except (OSError, http.client.HTTPException):
            return

    app = threading.Thread(target=post, args=(sidecar,))
    app.start()
    wait_for("some acknowledgements", lambda: len(acknowledged) >= 100)
    sidecar.kill()
    app.join()
    sidecar = site.start()
    # What was on its way may have been stored, too; its answer is lost, so it is sent again.
    found = float(sidecar.terms()["accepted"]) * 2
    assert len(acknowledged) <= found <= len(acknowledged) + 1
    number = len(acknowledged) + 1
    events = [{"id": f"evt-{index}", "dimension": "requests", "quantity": "0.5"} for index in range(number)]
    accepted, duplicates = sidecar.report(*events)
    assert (number, found) == (accepted + duplicates, duplicates)
    whole, half = divmod(number, 2)
    total = f"{whole}.5" if half else f"{whole}"
    site.advance(sidecar, "1h")
    sidecar.await_records(1)
    assert emulator.held() == {(HOUR, "requests"): total}
    assert sidecar.terms() == {"accepted": total, "submitted": total}


@pytest.mark.ending
def test_terminating_submits_open_hour(site: "Site", emulator: "Emulator") -> None:
    """SIGTERM seals and submits the open hour, and ends with 0."""
    sidecar = site.start_entitled()
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "3.25"})
    assert {} == emulator.held()
    sidecar.signal(signal.SIGTERM)
    assert 0 == sidecar.await_end()
    assert {(HOUR, "requests"): "3.25"} == emulator.held()
    assert 1 == len(sidecar.events("sidecar.stopped"))


@pytest.mark.ending
def test_interrupting_before_answer_ends(site: "Site", emulator: "Emulator") -> None:
    """SIGINT ends a sidecar that still waits for RegisterUsage, and does not wait for the answer."""
    emulator.order("RegisterUsage", "timeout", 1)
    sidecar = site.start()
    emulator_asked = {"operation": "RegisterUsage", "fault": "timeout", "count": 1}
    sidecar.await_for("the question", lambda: emulator_asked not in emulator.get("faults")["faults"])
    sidecar.signal(signal.SIGINT)
    assert 0 == sidecar.await_end()


def test_second_signal_ends_at_once(site: "Site", emulator: "Emulator") -> None:
    """A second SIGTERM ends a drain that AWS holds up; the next process submits what was left."""
    sidecar = site.start_entitled()
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "3"})
    emulator.order("MeterUsage", "throttle")
    sidecar.signal(signal.SIGTERM)
    sidecar.await_event("sidecar.stopping")
    sidecar.signal(signal.SIGTERM)
    assert sidecar.await_end() == 128 + signal.SIGTERM
    emulator.order("MeterUsage", "throttle", 0)
    sidecar = site.start()
    assert "3" == sidecar.terms()["accepted"]
    site.advance(sidecar, "1h")
    sidecar.await_records(1)
    assert {(HOUR, "requests"): "3"} == emulator.held()


@pytest.mark.ending
@pytest.mark.parametrize("fault", ["throttle", "timeout"])
def test_drain_has_an_end(site: "Site", emulator: "Emulator", fault: str) -> None:
    """A drain that AWS holds up ends after `shutdown.timeout` with 0, and what is left stays in the ledger."""
    sidecar = site.start_entitled(shutdown={"timeout": "1s"})
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "3"})
    emulator.order("MeterUsage", fault)
    sidecar.signal(signal.SIGTERM)
    assert 0 == sidecar.await_end()
    assert 1 == len(sidecar.events("shutdown.incomplete"))
    assert {} == emulator.held()
    emulator.order("MeterUsage", fault, 0)
    sidecar = site.start()
    assert "3" == sidecar.terms()["accepted"]
    site.advance(sidecar, "1h")
    sidecar.await_records(1)
    assert {(HOUR, "requests"): "3"} == emulator.held()


def test_ledger_has_one_process(site: "Site") -> None:
    """A second process on a ledger ends with 4, names it and shows why; SIGKILL of the first lets it in."""
    first = site.start_entitled()
    assert (1, 0) == first.report({"dimension": "requests"})
    code, said = site.refuse()
    assert 4 == code
    assert str(site.ledger) in said
    assert "another sidecar is using it" in said
    assert (1, 0) == first.report({"dimension": "requests"})
    first.kill()
    second = site.start()
    assert {"accepted": "2", "open": "2"} == second.terms()
