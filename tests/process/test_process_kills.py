"""SIGKILL at random instants, under load: nothing acknowledged is lost or counts twice, every slot has one record.

Meanwhile AWS answers 500 for what it took, drops answers and cannot be reached, the configuration changes between two
lives, one of the ledgers fills up, and the other sidecar asks AWS by a start probe in each life. `KILLS` sets how many
(60 by default), `KILL_SEED` repeats a run. Each shard has a ledger and clients of its own.
"""

import http.client
import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.ledger import conservation, digests
from sidecar.adapters.ledger.file import open_for_reading
from sidecar.commands.demo.environment import free_port, wait_for
from sidecar.domain.metering.probes import is_probe
from sidecar.domain.metering.quantity import parse_signed, render
from tests.process.front import Front
from tests.support.processes import Emulator, Sidecar, Site, ask, launch_emulator
from tests.support.tools import PATIENCE

pytestmark = pytest.mark.long

KILLS = int(os.environ.get("KILLS", "60"))
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
SHARDS = 2
CLIENTS = 3
SPEED = 240
"""Emulated seconds in a real one: hours end, are sealed and submitted all the while, well within AWS's window."""
SUMS = ("requests", "gigabytes")
GAUGE = "seats"
"""Its aggregation changes between lives, so only its books are checked, not its quantity."""
PRODUCTS = ("0abc123example", "0def456example")
FAULTS = ("internal-taken", "drop-response", "internal", "disconnect", "throttle")
SMALL = "4MiB"
"""The limit of the first shard's ledger, which a minute of usage fills."""


@dataclass
class Client:
    """An app that reports without pause and repeats what it got no answer for, under the same ids."""

    number: int
    port: int
    dice: random.Random
    stop: threading.Event
    acknowledged: Counter[str] = field(default_factory=Counter)
    """Millionths by dimension."""
    batches: int = 0
    full: int = 0
    """How often usage was refused because the ledger is full."""
    left: list[dict[str, str]] = field(default_factory=list)
    """A batch that was given up at the end, which may have been stored before its sidecar was killed."""
    refused: str | None = None

    def run(self) -> None:
        """Work until told to stop; the last batch is delivered all the same, unless the ledger is full."""
        last: list[dict[str, str]] = []
        while not self.stop.is_set() and self.refused is None:
            repeated = bool(last) and self.dice.random() < 0.1
            batch = last if repeated else self.make()
            if not self.deliver(batch):
                self.left = [] if repeated else batch
            elif not repeated:
                for event in batch:
                    self.acknowledged[event["dimension"]] += parse_signed(event["quantity"])
            last = batch

    def make(self) -> list[dict[str, str]]:
        """Return new events."""
        self.batches += 1
        return [
            {
                "id": f"client-{self.number}-{self.batches}-{index}",
                "dimension": self.dice.choice((*SUMS, GAUGE)),
                "quantity": render(self.dice.randrange(5_000_000)),
            }
            for index in range(self.dice.randint(1, 8))
        ]

    def deliver(self, batch: list[dict[str, str]]) -> bool:
        """Send a batch until it is acknowledged; False when it is given up."""
        while True:
            try:
                reply = ask(self.port, "POST", "/v1/usage", batch)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)  # no listener while the sidecar starts again
                continue
            if reply.status == 202:
                return True
            if reply.status != 503:
                self.refused = f"{reply.status} {reply.body!r}"
                return False
            if b"ledger takes" in reply.body:
                self.full += 1
                if self.stop.wait(0.05):
                    return False


def prove(ledger: Path) -> None:
    """Find no breach in the rows of a ledger in use."""
    with closing(open_for_reading(ledger)) as connection:
        connection.execute("BEGIN")
        assert [] == list(conservation.breaches(connection))
        assert [] == list(conservation.event_breaches(connection))


