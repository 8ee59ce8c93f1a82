"""What a log line holds, and what it never does."""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import structlog

from sidecar.logs import REDACTED, configure
from sidecar.settings import LogFormat, LogLevel

TOKEN = "eyJhbGciOiJQUzI1NiJ9.eyJub25jZSI6IngifQ.c2lnbmF0dXJl"

Lines = Callable[[], list[dict[str, object]]]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = handlers, level


@pytest.fixture(name="lines")
def _lines() -> Lines:
    """Log as JSON from `info` up; return what has been written so far."""
    stream = io.StringIO()
    configure(LogLevel.INFO, LogFormat.AUTO, stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_is_json(lines: Lines) -> None:
    """A line has the event, its level, the time in UTC and its own keys."""
    structlog.get_logger().warning("metering.record_accepted", dimension="requests", quantity="1.5")
    (line,) = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", str(line["timestamp"]))
    assert ["timestamp", "level", "event", "dimension", "quantity"] == list(line)
    assert ("warning", "metering.record_accepted") == (line["level"], line["event"])


def test_values_become_plain(lines: Lines) -> None:
    """Times, durations, decimals and paths are written as a person expects them."""
    structlog.get_logger().info(
        "values",
        at=datetime(2026, 11, 23, 10, tzinfo=UTC),
        after=timedelta(minutes=1.5),
        day=datetime(2026, 11, 23, tzinfo=UTC).date(),
        amount=Decimal("1.50"),
        path=Path("/x"),
        level_name=LogLevel.INFO,
    )
    (line,) = lines()
    expected = {
        "at": "2026-11-23T10:00:00Z",
        "after": 90.0,
        "day": "2026-11-23",
        "amount": "1.50",
        "path": "/x",
        "level_name": "info",
    }
    assert expected == {name: line[name] for name in expected}


@pytest.mark.parametrize(
    "name",
    ["signature", "nonce", "token", "authorization", "tags", "Signature", "session_token", "ClientToken", "Set-Cookie"],
)
def test_secret_keys_are_redacted(lines: Lines, name: str) -> None:
    """The value of a key that names a secret never appears, however deep it lies."""
    structlog.get_logger().info("x", **{name: "hunter2"}, request={"headers": [{name: ["hunter2"]}]})
    (line,) = lines()
    assert REDACTED == line[name]
    assert line["request"] == {"headers": [{name: REDACTED}]}


def test_tokens_are_redacted_anywhere(lines: Lines) -> None:
    """A signed token is cut out of any text, nested value, exception and foreign message."""
    log = structlog.get_logger()
    message = f"got {TOKEN}"
    log.info(message, body=f"<{TOKEN}>", parts=(TOKEN, {"a": TOKEN}), error=ValueError(TOKEN))
    log.error("failed", exc_info=ValueError(TOKEN))
    logging.getLogger("botocore").error("got %s", TOKEN)
    assert 3 == len(lines())
    assert "eyJ" not in json.dumps(lines())
    assert lines()[0]["body"] == f"<{REDACTED}>"


def test_deep_values_end(lines: Lines) -> None:
    """A value that holds itself does not keep the logger busy without end."""
    endless: dict[str, object] = {}
    endless["again"] = [endless]
    structlog.get_logger().info("x", value=endless)
    assert '"..."' in json.dumps(lines())


def test_level_is_a_threshold(lines: Lines) -> None:
    """What is less severe than the level is not written."""
    structlog.get_logger().debug("quiet")
    structlog.get_logger().info("loud")
    assert ["loud"] == [line["event"] for line in lines()]


def test_libraries_log_from_warning(lines: Lines) -> None:
    """The standard library's logging comes out in the same form, from `warning` up."""
    log = logging.getLogger("aiohttp.server")
    log.info("noise")
    log.warning("slow %s", "client")
    log.critical("broken")
    found = [(line["event"], line["level"], line["library"], line["message"]) for line in lines()]
    assert [
        ("library.message", "warning", "aiohttp.server", "slow client"),
        ("library.message", "critical", "aiohttp.server", "broken"),
    ] == found


def test_bad_arguments_are_survived(lines: Lines) -> None:
    """A library's message whose arguments do not fit is written as it stands."""
    (relay,) = (handler for handler in logging.getLogger().handlers if type(handler).__module__ == "sidecar.logs")
    relay.handle(logging.makeLogRecord({"msg": "%s of %s", "args": ("one",), "levelno": logging.ERROR}))
    assert [("error", "%s of %s")] == [(line["level"], line["message"]) for line in lines()]


def test_exception_is_one_line(lines: Lines) -> None:
    """A traceback stays inside its JSON line."""
    structlog.get_logger().error("failed", exc_info=KeyError("cause"))
    (line,) = lines()
    assert "KeyError: 'cause'" in str(line["exception"])


def test_context_is_bound_once(lines: Lines) -> None:
    """What is bound to the context stands on every later line."""
    structlog.contextvars.bind_contextvars(pod="p-1")
    structlog.get_logger().info("x")
    assert ["p-1"] == [line["pod"] for line in lines()]


@pytest.mark.parametrize(
    ("form", "stream", "json_lines"),
    [
        (LogFormat.AUTO, io.StringIO(), True),
        (LogFormat.AUTO, Terminal(), False),
        (LogFormat.JSON, Terminal(), True),
        (LogFormat.CONSOLE, io.StringIO(), False),
    ],
)
def test_form_follows_stream(form: LogFormat, stream: io.StringIO, *, json_lines: bool) -> None:
    """`auto` is console on a terminal and JSON otherwise; the other forms hold anywhere."""
    configure(LogLevel.INFO, form, stream)
    structlog.get_logger().error("x.y", nonce="hunter2", exc_info=ValueError(TOKEN))
    written = stream.getvalue()
    assert json_lines == written.startswith("{")
    assert "hunter2" not in written
    assert "eyJ" not in written
    assert "x.y" in written
