"""The state file: what was answered for survives, and nothing else gets in."""

import json
import resource
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.emulator.clock import Clock
from sidecar.emulator.protocol.license_requests import CheckoutLicenseRequest, EntitlementAsked
from sidecar.emulator.protocol.requests import Allocation, MeterUsageRequest, Tag
from sidecar.emulator.rules.quantities import Quantity
from sidecar.emulator.service import Options, Service
from sidecar.emulator.state.entries import (
    ClockSetting,
    Customer,
    Entry,
    FirstCall,
    MeteringRecord,
    Registration,
    RegistrationToken,
    Reset,
    Session,
    SigningKey,
    Subscription,
    TrailEvent,
    UsedToken,
)
from sidecar.emulator.state.journal import Journal, StateFileError
from sidecar.emulator.state.license_entries import Checkout, EntitlementTerms, License
from sidecar.emulator.state.seed import make_seed
from sidecar.emulator.state.store import State
from sidecar.emulator.state.stored_form import read_entry, write_entry

if TYPE_CHECKING:
    from tests.emulator.conftest import Cluster, Connect, RunningEmulator, Start

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
HEADER = '{"format": "marketplace-emulator-state", "version": 1}\n'


def test_state_outlives_restart(start: "Start", connect: "Connect", cluster: "Cluster", tmp_path: Path) -> None:
    """Slots, client tokens, registrations, credentials, key pairs and the clock go on after a restart."""
    path = tmp_path / "state.jsonl"
    first = start(state_file=path)
    first.freeze("2026-11-23T10:00:00Z")
    token = cluster.token("uid-1")
    sts = connect(first, service="sts")
    role = "arn:aws:iam::111122223333:role/r"
    handed = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="session", WebIdentityToken=token)
    credentials = {
        "key": handed["Credentials"]["AccessKeyId"],
        "secret": handed["Credentials"]["SecretAccessKey"],
        "token": handed["Credentials"]["SessionToken"],
    }
    usage = {"ProductCode": "p", "Timestamp": NOW, "UsageDimension": "d"}
    client = connect(first, **credentials)
    client.register_usage(ProductCode="p", PublicKeyVersion=1)
    record = client.meter_usage(**usage, UsageQuantity=1, ClientToken="t-1")
    first.post("customers", action="unsubscribe", CustomerIdentifier="c-1")
    buyer = first.post("customers", action="entitle", CustomerIdentifier="c-1")["RegistrationToken"]
    first.post("keys", rotate=True)
    kept = ("state", "records", "events", "clock")
    told = {name: first.get(name) for name in kept}
    pem = first.send("GET", "/_emulator/public-keys/1.pem")
    first.stop()

    second = start(state_file=path)
    assert told == {name: second.get(name) for name in kept}
    assert pem == second.send("GET", "/_emulator/public-keys/1.pem")
    client = connect(second, **credentials)
    assert record["MeteringRecordId"] == client.meter_usage(**usage, UsageQuantity=1)["MeteringRecordId"]
    with pytest.raises(client.exceptions.DuplicateRequestException):
        client.meter_usage(**usage, UsageQuantity=2)
    with pytest.raises(client.exceptions.IdempotencyConflictException):
        client.meter_usage(**{**usage, "UsageDimension": "other"}, UsageQuantity=1, ClientToken="t-1")
    assert "c-1" == client.resolve_customer(RegistrationToken=buyer)["CustomerIdentifier"]
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_reset_outlives_restart(start: "Start", connect: "Connect", tmp_path: Path) -> None:
    """What a reset forgot stays forgotten."""
    first = start(state_file=tmp_path / "state")
    first.freeze("2026-11-23T10:00:00Z")
    connect(first).meter_usage(ProductCode="p", Timestamp=NOW, UsageDimension="d")
    first.post("reset")
    first.stop()
    second = start(state_file=tmp_path / "state")
    assert {"records": []} == second.get("records")
    assert 1.0 == second.get("clock")["speed"]


