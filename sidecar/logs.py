"""Log lines: events with stable dotted names and keys, on standard error, JSON in a pod and readable on a terminal.

Redacts secrets at any depth: values of keys that name a secret, and text that looks like a signed token. Messages of
libraries come out in the same form, from `warning` up.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any, Protocol, TextIO, cast

import structlog

from sidecar.domain import timestamps
from sidecar.settings import LogFormat, LogLevel

REDACTED = "[redacted]"
_SECRET_KEYS = ("signature", "nonce", "token", "authorization", "tags", "tag", "password", "secret", "cookie")
_SIGNED_TOKEN = re.compile(r"eyJ[-\w]+\.[-\w]+\.[-\w]*")
_FIRST = ("timestamp", "level", "event")
_DEEPEST = 6
"""Levels of nested values in a line."""


class LogStream(Protocol):
    """The destination of lines."""

    def write(self, text: str, /) -> object:
        """Write text."""

    def flush(self) -> None:
        """Flush it."""

    def isatty(self) -> bool:
        """Return whether it is a terminal."""


def configure(level: LogLevel, form: LogFormat, stream: LogStream | None = None) -> None:
    """Set up structlog and the standard library's logging for this process.

    Lines go to standard error if no `stream` is given.
    """
    stream = sys.stderr if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            _renderer(form, terminal=stream.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        context_class=dict,
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _Unfailing(stream))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Relay(logging.WARNING)], level=logging.WARNING, force=True)


class _Unfailing:
    """A stream that raises no error: a line that cannot be written (disk full, reader gone) is lost."""

    def __init__(self, stream: LogStream) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def is_console(form: LogFormat, *, terminal: bool) -> bool:
    """Return whether lines of this form are for people."""
    return form is LogFormat.CONSOLE or (form is LogFormat.AUTO and terminal)


def _renderer(form: LogFormat, *, terminal: bool) -> structlog.typing.Processor:
    if is_console(form, terminal=terminal):
        from sidecar.terminal.colors import Paint, wanted  # noqa: PLC0415 - not in a pod
        from sidecar.terminal.console import ConsoleLines  # noqa: PLC0415 - as above
        from sidecar.terminal.size import columns_of  # noqa: PLC0415 - as above

        return ConsoleLines(Paint(terminal and wanted()), (lambda: columns_of(sys.stderr)) if terminal else None)
    return structlog.processors.JSONRenderer(_dumps)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace secrets, at any depth."""
    for key, value in event.items():
        event[key] = _clean(key, value, _DEEPEST)
    return event


def _clean(key: str, value: Any, depth: int) -> Any:
    if value is not None and key.lower().endswith(_SECRET_KEYS):
        return REDACTED
    if isinstance(value, str):
        return _SIGNED_TOKEN.sub(REDACTED, value) if "eyJ" in value else value
    if isinstance(value, Mapping):
        return {str(name): _clean(str(name), member, depth - 1) for name, member in value.items()} if depth else "..."
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", member, depth - 1) for member in value] if depth else "..."
    return value


def _dumps(event: Mapping[str, Any], **options: Any) -> str:
    options["default"] = _plain
    return json.dumps({key: event[key] for key in _FIRST if key in event} | dict(event), **options)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return timestamps.render(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return _SIGNED_TOKEN.sub(REDACTED, str(value))


class _Relay(logging.Handler):
    """Forwards messages that libraries log through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        log = structlog.get_logger()
        method = {logging.WARNING: log.warning, logging.ERROR: log.error}.get(record.levelno, log.critical)
        method("library.message", library=record.name, message=message, exc_info=record.exc_info)
