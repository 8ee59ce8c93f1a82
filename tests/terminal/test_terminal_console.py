"""Log lines for a person."""

import pytest

from sidecar.terminal.colors import Paint
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


def test_level_has_color() -> None:
    """An error is seen from afar."""
    assert "\033[31;1merror  \033[0m" in ConsoleLines(Paint(on=True))(None, "", {**AT, "event": "x", "level": "error"})


def test_narrow_terminal_breaks_nothing() -> None:
    """On 80 columns words and values stay whole: pairs go to a line below, sentences are wrapped at their words."""
    event = {
        "event": "sidecar.started",
        "version": "0.1.0",
        "api": "127.0.0.1:8787",
        "pod": "6f1d7c1e-0000-4000-8000-00000000000a",
        "mode": "emulator",
        "detail": "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen",
    }
    lines = ConsoleLines(Paint(on=False), lambda: 79)(None, "", {**AT, **event}).splitlines()
    assert max(map(len, lines)) <= 79
    words = [word for line in lines for word in line.split()]
    assert "pod=6f1d7c1e-0000-4000-8000-00000000000a" in words
    assert ["detail:", *str(event["detail"]).split()] == words[words.index("detail:") :]


def test_wide_value_is_left_whole() -> None:
    """A value that no line holds goes to a line of its own, for it can still be copied."""
    value = "x" * 100
    lines = ConsoleLines(Paint(on=False), lambda: 79)(None, "", {**AT, "event": "x.y", "a": "1", "id": value})
    assert f"                  id={value}" == lines.splitlines()[1]