def test_answer_is_on_disk(start: "Start", connect: "Connect", tmp_path: Path) -> None:
    """When the answer is there the record is in the file, while the emulator still runs."""
    path = tmp_path / "state"
    emulator = start(state_file=path)
    emulator.freeze("2026-11-23T10:00:00Z")
    answer = connect(emulator).meter_usage(ProductCode="p", Timestamp=NOW, UsageDimension="d")
    kept = [entry for line in path.read_text().splitlines()[1:] for entry in json.loads(line)]
    assert answer["MeteringRecordId"] in [entry.get("metering_record_id") for entry in kept]


@pytest.mark.parametrize("tail", [b'[{"kind": "Subscr', b'[{"kind": "Subscr\n', b"\0\0\0\n"])
def test_torn_line_is_dropped(tmp_path: Path, tail: bytes) -> None:
    """A last line that a crash tore was never answered for and is dropped."""
    path = tmp_path / "state"
    line = json.dumps([write_entry(Subscription(entitled=False))]) + "\n"
    path.write_bytes((HEADER + line).encode() + tail)
    journal = Journal(path)
    assert [Subscription(entitled=False)] == journal.load()
    journal.rewrite([Subscription(entitled=False)])
    journal.close()
    assert path.read_bytes() == (HEADER + line).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"hello\n",
        b'{"format": "other"}\n',
        HEADER.encode() + b"{\n[]\n",
        HEADER.encode() + b'[{"kind": "Nothing"}]\n',
        HEADER.encode() + b'[{"kind": "Subscription", "other": 1}]\n',
        HEADER.encode() + b"[1]\n",
        HEADER.encode() + b"1\n",
    ],
)
def test_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is something else is refused by name and left as it is."""
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(StateFileError, match=str(path)):
        Journal(path).load()
    assert content == path.read_bytes()


def test_file_has_one_emulator(tmp_path: Path) -> None:
    """A second emulator on the same file is refused, until the first has closed it."""
    path = tmp_path / "state"
    first = Journal(path)
    first.load()
    with pytest.raises(StateFileError, match="in use"):
        Journal(path).load()
    first.close()
    second = Journal(path)
    assert [] == second.load()
    second.close()


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    """A path that cannot be is refused with the reason."""
    with pytest.raises(StateFileError, match="No such file"):
        Journal(tmp_path / "missing" / "state").load()


async def test_failed_write_is_made_up_for(tmp_path: Path) -> None:
    """What could not be written is an error now, and is written by the next attempt."""
    path = tmp_path / "state"
    service = Service(Options(state_file=path))
    await service.open()
    service.state.keep(Subscription(entitled=False))
    _, hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, hard_limit))
    try:
        with pytest.raises(OSError, match="large"):
            await service.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard_limit, hard_limit))
    service.state.keep(Registration("p", "pod", 1, NOW))
    await service.flush()
    await service.close()
    journal = Journal(path)
    assert [Subscription(entitled=False), Registration("p", "pod", 1, NOW)] == journal.load()[-2:]
    journal.close()


REQUEST = MeterUsageRequest(
    "p", NOW, "d", Quantity(1_500_000, decimal=True), (Allocation(Quantity(1_500_000), (Tag("k", "v"),)),), "t"
)
CHECKOUT = CheckoutLicenseRequest("sku", "PROVISIONAL", "f", (EntitlementAsked("u", "Count", "1"),), "t", node_id="n")
LICENSE = License(
    "arn", "sku", "me", "f", "us-east-1", (EntitlementTerms("u", "Count", max_count=1, overage=False),), NOW, NOW
)
HELD = Checkout(CHECKOUT, "arn", "pod", NOW, "token", NOW)
ENTRIES: list[Entry] = [
    LICENSE,
    replace(LICENSE, end=NOW, grant_type=None, set_status="SUSPENDED", version=2, removed=True),
    HELD,
    replace(HELD, consumption_token="token-2", extensions=1, returned_at=NOW),
    MeteringRecord("id", "p", "d", NOW, Quantity(1), REQUEST.allocations or (), "pod", NOW, "t"),
    MeteringRecord("id2", "p", "d", NOW, Quantity(1), (), "me", NOW, customer="c", aws_account_id="1", by_license=True),
    UsedToken("pod", REQUEST),
    UsedToken("pod", MeterUsageRequest("p", NOW, "e", client_token="u")),
    Registration("p", "pod", 1, NOW),
    FirstCall("pod", NOW),
    Customer("arn", "1", None, "a", entitled=True, ever_entitled=True),
    RegistrationToken("t", "arn", NOW),
    Subscription(entitled=False),
    Session("ASIAEMULATOR1", "secret", "token", "pod", "arn", "session", NOW),
    SigningKey(2, "pem", NOW + timedelta(microseconds=1)),
    TrailEvent({"eventName": "MeterUsage", "requestParameters": None}),
    ClockSetting(NOW, NOW, 3600.0),
]


@pytest.mark.parametrize("entry", [*ENTRIES, Reset()])
def test_entry_reads_back(entry: Entry) -> None:
    """An entry that was written reads back equal."""
    assert entry == read_entry(json.loads(json.dumps(write_entry(entry))))


@given(st.lists(st.sampled_from(ENTRIES), unique_by=id))
def test_state_is_its_entries(entries: list[Entry]) -> None:
    """A new state that takes in the entries of another has the same entries."""
    state, copy = State(), State()
    for entry in entries:
        state.apply(entry)
    for entry in state.entries():
        copy.apply(entry)
    assert list(state.entries()) == list(copy.entries())
    assert vars(state) == vars(copy)


def test_clock_resumes_where_it_would_be() -> None:
    """After a restart the clock stands where it would have stood without one."""
    system = NOW
    ticks = 0
    clock = Clock(lambda: system, lambda: ticks)
    setting = clock.change(now=NOW + timedelta(days=1), speed=60)
    ticks += 2_000_000_000
    system += timedelta(seconds=2)
    resumed = Clock(lambda: system, lambda: ticks)
    resumed.resume(setting)
    expected = NOW + timedelta(days=1, minutes=2)
    assert (expected, expected) == (clock.now(), resumed.now())


def test_clock_stops_at_its_end() -> None:
    """A clock that ran through the year 2999 shows its end, also after a restart, and can be stopped and set back."""
    system = NOW
    ticks = 0
    clock = Clock(lambda: system, lambda: ticks)
    setting = clock.change(now=datetime(2999, 12, 30, tzinfo=UTC), speed=100_000)
    ticks += 10**15
    system += timedelta(days=11)
    resumed = Clock(lambda: system, lambda: ticks)
    resumed.resume(setting)
    end = datetime(2999, 12, 31, tzinfo=UTC)
    assert (end, end) == (clock.now(), resumed.now())
    assert end == clock.change(speed=0).now
    assert clock.change(now=NOW).now == clock.now() == NOW


def test_file_wins_over_changed_seed(start: "Start", tmp_path: Path) -> None:
    """A restart with another seed keeps the customers of the file and adds the seed's; `reset` takes the seed's."""
    path = tmp_path / "state.jsonl"

    def names(emulator: "RunningEmulator") -> dict[str, bool]:
        return {each["CustomerIdentifier"]: each["entitled"] for each in emulator.get("state")["customers"]}

    start(state_file=path, seed=make_seed({"customers": [{"CustomerIdentifier": "c-1"}]})).stop()
    customers = [{"CustomerIdentifier": "c-1", "entitled": False}, {"CustomerIdentifier": "c-2"}]
    second = start(state_file=path, seed=make_seed({"customers": customers}))
    assert {"c-1": True, "c-2": True} == names(second)
    second.post("reset")
    assert {"c-1": False, "c-2": True} == names(second)


@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.floats(0, 100_000), st.integers(-(10**9), 10**9)),
        max_size=10,
    )
)
def test_clock_never_runs_backwards(steps: list[tuple[int, float, int]]) -> None:
    """Between settings the emulated time only moves forward, whatever the speed and the system clock do."""
    system = NOW
    ticks = 0
    clock = Clock(lambda: system, lambda: ticks)
    clock.change(now=NOW)
    for elapsed_ns, speed, system_step_s in steps:
        before = clock.now()
        clock.change(speed=speed)
        assert clock.now() == before
        ticks += elapsed_ns
        system += timedelta(seconds=system_step_s)
        assert clock.now() >= before
        clock.change(now=NOW)
