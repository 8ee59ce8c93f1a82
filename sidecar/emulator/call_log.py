"""The calls of SDKs, each with its answer and the rule that decided: for the terminal and the console.

Holds the newest calls in memory; the CloudTrail-shaped log is in `sidecar.emulator.protocol.trail`. Refuses to hold a
nonce, a token, a signature or the value of a tag: parameters and elements are those of that log, without client tokens.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sidecar.emulator.protocol.decisions import EXPLANATIONS, Rule
from sidecar.emulator.protocol.instants import format_instant

KEPT = 500
"""How many calls the console can show."""

_PLAIN = re.compile(r"[\w.:/@+*-]+", re.ASCII)
_NO_ANSWER = "no answer"


@dataclass(slots=True)
class CallNotes:
    """What is known of a call while it is answered."""

    operation: str
    request_id: str
    identity: str | None = None
    """None until the signature has been verified."""
    region: str | None = None
    parameters: Mapping[str, Any] | None = None
    fault: str | None = None
    status: int | None = None
    """None if the connection was closed without an answer."""
    error: str | None = None
    message: str | None = None
    elements: Mapping[str, Any] | None = None
    rule: Rule = Rule.SHAPE


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A call that was answered, or left without an answer."""

    number: int
    """Counts the calls of this process, from 1."""
    at: datetime
    """The emulator's time."""
    notes: CallNotes = field(repr=False)

    def document(self) -> dict[str, Any]:
        """Return the call in JSON types."""
        notes = self.notes
        return {
            "time": format_instant(self.at),
            "number": self.number,
            "operation": notes.operation,
            "identity": notes.identity,
            "region": notes.region,
            "parameters": notes.parameters,
            "status": notes.status,
            "error": notes.error,
            "message": notes.message,
            "elements": notes.elements,
            "rule": notes.rule.value,
            "rule_text": EXPLANATIONS[notes.rule].sentence,
            "fault": notes.fault,
            "request_id": notes.request_id,
        }

    def line(self) -> str:
        """Return the call as one line for a terminal."""
        notes = self.notes
        parameters = _pairs(notes.parameters)
        asked = " ".join((notes.operation, _text(notes.identity or "-"), *parameters))
        if notes.status is None:
            answered = _NO_ANSWER
        elif notes.error is not None:
            answered = f"{notes.status} {notes.error}: {notes.message}"
        else:
            answered = " ".join((str(notes.status), *_pairs(notes.elements)))
        fault = "" if notes.fault is None else f" fault={notes.fault}"
        return f"{format_instant(self.at.replace(microsecond=0))} {asked} -> {answered} [{notes.rule}{fault}]"


class CallLog:
    """The newest calls."""

    def __init__(self) -> None:
        self._calls: deque[LoggedCall] = deque(maxlen=KEPT)
        self._count = 0
        self._listener: Callable[[LoggedCall], object] = lambda _: None

    def listen(self, listener: Callable[[LoggedCall], object]) -> None:
        """Call `listener` with each later call."""
        self._listener = listener

    def add(self, notes: CallNotes, now: datetime) -> None:
        """Log a call."""
        self._count += 1
        call = LoggedCall(self._count, now, notes)
        self._calls.append(call)
        self._listener(call)

    @property
    def first(self) -> int | None:
        """The number of the oldest call that is kept; None if none is."""
        return self._calls[0].number if self._calls else None

    @property
    def last(self) -> int:
        """The number of the newest call, 0 before the first one."""
        return self._count

    def after(self, number: int) -> list[LoggedCall]:
        """Return the calls with a higher number, the oldest first."""
        return [call for call in self._calls if call.number > number]

    def clear(self) -> None:
        """Forget the calls; the numbers continue."""
        self._calls.clear()


def without_tokens(parameters: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the parameters that may be shown: CloudTrail has the client token of a checkout, a terminal has not."""
    return None if parameters is None else {name: value for name, value in parameters.items() if name != "clientToken"}


def _pairs(members: Mapping[str, Any] | None) -> list[str]:
    return [f"{name}={_text(value)}" for name, value in (members or {}).items() if value not in (None, False)]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{len(value)}"
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
