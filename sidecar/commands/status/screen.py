"""The status document as lines for a person: first what is wrong, then what happens now, then where every unit is.

Takes the document as it came over the wire, perhaps from another version: what is not there is a dash. Everything in it
is made printable, and no line is longer than asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sidecar.domain import timestamps
from sidecar.domain.metering import quantity
from sidecar.domain.policy import EntitlementCheck
from sidecar.terminal.colors import Color, Paint
from sidecar.terminal.durations import format_duration
from sidecar.terminal.text import pad, printable, width, wrap

_LABEL = 14
_NARROWEST = 24
"""Fewer columns than this for the text, and the label gets a line of its own."""
_GOOD = frozenset({"entitled", "ok", "measuring"})
_DOUBTFUL = frozenset({"pending", "unavailable", "failing", "waiting"})
_TERMS = ("accepted", "open", "sealed", "submitted", "unbilled", "remainder")
_KILO = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """Where the lines go, and where the document came from."""

    place: str
    window: timedelta
    """How long after its start AWS takes an hour."""
    columns: int
    paint: Paint


def compose(document: Mapping[str, Any], page: Page) -> list[str]:
    """Return the whole screen."""
    now = _instant(document, "now")
    return [
        *_headline(document, page, now),
        "",
        *_entitlement(document, page, now),
        *_metering(document, page),
        *_sources(document, page),
        *_faults(document, page, now),
        *_progress(document, page, now),
        *_surroundings(document, page),
        "",
        *_conservation(document, page),
    ]


def row(page: Page, label: str, text: str, head: str = "", color: Color | None = None) -> Iterator[str]:
    """Yield a labeled text, wrapped; its beginning may be a word in a color."""
    columns = page.columns - _LABEL
    narrow = columns < _NARROWEST
    lines = wrap(printable(f"{head}{text}"), max(page.columns - 2, 1) if narrow else columns)
    for number, line in enumerate(lines):
        shown = line
        if number == 0 and color is not None and line.startswith(head):
            shown = page.paint(head, color) + line.removeprefix(head)
        if narrow:
            if number == 0 and label:
                yield from wrap(label, page.columns)
            yield f"  {shown}" if page.columns > 2 else shown
        else:
            yield (pad(label, _LABEL) if number == 0 else " " * _LABEL) + shown


def show(instant: datetime | None) -> str:
    """Return an instant to the second."""
    return "-" if instant is None else timestamps.render(instant.replace(microsecond=0))


def _headline(document: Mapping[str, Any], page: Page, now: datetime | None) -> Iterator[str]:
    started = _instant(document, "started_at")
    up = f", up {format_duration(now - started)}" if now and started else ""
    text = f"marketplace-sidecar {_text(document, 'versions', 'sidecar')}{up}, at {show(now)}"
    for line in wrap(printable(text), page.columns):
        yield page.paint(line, Color.NAME)


def _entitlement(document: Mapping[str, Any], page: Page, now: datetime | None) -> Iterator[str]:
    state = _text(document, "entitlement", "state")
    since, until = _instant(document, "entitlement", "since"), _instant(document, "entitlement", "until")
    duration = f" ({format_duration(now - since)})" if now and since else ""
    text = f": {_text(document, 'entitlement', 'reason')}, since {show(since)}{duration}"
    text += f", until {show(until)}" if until else ""
    yield from row(page, "entitlement", text, state, _color(state))
    yield from row(page, "", _text(document, "entitlement", "detail"))


def _metering(document: Mapping[str, Any], page: Page) -> Iterator[str]:
    state = _text(document, "metering", "state")
    words = {
        "failing": ": the fault metering-failing names the cause",
        "gated": ": the fault metering-failing names the cause; /readyz answers 503",
        "stopped": ": the process is ending, or a loop has stopped",
    }
    yield from row(page, "metering", words.get(state, ""), state, _color(state))


def _sources(document: Mapping[str, Any], page: Page) -> Iterator[str]:
    sources = document.get("sources")
    for number, source in enumerate(sources if isinstance(sources, list) else []):
        state = _text(source, "state")
        text = f": {_text(source, 'dimension')} {_text(source, 'detail')}"
        yield from row(page, "" if number else "sources", text, state, _color(state))


def _faults(document: Mapping[str, Any], page: Page, now: datetime | None) -> Iterator[str]:
    faults = document.get("faults")
    if not isinstance(faults, list) or not faults:
        yield from row(page, "faults", "none")
        return
    yield from row(page, "faults", "", str(len(faults)), Color.BAD)
    alike: dict[tuple[str, str], list[object]] = {}
    for fault in faults:
        alike.setdefault((_text(fault, "code"), _text(fault, "cure")), []).append(fault)
    for (code, cure), found in alike.items():
        since = min((at for at in (_instant(fault, "since") for fault in found) if at), default=None)
        duration = f" ({format_duration(now - since)})" if now and since else ""
        # AWS refuses all dimensions for one reason; one line is enough for them.
        others = f"; and {len(found) - 1} more of this code" if len(found) > 1 else ""
        yield from row(page, "", f"{duration}: {_text(found[0], 'detail')}{others}", code, Color.BAD)
        yield from row(page, "", f" {cure}", "cure:", Color.NAME)


def _progress(document: Mapping[str, Any], page: Page, now: datetime | None) -> Iterator[str]:
    last, oldest = (_instant(document, "metering", name) for name in ("last_success_at", "oldest_unsent_hour"))
    yield from row(page, "last success", f"{show(last)}{_ago(now, last)}" if last else "never")
    yield from row(page, "oldest unsent", *_unsent(oldest, page.window, now))
    doubt = _text(document, "metering", "in_doubt")
    yield from row(page, "in doubt", "", doubt, None if doubt == "0" else Color.BAD)
    answers = _at(document, "metering", "answers")
    if isinstance(answers, dict) and answers:
        yield from row(page, "AWS's answers", ", ".join(f"{count} {answer}" for answer, count in answers.items()))
    accepted, repeated = _text(document, "events", "accepted"), _text(document, "events", "duplicates")
    yield from row(page, "events", f"{accepted} accepted, {repeated} duplicates since the start")


def _unsent(hour: datetime | None, window: timedelta, now: datetime | None) -> tuple[str, str, Color | None]:
    """Return what follows the hour, the hour, and how alarming it is."""
    if hour is None or now is None:
        return "", "none" if hour is None else show(hour), None
    left = hour + window - now
    if left <= timedelta():
        return ": its window has closed", show(hour), Color.BAD
    return (
        f": AWS takes it for {format_duration(left)} more",
        show(hour),
        Color.DOUBTFUL if left < window / 3 else None,
    )


def _surroundings(document: Mapping[str, Any], page: Page) -> Iterator[str]:
    yield from row(page, "product", _product(document))
    region, identity, mode = (_text(document, "marketplace", name) for name in ("region", "credentials", "mode"))
    yield from row(page, "marketplace", f"{mode}, Region {region}, credentials {identity}")
    yield from row(page, "api", page.place)
    yield from row(page, "pod", f"{_text(document, 'pod', 'uid')} ({_text(document, 'pod', 'source')})")
    size = _at(document, "ledger", "bytes")
    shown = _bytes(size) if isinstance(size, int) else "cannot be seen"
    yield from row(page, "ledger", f"{_text(document, 'ledger', 'path')}, {shown}")


def _product(document: Mapping[str, Any]) -> str:
    """Return the code with what proves the right: RegisterUsage has a public key, License Manager the product ID."""
    code = _text(document, "entitlement", "product_code")
    if _at(document, "entitlement", "check") == EntitlementCheck.REGISTER:
        return f"{code}, public key version {_text(document, 'entitlement', 'public_key_version')}"
    if _at(document, "entitlement", "product_id") is None:
        return code
    return f"{code}, product ID {_text(document, 'entitlement', 'product_id')}"


def _conservation(document: Mapping[str, Any], page: Page) -> Iterator[str]:
    dimensions = _at(document, "conservation", "dimensions")
    found = dimensions if isinstance(dimensions, dict) else {}
    rows = [
        [printable(str(name)), *(printable(_text(terms, term)) for term in _TERMS), _balanced(terms)]
        for name, terms in found.items()
    ]
    if not rows:
        faults = _at(document, "faults")
        unread = isinstance(faults, list) and any(_text(fault, "code") == "ledger-unavailable" for fault in faults)
        yield from wrap("the ledger cannot be read" if unread else "no usage has been taken yet", page.columns)
        return
    titled = [["dimension", *_TERMS, "balanced"], *rows]
    widths = [max(width(cells[column]) for cells in titled) for column in range(len(titled[0]))]
    if sum(widths) + 2 * (len(widths) - 1) > page.columns:
        for name, *terms, balanced in rows:
            yield from (page.paint(line, Color.NAME) for line in wrap(name, page.columns))
            parts = ", ".join(f"{term} {amount}" for term, amount in zip(_TERMS, terms, strict=True))
            yield from (f"  {line}"[: page.columns] for line in wrap(f"{parts}, balanced {balanced}", page.columns - 2))
        return
    for number, (name, *others) in enumerate(titled):
        amounts = [" " * (cells - width(each)) + each for each, cells in zip(others, widths[1:], strict=True)]
        line = "  ".join([pad(name, widths[0]), *amounts])
        yield page.paint(line, Color.BAD) if number and others[-1] == "no" else line


def _balanced(terms: object) -> str:
    """Return whether one dimension's terms add up, as far as they can be read."""
    amounts = []
    for term in _TERMS:
        try:
            amounts.append(quantity.parse_signed(_text(terms, term)))
        except ValueError:
            return "-"
    return "yes" if amounts[0] == sum(amounts[1:]) else "no"


def _color(state: str) -> Color:
    return Color.GOOD if state in _GOOD else Color.DOUBTFUL if state in _DOUBTFUL else Color.BAD


def _ago(now: datetime | None, then: datetime | None) -> str:
    return f" ({format_duration(now - then)} ago)" if now and then else ""


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "kB", "MB"):
        if amount < _KILO:
            return f"{amount:.0f} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= _KILO
    return f"{amount:.1f} GB"


def _at(document: object, *path: str) -> object:
    for name in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(name)
    return document


def _text(document: object, *path: str) -> str:
    found = _at(document, *path)
    return "-" if found is None or found == "" else str(found)


def _instant(document: object, *path: str) -> datetime | None:
    found = _at(document, *path)
    return timestamps.parse(found) if isinstance(found, str) else None


def lines_of(texts: Sequence[str], page: Page) -> Iterator[str]:
    """Yield paragraphs, wrapped."""
    for text in texts:
        yield from wrap(printable(text), page.columns)
