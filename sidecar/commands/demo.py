"""The `demo` command: the whole way from a closed gate to accepted metering records, on this machine, in a minute.

Plays seller, buyer and app against real processes: the emulator on AWS's side, the sidecar, and HTTP between them. A
response is lost and the sidecar is killed on the way; the end compares what the app sent with what AWS's side holds.
"""

import argparse
import http.client
import secrets
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sidecar.commands.stage import Stage, StageError, request, wait_for
from sidecar.domain import timestamps
from sidecar.domain.metering.hours import hour_of, start_of
from sidecar.domain.metering.quantity import parse_signed, render
from sidecar.exit_codes import ExitCode
from sidecar.terminal.colours import Colour, paint_for
from sidecar.terminal.size import columns_of
from sidecar.terminal.text import fit, width, wrap

SPEED = 1200
"""Emulated seconds in a real one: an hour passes in three."""
_INDENT = "       "
"""Of what a line continues, below its first word."""
HOURS = 4
"""How many hours the app works."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="leave configuration, ledger and logs there")


def run(args: argparse.Namespace) -> int:
    """Play the demonstration: 0 when every unit is where it belongs, 1 otherwise."""
    with tempfile.TemporaryDirectory(prefix="marketplace-sidecar-demo-") as folder:
        stage = Stage(Path(folder))
        play = Play(stage, Screen())
        try:
            return play.perform()
        except StageError as error:
            play.screen.bad(str(error))
            for name in ("emulator.log", "sidecar.log"):
                log = stage.folder / name
                if log.exists():
                    sys.stdout.write(f"--- {name}\n{log.read_text(encoding='utf-8', errors='replace')}")
            return ExitCode.FAILED
        finally:
            stage.close()
            if args.keep is not None:
                shutil.copytree(folder, args.keep, dirs_exist_ok=True)


class Screen:
    """What the audience reads: coloured on a terminal, plain lines in a log."""

    def __init__(self) -> None:
        self._paint = paint_for(sys.stdout)
        self._step = 0

    def step(self, text: str) -> None:
        """Begin a step."""
        self._step += 1
        self._say(f"\n{self._step}. {text}", Colour.NAME)

    def say(self, text: str) -> None:
        """Say what happens."""
        self._say(f"   {text}")

    def good(self, text: str) -> None:
        """Say what went as it must."""
        self._say(f"   ok  {text}", Colour.GOOD)

    def bad(self, text: str) -> None:
        """Say what went wrong."""
        self._say(f"   BAD {text}", Colour.BAD)

    def progress(self, text: str) -> None:
        """Show passing news: one line that changes on a terminal, nothing in a log."""
        if self._paint.on:
            sys.stdout.write(f"\r\033[K{fit(f'   {text}', columns_of(sys.stdout))}")
            sys.stdout.flush()

    def _say(self, text: str, colour: Colour | None = None) -> None:
        over = "\r\033[K" if self._paint.on else ""
        for line in self._lines(text):
            sys.stdout.write(f"{over}{line if colour is None else self._paint(line, colour)}\n")
        sys.stdout.flush()

    def _lines(self, text: str) -> Iterator[str]:
        """Yield the text in lines that fit the terminal, indented as the first; a log gets it in one piece."""
        columns = columns_of(sys.stdout)
        if not sys.stdout.isatty() or width(text) <= columns:
            yield text
            return
        body = text.lstrip()
        start = text[: len(text) - len(body)]
        if "\n" in start:
            yield ""
            start = start.rpartition("\n")[2]
        for line in wrap(body, columns - len(start)):
            yield f"{start}{line}"
            start = " " * len(_INDENT)


@dataclass
class App:
    """The seller's app: what it used, in millionths by hour and dimension, and what it has yet to deliver."""

    port: int
    used: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    events: int = 0
    repeats: int = 0
    waiting: list[dict[str, str]] = field(default_factory=list)
    delivered: list[dict[str, str]] = field(default_factory=list)
    """The last batch that was acknowledged."""

    def work(self, now: datetime) -> None:
        """Use something and report it."""
        hour = timestamps.render(start_of(hour_of(now)))
        for dimension, quantity in (("requests", str(1 + self.events % 7)), ("gigabytes", "0.125")):
            self.events += 1
            self.used[hour, dimension] += parse_signed(quantity)
            event = {
                "id": f"evt-{self.events}",
                "dimension": dimension,
                "quantity": quantity,
                "timestamp": timestamps.render(now),
            }
            self.waiting.append(event)
        self.deliver()

    def deliver(self) -> bool:
        """Send what waits, keep it when nobody answers; whether nothing waits any more."""
        try:
            reply = request(self.port, "POST", "/v1/usage", self.waiting)
        except (OSError, http.client.HTTPException):
            return False
        if reply.status != 202:
            raise StageError(f"the sidecar refused usage: {reply.body.decode()}")
        self.repeats += reply.document()["duplicates"]
        self.delivered, self.waiting = self.waiting, []
        return True

    def miss_the_answer(self) -> None:
        """Take the last answer as never seen: its events are sent again under their ids."""
        self.waiting = self.delivered + self.waiting