@dataclass
class Seller:
    """Changes the configuration between lives: the product once, halfway, and the other things now and then."""

    site: Site
    front: Front
    fixed: dict[str, Any]
    product: str = PRODUCTS[0]
    aggregation: str = "max"
    quantity: str = "decimal"
    late: str = "carry"

    def write(self) -> Path:
        """Write the configuration as it is now."""
        dimensions = [{"name": name, "aggregation": "sum"} for name in SUMS]
        dimensions.append({"name": GAUGE, "aggregation": self.aggregation})
        metering = {"dimensions": dimensions, "quantity": self.quantity, "late": self.late}
        endpoint = {"endpoint_url": self.front.url}
        return self.site.write(product={"code": self.product}, metering=metering, marketplace=endpoint, **self.fixed)

    def edit(self, dice: random.Random) -> None:
        """Change one thing."""
        match dice.choice(["aggregation", "quantity", "late"]):
            case "aggregation":
                self.aggregation = dice.choice(["sum", "max", "last"])
            case "quantity":
                self.quantity = dice.choice(["decimal", "integer"])
            case _:
                self.late = dice.choice(["carry", "unbilled"])


def kill_and_restart(seller: Seller, sidecar: Sidecar, dice: random.Random) -> Sidecar:
    """Kill the sidecar somewhere in its work or its start, start it again, and check its books."""
    site = seller.site
    if dice.random() < 0.4:
        site.emulator.order("MeterUsage", dice.choice(FAULTS), dice.randint(1, 4))
    if dice.random() < 0.15:
        seller.front.refuse()
    # Most lives end during registration or before; some are long enough to submit.
    time.sleep(dice.uniform(0, 0.3) if dice.random() < 0.75 else dice.uniform(0.5, 1.5))
    sidecar.kill()
    seller.front.accept()
    if dice.random() < 0.1:
        seller.edit(dice)
    config = seller.write()
    while dice.random() < 0.3:
        early = site.launch(config)
        time.sleep(dice.uniform(0, 0.6))
        early.kill()
    sidecar = site.launch(config)
    sidecar.await_start()
    prove(site.ledger)
    return sidecar


def check_slots(emulator: Emulator, site: Site) -> None:
    """Every slot was asked for with one quantity, and AWS's side holds the ledger's own record of it, by its token."""
    asked: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for call in emulator.calls("MeterUsage"):
        parameters: dict[str, Any] = call["requestParameters"]
        slot = (parameters["productCode"], parameters["timestamp"], parameters["usageDimension"])
        asked[slot].add(parameters["usageQuantity"])
    assert {} == {slot: quantities for slot, quantities in asked.items() if len(quantities) > 1}
    with closing(open_for_reading(site.ledger)) as connection:
        frozen = {
            row["client_token"]: row
            for row in connection.execute(
                "SELECT record.*, name, product_code FROM record JOIN dimension ON dimension.id = record.dimension"
            )
        }
    held = {record["ClientToken"]: record for record in emulator.get("records")["records"]}
    assert {token for token, row in frozen.items() if row["status"] == "accepted"} <= held.keys()
    for token, record in held.items():
        row = frozen[token]
        assert (row["quantity"], row["name"], row["product_code"]) == (
            record["UsageQuantity"],
            record["UsageDimension"],
            record["ProductCode"],
        )
        # A start probe whose answer never came is kept as the zero that it is. The last may wait still.
        known = "accepted" == row["status"] or is_probe(token) or row["reason"].startswith("in-doubt")
        assert known, tuple(row)


