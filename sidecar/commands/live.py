"""`run` on a terminal: log lines that scroll, and below them one line with the state.

Loaded only if standard error is a terminal. Reads the status once a second and draws when the line has changed; a
paused terminal stops the drawing and nothing else.
"""

import asyncio
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Self, TextIO

from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.hours import hour_of
from sidecar.domain.metering.quantity import render
from sidecar.domain.metering.schedule import due_at, stretch
from sidecar.domain.metering.sealing import sealable_at
from sidecar.domain.plaintext import pluralize
from sidecar.domain.status import Status
from sidecar.logs import is_console
from sidecar.services.health import HealthReport
from sidecar.settings import MeteringSettings, Settings
from sidecar.terminal.colors import Color, Paint, is_dumb, wanted
from sidecar.terminal.durations import format_duration
from sidecar.terminal.text import fit, printable, width
from sidecar.terminal.writer import TerminalWriter

_EVERY = 1.0
"""Seconds between two reads of the status."""
_REST = 20
"""The pause after a read is at least this many times longer than the read."""
_RATE_OVER = 5
"""Reads over which the rate of events is measured."""
_NAMED = 3
"""Up to this many dimensions are named; more are counted."""
_BETWEEN = " | "
_SHORTEST = 8
"""Fewer cells than this cannot show a part."""

Part = tuple[str, Color | None]


class LiveTerminal:
    """The terminal of a running sidecar."""

    def __init__(self, settings: Settings, terminal: TextIO) -> None:
        self.stream = TerminalWriter(terminal.fileno(), terminal.encoding)
        self._metering = settings.metering
        self._drawn = is_console(settings.log.format, terminal=True) and not is_dumb()
        self._paint = Paint(wanted())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the line; later output is written directly."""
        self.stream.close()

    async def follow(self, health: HealthReport) -> None:
        """Show the status until cancelled; does nothing if the terminal or the log format has no place for a line."""
        if not self._drawn:
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGWINCH, signal.SIGCONT):
            loop.add_signal_handler(number, self.stream.redraw)
        looks: deque[tuple[float, int]] = deque(maxlen=_RATE_OVER + 1)
        while True:
            began = loop.time()
            status = await health.status()
            looks.append((loop.time(), status.accepted_events))
            parts = list(describe(status, self._metering, _rate(looks)))
            self.stream.show(partial(join, parts, self._paint))
            # A ledger with very many open tag sets takes longer to read, and intake of usage needs the same thread.
            await asyncio.sleep(max(_EVERY, _REST * (loop.time() - began)))


def describe(status: Status, metering: MeteringSettings, rate: float) -> Iterator[Part]:
    """Yield the parts of the line, the most important first."""
    state = status.entitlement.state
    yield str(state), Color.GOOD if state is State.ENTITLED else Color.BAD
    codes = sorted({finding.code for finding in status.findings})
    if codes:
        yield f"{pluralize(len(status.findings), 'fault')}: {', '.join(codes)}", Color.BAD
    yield f"metering {status.metering}", None if status.metering == "ok" else Color.BAD
    if status.oldest_unsent_hour is not None:
        left = status.oldest_unsent_hour + metering.window - status.now
        deadline = f"{format_duration(left)} left" if left > timedelta() else "too late"
        yield f"unsent from {status.oldest_unsent_hour:%H:%M}Z ({deadline})", Color.DOUBTFUL
    yield _next(status, metering), None
    yield _open(status), None
    yield f"{rate:.1f} events/s", None
    if not codes:
        yield "no faults", None


def join(parts: Sequence[Part], paint: Paint, columns: int) -> str:
    """Return as much of the line as fits into `columns` cells."""
    drawn: list[str] = []
    left = columns
    for text, color in parts:
        shown = printable(text)
        between = _BETWEEN if drawn else ""
        room = left - len(between)
        if width(shown) > room and drawn and room < _SHORTEST:
            break
        cut = fit(shown, max(room, 0))
        drawn.append(between + (cut if color is None else paint(cut, color)))
        left = room - width(cut)
    return "".join(drawn)


def _next(status: Status, metering: MeteringSettings) -> str:
    """Return what happens next: the first try of a sealed hour that has not been due yet, or the next seal."""
    names = [dimension.name for dimension in metering.dimensions]
    if status.oldest_unsent_hour is not None:
        spread = stretch(metering.spread, dimensions=len(names), settle=metering.settle)
        hour = hour_of(status.oldest_unsent_hour)
        dues = [due_at(hour, pod=status.pod, dimension=name, settle=metering.settle, spread=spread) for name in names]
        if dues and min(dues) > status.now:
            return f"submits {min(dues):%H:%M:%S}Z"
    return f"seals {sealable_at(hour_of(status.now - metering.settle), metering.settle):%H:%M}Z"


def _open(status: Status) -> str:
    used = {name: terms.open for name, terms in status.conservation.items() if terms.open}
    if len(used) > _NAMED:
        return f"open usage in {len(used)} dimensions"
    return "open " + (", ".join(f"{name} {render(amount)}" for name, amount in used.items()) or "nothing")


def _rate(looks: deque[tuple[float, int]]) -> float:
    """Return the events per second of the last reads."""
    (began, before), (ended, after) = looks[0], looks[-1]
    return (after - before) / (ended - began) if ended > began else 0.0