class Play:
    """The demonstration, step by step."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self.stage = stage
        self.screen = screen
        self.app = App(stage.api)

    def perform(self) -> int:
        """Play every step and return the exit code."""
        self._closed_gate()
        self._open_gate()
        self._verify_signature()
        self._work()
        return self._reckon()

    def _closed_gate(self) -> None:
        self.screen.step("A buyer starts the product without a subscription")
        self.stage.start_emulator()
        # A little behind, so that the 5 minutes of the next step end at the time of day.
        self.stage.tell("/_emulator/clock", {"now": timestamps.render(datetime.now(UTC) - timedelta(minutes=5))})
        self.stage.tell("/_emulator/customers", {"action": "unsubscribe"})
        self.stage.start_sidecar()
        entitlement = wait_for("a refusal", lambda: self._entitlement("denied"))
        ready = request(self.stage.probes, "GET", "/readyz")
        self.screen.say(f"GET /v1/entitlement -> entitled: {entitlement['entitled']}, {entitlement['reason']}")
        self.screen.say(f"GET /readyz -> {ready.status}: {ready.document()['reason']}")

    def _open_gate(self) -> None:
        self.screen.step("The buyer subscribes; the sidecar asks again within 5 minutes")
        self.stage.tell("/_emulator/customers", {"action": "entitle"})
        self.stage.tell("/_emulator/clock", {"advance": "5m"})
        entitlement = wait_for("the entitlement", lambda: self._entitlement("entitled"))
        ready = request(self.stage.probes, "GET", "/readyz")
        self.screen.good(
            f"the gate is open: {entitlement['state']}, {entitlement['reason']}; /readyz -> {ready.status}"
        )

    def _entitlement(self, state: str) -> Any:
        found = request(self.stage.api, "GET", "/v1/entitlement").document()
        return found if found["state"] == state else None

    def _verify_signature(self) -> None:
        self.screen.step("The app has AWS sign a nonce of its own and verifies that with the seller's public key")
        nonce = secrets.token_urlsafe(32)
        reply = request(self.stage.api, "POST", "/v1/attestations", {"nonce": nonce})
        signature = reply.document()["signature"]
        key = str(self.stage.folder / "1.pem")
        verify = ("verify-token", "--public-key", key, "--product-code", "0abc123example", "--nonce", nonce)
        verdict = self.stage.command(*verify, stdin=signature.encode())
        if verdict.returncode:
            raise StageError(f"the signature is not valid: {verdict.stderr.decode()}")
        self.screen.good("verify-token: AWS's signature is right (PS256), over our nonce")
        broken = signature[:-8] + ("AAAAAAAA" if signature[-8:] != "AAAAAAAA" else "BBBBBBBB")
        verdict = self.stage.command(*verify, stdin=broken.encode())
        self.screen.good(f"a tampered one is refused: {verdict.stderr.decode().strip()}")

    def _work(self) -> None:
        self.screen.step(f"The app works for {HOURS} hours; one hour takes {3600 // SPEED} seconds here")
        clock = self.stage.tell("/_emulator/clock", {"speed": SPEED})
        first = start_of(hour_of(datetime.fromisoformat(clock["now"]))) + timedelta(hours=1)
        faults = [
            (first + timedelta(hours=1, minutes=5), self._drop_response),
            (first + timedelta(hours=1, minutes=40), self._kill),
        ]
        while (now := self._now()) < first + timedelta(hours=HOURS):
            if faults and now >= faults[0][0]:
                faults.pop(0)[1]()
            # Near the full hour the app rests, so that each hour of the table below is exactly what it sent.
            if now.minute < 52:
                self.app.work(now)
            self.screen.progress(f"{timestamps.render(now)[:16]}Z  {self.app.events} events sent")
        wait_for("the last acknowledgement", self.app.deliver)
        again = f"{self.app.repeats} of them sent twice and counted once"
        self.screen.good(f"{self.app.events} events acknowledged, {again}")

    def _now(self) -> datetime:
        return datetime.fromisoformat(request(self.stage.emulator, "GET", "/_emulator/clock").document()["now"])

    def _drop_response(self) -> None:
        self.stage.tell("/_emulator/faults", {"operation": "MeterUsage", "fault": "drop-response", "count": 1})
        self.screen.say("from now on AWS takes the next record, but its answer is lost on the way")

    def _kill(self) -> None:
        self.stage.tell("/_emulator/clock", {"speed": 1})
        self.stage.kill_sidecar()
        self.app.miss_the_answer()
        self.app.work(self._now())
        self.screen.say("SIGKILL to the sidecar; the app will send its last events again, under the same ids")
        self.stage.start_sidecar()
        wait_for("the entitlement after the restart", lambda: self._entitlement("entitled"))
        self.stage.tell("/_emulator/clock", {"speed": SPEED})

    def _reckon(self) -> int:
        self.screen.step("What the app sent, and what AWS's side holds")
        wait_for("the last records", lambda: not self._unsent())
        self.stage.tell("/_emulator/clock", {"speed": 1})
        status = request(self.stage.api, "GET", "/v1/status").document()
        code = self.stage.stop_sidecar()
        held: dict[tuple[str, str], int] = defaultdict(int)
        ids: dict[tuple[str, str], str] = {}
        for record in request(self.stage.emulator, "GET", "/_emulator/records").document()["records"]:
            slot = record["Timestamp"], record["UsageDimension"]
            held[slot] += parse_signed(record["UsageQuantity"])
            ids[slot] = record["MeteringRecordId"][:8]
        self.screen.say(f"{'hour':<22}{'dimension':<12}{'app sent':>12}{'AWS holds':>12}  metering record")
        wrong = 0
        for slot in sorted(self.app.used.keys() | held.keys()):
            used, taken = self.app.used[slot], held[slot]
            line = f"{slot[0]:<22}{slot[1]:<12}{render(used):>12}{render(taken):>12}  {ids.get(slot, '-')}"
            wrong += used != taken
            (self.screen.say if used == taken else self.screen.bad)(line)
        for dimension, terms in status["conservation"]["dimensions"].items():
            names = ("open", "sealed", "submitted", "unbilled", "remainder")
            parts = " + ".join(f"{terms[name]} {name}" for name in names)
            self.screen.say(f"{dimension}: {terms['accepted']} accepted = {parts}")
        balanced = status["conservation"]["balanced"]
        verdict = self.screen.good if balanced else self.screen.bad
        verdict("conservation: every accepted unit is in exactly one place" if balanced else "conservation is broken")
        if wrong or code or not balanced:
            self.screen.bad(f"{wrong} hours differ; the sidecar ended with {code}")
            return ExitCode.FAILED
        self.screen.good("the buyer is charged exactly what the app reported")
        return ExitCode.CLEAN

    def _unsent(self) -> bool:
        status = request(self.stage.api, "GET", "/v1/status").document()
        terms = status["conservation"]["dimensions"].values()
        return any(term["sealed"] != "0" or term["open"] != "0" for term in terms)