def stored(ledger: Path, events: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Yield the events that the ledger knows by their ids."""
    with closing(open_for_reading(ledger)) as connection:
        for event in events:
            whole = connection.execute("SELECT 1 FROM event WHERE id = ?", (event["id"],)).fetchone()
            digest = (digests.digest_id(event["id"]),)
            if whole or connection.execute("SELECT 1 FROM event_digest WHERE id = ?", digest).fetchone():
                yield event


@pytest.mark.timeout(900 + KILLS * 30)
def test_kills_lose_nothing(tmp_path: Path) -> None:
    """After every SIGKILL the books balance; in the end they hold exactly what the clients had acknowledged."""
    print(f"KILL_SEED={SEED}, {KILLS} kills")  # noqa: T201 - repeats a failure
    with ThreadPoolExecutor(SHARDS) as pool:
        for shard in [pool.submit(play, SEED, number, tmp_path / f"shard-{number}") for number in range(SHARDS)]:
            reckoned = shard.result()
            assert reckoned.acknowledged == reckoned.accepted


@dataclass(frozen=True)
class Reckoned:
    """Quantities by dimension."""

    acknowledged: dict[str, str]
    """What the clients had a 2xx for."""
    accepted: dict[str, str]
    """What the ledger has accepted."""


def play(seed: int, shard: int, folder: Path) -> Reckoned:
    """Kill one sidecar again and again while its clients report, then reckon up."""
    folder.mkdir()
    emulator = launch_emulator(folder / "emulator.log")
    emulator.begin()
    dice = random.Random(seed + shard)
    site = Site(folder / "site", emulator)
    port = free_port()
    front = Front(emulator.url)
    fixed: dict[str, Any] = {"api": {"port": port}}
    if shard == 0:
        fixed["ledger"] = {"max_size": SMALL}
    else:
        # Each life asks AWS anew by a start probe, which takes the slot of an hour.
        fixed["entitlement"] = {"check": "meter", "remember_for": "0s"}
    seller = Seller(site, front, fixed)
    emulator.post("clock", speed=SPEED)
    stop = threading.Event()
    clients = [Client(number, port, random.Random((seed + shard) * 31 + number), stop) for number in range(CLIENTS)]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    sidecar = site.launch(seller.write())
    try:
        sidecar.await_start()
        for thread in threads:
            thread.start()
        kills = KILLS // SHARDS
        for kill in range(kills):
            if kill == kills // 2:
                seller.product = PRODUCTS[1]
            sidecar = kill_and_restart(seller, sidecar, dice)
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert [None] * CLIENTS == [client.refused for client in clients]
        reckoned = reckon(site, sidecar, clients)
        full = sum(client.full for client in clients)
        print(f"shard {shard}: refused {full} times for lack of room")  # noqa: T201 - shows that it has filled
        return reckoned
    finally:
        stop.set()
        front.close()
        for running in [*site.running, emulator]:
            running.kill()


def reckon(site: Site, sidecar: Sidecar, clients: list[Client]) -> Reckoned:
    """Let everything be sent, end the sidecar, compare its books with AWS's side, and return what each side has."""
    emulator = site.emulator
    for fault in FAULTS:
        emulator.order("MeterUsage", fault, 0)
    wait_for("the entitlement", lambda: sidecar.get("/v1/entitlement")["entitled"])
    sidecar.signal()
    assert 0 == sidecar.await_end()
    verify = site.command("ledger", "verify", "--ledger", str(site.ledger))
    assert 0 == verify.await_end(), verify.log
    acknowledged = sum((client.acknowledged for client in clients), Counter[str]())
    for client in clients:
        for event in stored(site.ledger, client.left):
            acknowledged[event["dimension"]] += parse_signed(event["quantity"])
    with closing(open_for_reading(site.ledger)) as connection:
        terms = conservation.terms(connection)
        other = {
            row["name"]: row["n"]
            for row in connection.execute(
                "SELECT name, count(*) AS n FROM record JOIN dimension ON dimension.id = record.dimension"
                " WHERE status = 'unbilled' AND NOT (reason LIKE 'in-doubt%' OR reason LIKE 'other-product%'"
                " OR reason LIKE 'late%' OR reason LIKE 'expired%' OR reason LIKE 'probe-slot%'"
                " OR reason LIKE 'after-end%') GROUP BY name"
            )
        }
    assert {} == other
    for name in SUMS:
        assert terms[name].balanced
        assert (0, 0) == (terms[name].open, terms[name].sealed), name
    check_slots(emulator, site)
    return Reckoned(
        acknowledged={name: render(acknowledged[name]) for name in SUMS},
        accepted={name: render(terms[name].accepted) for name in SUMS},
    )
