"""A full disk and a ledger that disappears, under a running sidecar: reported everywhere, and over by itself."""

import resource

from sidecar.adapters.ledger import conservation
from sidecar.adapters.ledger.file import open_for_reading
from tests.support.processes import Reply, Sidecar, Site


def limit_files(sidecar: Sidecar, size: int) -> None:
    """Let no file of the process grow beyond a size, as on a volume without room."""
    resource.prlimit(sidecar.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def fill_disk(sidecar: Sidecar) -> Reply:
    """Leave no room for any file of the ledger; the log on standard error still fits. Return the refusal of event b."""
    limit_files(sidecar, 4096)
    return sidecar.post("/v1/usage", {"id": "b", "dimension": "requests"})


def test_full_disk_is_said_and_passes(site: Site) -> None:
    """Without room usage is refused with Retry-After and a reason; with room again it continues by itself."""
    sidecar = site.start_entitled()
    sidecar.report({"id": "a", "dimension": "requests"})
    refused = fill_disk(sidecar)

    assert (503, True) == (refused.status, refused.document["type"].endswith("ledger-unavailable"))
    assert int(refused.headers["Retry-After"]) > 0
    ready = sidecar.probe("readyz")
    assert (200, "ledger-unavailable") == (ready.status, ready.document["code"])
    assert "ledger-unavailable" in [fault["code"] for fault in sidecar.get("/v1/status")["faults"]]
    sidecar.await_event("ledger.unavailable")

    limit_files(sidecar, resource.RLIM_INFINITY)
    assert (1, 1) == sidecar.report({"id": "b", "dimension": "requests"}, {"id": "a", "dimension": "requests"})
    assert "registered" == sidecar.probe("readyz").document["code"]
    sidecar.await_event("ledger.recovered")
    assert {"accepted": "2", "open": "2"} == sidecar.terms()


def test_full_disk_holds_no_submission_back_for_good(site: Site) -> None:
    """An hour that ends while the disk is full is submitted, once, as soon as there is room."""
    sidecar = site.start_entitled()
    sidecar.report({"id": "a", "dimension": "requests", "quantity": 3})
    fill_disk(sidecar)
    sidecar.await_event("ledger.unavailable")
    site.emulator.post("clock", advance="1h")
    limit_files(sidecar, resource.RLIM_INFINITY)
    site.emulator.post("clock", advance="1m")

    sidecar.await_for("the record", lambda: site.emulator.held() or None)

    assert {("2026-11-23T10:00:00Z", "requests"): "3"} == site.emulator.held()


def test_removed_ledger_is_whole_after_a_kill(site: Site) -> None:
    """What was accepted before the ledger was removed is there when the process is killed after the next event."""
    sidecar = site.start_entitled()
    sidecar.report({"id": "a", "dimension": "requests"})
    for file in site.folder.glob("ledger.db*"):
        file.unlink()
    sidecar.report({"id": "b", "dimension": "requests"})
    sidecar.kill()

    again = site.start_entitled()

    assert (0, 2) == again.report({"id": "a", "dimension": "requests"}, {"id": "b", "dimension": "requests"})
    assert {"accepted": "2", "open": "2"} == again.terms()
    connection = open_for_reading(site.ledger)
    assert [] == list(conservation.breaches(connection))
    connection.close()


def test_full_log_ends_nothing(site: Site) -> None:
    """When not even a log line can be written, the sidecar works on."""
    sidecar = site.start_entitled()
    sidecar.report({"id": "a", "dimension": "requests"})
    limit_files(sidecar, 1)
    assert 503 == sidecar.post("/v1/usage", {"id": "b", "dimension": "requests"}).status
    limit_files(sidecar, resource.RLIM_INFINITY)

    assert (1, 0) == sidecar.report({"id": "b", "dimension": "requests"})
