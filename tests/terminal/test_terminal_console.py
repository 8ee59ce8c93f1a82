"""Log lines for a person."""

import pytest

from sidecar.terminal.colours import Paint
from sidecar.terminal.console import ConsoleLines

AT = {"timestamp": "2026-11-23T10:20:00.123456Z", "level": "info"}


SENTENCES = "                  detail: two words\n                  cure: Mend it."


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"event": "sidecar.stopped"}, "10:20:00Z info    sidecar.stopped"),
        (
            {"event": "metering.hour_sealed", "quantity": "1.5", "hour": "2026-11-23T09:00:00Z"},
            "10:20:00Z info    metering.hour_sealed       quantity=1.5 hour=2026-11-23T09:00:00Z",
        ),
        (
            {
                "event": "x.y",
                "cure": "Mend it.",
                "detail": "two words",
                "why": "",
                "code": "c",
                "until": None,
                "id": "",
            },
            '10:20:00Z info    x.y                        code=c id=""\n' + SENTENCES,
        ),
        ({"event": "x.y", "id": "\x1b[2J"}, "10:20:00Z info    x.y                        id=\\x1b[2J"),
        (
            {"event": "x.y", "level": "error", "exception": "Traceback:\n  KeyError: '\x1b[2J'"},
            "10:20:00Z error   x.y\nTraceback:\n  KeyError: '\\x1b[2J'",
        ),
    ],
)
def test_line_is_readable(event: dict[str, object], expected: str) -> None:
    """Time, level and event stand in columns, sentences below them; what is not there is left out."""
    assert expected == ConsoleLines(Paint(on=False))(None, "", {**AT, **event})


def test_level_has_colour() -> None:
    """An error is seen from afar."""
    assert "\033[31;1merror  \033[0m" in ConsoleLines(Paint(on=True))(None, "", {**AT, "event": "x", "level": "error"})
