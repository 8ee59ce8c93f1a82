"""SIGKILL at random instants, under load: nothing acknowledged is lost or counts twice, every slot has one record.

`KILLS` sets how many (200 unless told), `KILL_SEED` repeats a run. Each shard has a ledger and clients of its own.
"""

import http.client
import os
import random
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.ledger import proof
from sidecar.adapters.ledger.file import open_for_reading
from sidecar.commands.demo.environment import free_port, wait_for
from sidecar.domain.metering.quantity import parse_signed, render
from tests.support.processes import Emulator, Sidecar, Site, ask, launch_emulator
from tests.support.tools import PATIENCE

KILLS = int(os.environ.get("KILLS", "200"))
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
SHARDS = 2
CLIENTS = 3
SPEED = 240
"""Emulated seconds in a real one: hours end, are sealed and submitted all the while, well within AWS's window."""
DIMENSIONS = ("requests", "gigabytes")


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
    refused: str | None = None

    def run(self) -> None:
        """Work until told to stop; the last batch is delivered all the same."""
        last: list[dict[str, str]] = []
        while not self.stop.is_set() and self.refused is None:
            repeated = bool(last) and self.dice.random() < 0.1
            batch = last if repeated else self.make()
            self.deliver(batch)
            if not repeated:
                for event in batch:
                    self.acknowledged[event["dimension"]] += parse_signed(event["quantity"])
            last = batch

    def make(self) -> list[dict[str, str]]:
        """Return events that nobody has seen."""
        self.batches += 1
        return [
            {
                "id": f"client-{self.number}-{self.batches}-{index}",
                "dimension": self.dice.choice(DIMENSIONS),
                "quantity": render(self.dice.randrange(5_000_000)),
            }
            for index in range(self.dice.randint(1, 8))
        ]

    def deliver(self, batch: list[dict[str, str]]) -> None:
        """Send a batch until it is acknowledged."""
        while True:
            try:
                reply = ask(self.port, "POST", "/v1/usage", batch)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)  # nobody listens while the sidecar starts again
                continue
            if reply.status == 202:
                return
            if reply.status != 503:
                self.refused = f"{reply.status} {reply.body!r}"
                return


def prove(ledger: Path) -> None:
    """Find no breach in the rows of a ledger in use."""
    with closing(open_for_reading(ledger)) as connection:
        connection.execute("BEGIN")
        assert list(proof.breaches(connection)) == []


def kill_and_restart(site: Site, sidecar: Sidecar, dice: random.Random) -> Sidecar:
    """Kill the sidecar somewhere in its work or its start, start it again, and check its books."""
    # Most lives end during registration or before; some are long enough to submit.
    time.sleep(dice.uniform(0, 0.3) if dice.random() < 0.75 else dice.uniform(0.5, 1.5))
    sidecar.kill()
    config = site.folder / "config.yaml"
    while dice.random() < 0.3:
        early = site.launch(config)
        time.sleep(dice.uniform(0, 0.6))
        early.kill()
    sidecar = site.launch(config)
    sidecar.await_start()
    prove(site.ledger)
    return sidecar


def check_slots(emulator: Emulator, site: Site) -> None:
    """Every slot was asked for with one quantity, and AWS's side holds the ledger's own record of it."""
    asked: dict[tuple[str, str], set[str]] = defaultdict(set)
    for call in emulator.calls("MeterUsage"):
        parameters: dict[str, Any] = call["requestParameters"]
        assert call.get("errorCode") is None, call
        asked[parameters["timestamp"], parameters["usageDimension"]].add(parameters["usageQuantity"])
    assert {slot: quantities for slot, quantities in asked.items() if len(quantities) > 1} == {}
    held = {record["ClientToken"]: record["UsageQuantity"] for record in emulator.get("records")["records"]}
    with closing(open_for_reading(site.ledger)) as connection:
        frozen = {
            row["client_token"]: row["quantity"]
            for row in connection.execute("SELECT * FROM record WHERE status = 'accepted'")
        }
    assert frozen == held


@pytest.mark.timeout(900 + KILLS * 30)
def test_kills_lose_nothing(tmp_path: Path) -> None:
    """After every SIGKILL the books balance; in the end AWS's side holds exactly what the clients had acknowledged."""
    print(f"KILL_SEED={SEED}, {KILLS} kills")  # noqa: T201 - repeats a failure
    with ThreadPoolExecutor(SHARDS) as pool:
        for shard in [pool.submit(play, SEED + number, tmp_path / f"shard-{number}") for number in range(SHARDS)]:
            shard.result()


def play(seed: int, folder: Path) -> None:
    """Kill one sidecar again and again while its clients report, then reckon up."""
    folder.mkdir()
    emulator = launch_emulator(folder / "emulator.log")
    emulator.begin()
    dice = random.Random(seed)
    site = Site(folder / "site", emulator)
    port = free_port()
    named = [{"name": name, "aggregation": "sum"} for name in DIMENSIONS]
    config = site.write(api={"port": port}, metering={"dimensions": named})
    emulator.post("clock", speed=SPEED)
    stop = threading.Event()
    clients = [Client(number, port, random.Random(seed * 31 + number), stop) for number in range(CLIENTS)]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    sidecar = site.launch(config)
    try:
        sidecar.await_start()
        for thread in threads:
            thread.start()
        for _ in range(KILLS // SHARDS):
            sidecar = kill_and_restart(site, sidecar, dice)
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert [client.refused for client in clients] == [None] * CLIENTS
        wait_for("the entitlement", lambda: sidecar.get("/v1/entitlement")["entitled"])
        sidecar.signal()
        assert sidecar.await_end() == 0
        acknowledged = sum((client.acknowledged for client in clients), Counter[str]())
        held: Counter[str] = Counter()
        for record in emulator.get("records")["records"]:
            held[record["UsageDimension"]] += parse_signed(record["UsageQuantity"])
        assert {name: render(total) for name, total in acknowledged.items()} == {
            name: render(total) for name, total in held.items()
        }
        check_slots(emulator, site)
    finally:
        stop.set()
        for running in [*site.running, emulator]:
            running.kill()
