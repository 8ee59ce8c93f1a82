"""The steps of the demonstration, from a closed gate to the comparison of usage with the records at AWS."""

import secrets
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sidecar.commands.demo.app import App
from sidecar.commands.demo.environment import Environment, ScenarioError, request, wait_for
from sidecar.commands.demo.screen import Screen
from sidecar.domain import timestamps
from sidecar.domain.metering.hours import hour_of, start_of
from sidecar.domain.metering.quantity import parse_signed, render
from sidecar.exit_codes import ExitCode

SPEED = 1200
"""Emulated seconds in a real one: an hour passes in three."""
HOURS = 4
"""How many hours the app works."""


class Scenario:
    """The demonstration, step by step."""

    def __init__(self, environment: Environment, screen: Screen) -> None:
        self.environment = environment
        self.screen = screen
        self.app = App(environment.api)

    def run(self) -> int:
        """Run every step and return the exit code."""
        self._closed_gate()
        self._open_gate()
        self._verify_signature()
        self._work()
        return self._compare()

    def _closed_gate(self) -> None:
        self.screen.step("A buyer starts the product without a subscription")
        self.environment.start_emulator()
        # 5 minutes behind, because the next step advances the clock by 5 minutes, to the present.
        began = timestamps.render(datetime.now(UTC) - timedelta(minutes=5))
        self.environment.control("/_emulator/clock", {"now": began})
        self.environment.control("/_emulator/customers", {"action": "unsubscribe"})
        self.environment.start_sidecar()
        entitlement = wait_for("a refusal", lambda: self._entitlement("denied"))
        ready = request(self.environment.probes, "GET", "/readyz")
        self.screen.note(f"GET /v1/entitlement -> entitled: {entitlement['entitled']}, {entitlement['reason']}")
        self.screen.note(f"GET /readyz -> {ready.status}: {ready.document()['reason']}")

    def _open_gate(self) -> None:
        self.screen.step("The buyer subscribes; the sidecar asks again within 5 minutes")
        self.environment.control("/_emulator/customers", {"action": "entitle"})
        self.environment.control("/_emulator/clock", {"advance": "5m"})
        entitlement = wait_for("the entitlement", lambda: self._entitlement("entitled"))
        ready = request(self.environment.probes, "GET", "/readyz")
        self.screen.good(
            f"the gate is open: {entitlement['state']}, {entitlement['reason']}; /readyz -> {ready.status}"
        )

    def _entitlement(self, state: str) -> Any:
        found = request(self.environment.api, "GET", "/v1/entitlement").document()
        return found if found["state"] == state else None

    def _verify_signature(self) -> None:
        self.screen.step("AWS signs a nonce of the app, which verifies the signature with the seller's public key")
        nonce = secrets.token_urlsafe(32)
        reply = request(self.environment.api, "POST", "/v1/attestations", {"nonce": nonce})
        signature = reply.document()["signature"]
        key = str(self.environment.folder / "1.pem")
        verify = ("verify-token", "--public-key", key, "--product-code", "0abc123example", "--nonce", nonce)
        verdict = self.environment.command(*verify, stdin=signature.encode())
        if verdict.returncode:
            raise ScenarioError(f"the signature is not valid: {verdict.stderr.decode()}")
        self.screen.good("verify-token: the signature is AWS's (PS256) and covers the app's nonce")
        broken = signature[:-8] + ("AAAAAAAA" if signature[-8:] != "AAAAAAAA" else "BBBBBBBB")
        verdict = self.environment.command(*verify, stdin=broken.encode())
        self.screen.good(f"a changed signature is refused: {verdict.stderr.decode().strip()}")

    def _work(self) -> None:
        self.screen.step(f"The app works for {HOURS} hours; one hour takes {3600 // SPEED} seconds here")
        clock = self.environment.control("/_emulator/clock", {"speed": SPEED})
        first = start_of(hour_of(datetime.fromisoformat(clock["now"]))) + timedelta(hours=1)
        faults = [
            (first + timedelta(hours=1, minutes=5), self._drop_response),
            (first + timedelta(hours=1, minutes=40), self._kill),
        ]
        while (now := self._now()) < first + timedelta(hours=HOURS):
            if faults and now >= faults[0][0]:
                faults.pop(0)[1]()
            # The app pauses near the full hour: each event then falls into the hour in which it was sent.
            if now.minute < 52:
                self.app.work(now)
            self.screen.progress(f"{timestamps.render(now)[:16]}Z  {self.app.events} events sent")
        wait_for("the last acknowledgement", self.app.deliver)
        again = f"{self.app.repeats} of them were sent twice and counted once"
        self.screen.good(f"{self.app.events} events acknowledged, {again}")

    def _now(self) -> datetime:
        return datetime.fromisoformat(request(self.environment.emulator, "GET", "/_emulator/clock").document()["now"])

    def _drop_response(self) -> None:
        self.environment.control("/_emulator/faults", {"operation": "MeterUsage", "fault": "drop-response", "count": 1})
        self.screen.note("fault: AWS takes the next record, but its answer is lost")

    def _kill(self) -> None:
        self.environment.control("/_emulator/clock", {"speed": 1})
        self.environment.kill_sidecar()
        self.app.miss_the_answer()
        self.app.work(self._now())
        self.screen.note("fault: SIGKILL to the sidecar; the app sends its last events again under the same ids")
        self.environment.start_sidecar()
        wait_for("the entitlement after the restart", lambda: self._entitlement("entitled"))
        self.environment.control("/_emulator/clock", {"speed": SPEED})

    def _compare(self) -> int:
        self.screen.step("Compare what the app sent with what the emulator of AWS holds")
        wait_for("the last records", lambda: not self._unsent())
        self.environment.control("/_emulator/clock", {"speed": 1})
        status = request(self.environment.api, "GET", "/v1/status").document()
        code = self.environment.stop_sidecar()
        held: dict[tuple[str, str], int] = defaultdict(int)
        ids: dict[tuple[str, str], str] = {}
        for record in request(self.environment.emulator, "GET", "/_emulator/records").document()["records"]:
            slot = record["Timestamp"], record["UsageDimension"]
            held[slot] += parse_signed(record["UsageQuantity"])
            ids[slot] = record["MeteringRecordId"][:8]
        self.screen.note(f"{'hour':<22}{'dimension':<12}{'app sent':>12}{'AWS holds':>12}  metering record")
        wrong = 0
        for slot in sorted(self.app.used.keys() | held.keys()):
            used, taken = self.app.used[slot], held[slot]
            line = f"{slot[0]:<22}{slot[1]:<12}{render(used):>12}{render(taken):>12}  {ids.get(slot, '-')}"
            wrong += used != taken
            (self.screen.note if used == taken else self.screen.bad)(line)
        for dimension, terms in status["conservation"]["dimensions"].items():
            names = ("open", "sealed", "submitted", "unbilled", "remainder")
            parts = " + ".join(f"{terms[name]} {name}" for name in names)
            self.screen.note(f"{dimension}: {terms['accepted']} accepted = {parts}")
        balanced = status["conservation"]["balanced"]
        verdict = self.screen.good if balanced else self.screen.bad
        verdict("conservation: every accepted unit is in exactly one place" if balanced else "conservation is broken")
        if wrong or code or not balanced:
            self.screen.bad(f"{wrong} rows differ; the exit code of the sidecar is {code}")
            return ExitCode.FAILED
        self.screen.good("the buyer is charged exactly what the app reported")
        return ExitCode.CLEAN

    def _unsent(self) -> bool:
        status = request(self.environment.api, "GET", "/v1/status").document()
        terms = status["conservation"]["dimensions"].values()
        return any(term["sealed"] != "0" or term["open"] != "0" for term in terms)
