"""SIGKILL at random instants on one seat: a rolling pair of pods, restarts, lost nodes, lost answers.

A paying buyer is never locked out, AWS never holds more than the one seat, and nothing stays held. `LICENSE_KILLS` sets
how many (12 by default), `KILL_SEED` repeats a run.
"""

import os
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import Emulator, Sidecar, Site, parse

if TYPE_CHECKING:
    from tests.support.processes import Sites

pytestmark = [pytest.mark.process, pytest.mark.long]

KILLS = int(os.environ.get("LICENSE_KILLS", "12"))
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
SPEED = 60
"""Emulated seconds in a real one: a minute passes in a second."""
ADMITTED_FOR = timedelta(minutes=65)
SKU = "prod-abcdefghijklm"
ENTITLEMENTS = [
    {"Name": "seats", "Unit": "Count", "MaxCount": 1, "Overage": False, "AllowCheckIn": True},
    {"Name": "AWS::Marketplace::Usage", "Unit": "None"},
]
CONTRACT: dict[str, Any] = {
    "product": {"pricing": "contract", "id": SKU, "public_keys": {}},
    "metering": {"dimensions": []},
    "license": {"require": [{"name": "seats", "hold": 1}]},
}
FAULTS = ("internal-taken", "drop-response", "internal", "disconnect", "throttle")
CALLS = ("CheckoutLicense", "ExtendLicenseConsumption", "CheckInLicense", "ListReceivedLicenses")


@dataclass
class Pod:
    """One pod of the pair: its place, its name and its running container."""

    site: Site
    name: str
    emulator: Emulator
    sidecar: Sidecar | None = None
    began_at: str = ""

    def start(self) -> None:
        """Start the container; the first start of a pod begins its time."""
        if not self.began_at:
            self.began_at = self.emulator.get("clock")["now"]
        self.sidecar = self.site.start(variables={"POD_UID": self.name})

    def judge(self) -> bool:
        """Return whether the app may run; a closed gate must have its one good reason."""
        assert self.sidecar is not None
        found = self.sidecar.get("/v1/entitlement")
        assert found["state"] in {"entitled", "pending"}, found
        if found["reason"] == "seats-taken":
            age = parse(self.emulator.get("clock")["now"]) - parse(self.began_at)
            assert age >= ADMITTED_FOR, (age, found)
            return True
        return bool(found["entitled"])


def held(emulator: Emulator) -> int:
    """Return how many seats AWS holds."""
    checkouts = emulator.get("checkouts")["checkouts"]
    return sum(each["Held"] and each["EntitlementsAllowed"][0]["Name"] == "seats" for each in checkouts)


def disturb(emulator: Emulator, dice: random.Random) -> None:
    """Let a few calls of License Manager go wrong, or none."""
    for operation in CALLS:
        emulator.order(operation, dice.choice(FAULTS), dice.choice((0, 0, 1, 2)))


@pytest.mark.timeout(900 + KILLS * 30)
def test_kills_lock_no_buyer_out(sites: "Sites", own_emulator: Emulator) -> None:
    """L1, L2, L4 with real processes: the gate closes for no kill, and one seat is one seat."""
    emulator = own_emulator
    emulator.begin()
    dice = random.Random(SEED)
    print(f"LICENSE_KILLS={KILLS} KILL_SEED={SEED}")  # noqa: T201 - repeats a failure
    emulator.post("licenses", action="grant", sku=SKU, entitlements=ENTITLEMENTS)
    emulator.post("clock", speed=SPEED)
    pods = [Pod(sites.make(emulator, **CONTRACT), f"pod-{number}", emulator) for number in range(2)]
    for pod in pods:
        pod.start()
    for number in range(KILLS):
        disturb(emulator, dice)
        at = dice.randrange(2)
        pod = pods[at]
        assert pod.sidecar is not None
        time.sleep(dice.random() * 0.8)
        pod.sidecar.kill()
        if dice.random() < 0.3:  # the node is lost, and another pod takes its place with an empty ledger
            pods[at] = pod = Pod(sites.make(emulator, **CONTRACT), f"pod-{number + 2}", emulator)
        pod.start()
        for each in pods:
            assert each.sidecar is not None
            each.sidecar.await_for("the gate", each.judge)
        assert held(emulator) <= 1
    for operation in CALLS:
        emulator.order(operation, "internal", 0)
    for pod in pods:
        assert pod.sidecar is not None
        pod.sidecar.signal()
        assert 0 == pod.sidecar.await_end()
    emulator.post("clock", advance="61m")
    assert 0 == held(emulator)
