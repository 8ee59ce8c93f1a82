"""The pictures of the documents, drawn as SVG from the repository alone: the same source gives the same bytes.

`make pictures` writes them into docs/pictures; a test compares the files with what is drawn.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from html import escape
from itertools import groupby

import pyte
from pyte.screens import Char

from sidecar.commands.status.screen import Page, compose
from sidecar.terminal.colors import Paint
from tests.commands.statuses import served
from tests.support.reading import ROOT

FOLDER = ROOT / "docs" / "pictures"
_COLUMNS = 79
_ADVANCE, _HEIGHT = 8.4, 18
"""Of a character at 14 px, in px."""
_COLORS = {
    "default": "#d4d4d4",
    "red": "#f48771",
    "green": "#89d185",
    "brown": "#e5c07b",
    "blue": "#79b8ff",
    "magenta": "#c586c0",
    "cyan": "#56b6c2",
}
_MONOSPACE = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_SANS = "system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


def draw_status() -> str:
    """Return the screen of `status`, as a terminal of 80 columns shows it."""
    lines = compose(served(), Page("http://127.0.0.1:8787", timedelta(hours=6), _COLUMNS, Paint(on=True)))
    screen = pyte.Screen(_COLUMNS + 1, len(lines) + 1)
    pyte.Stream(screen).feed("$ marketplace-sidecar status\r\n" + "\r\n".join(lines))
    rows = [row for number in range(screen.lines) for row in _runs(screen, number)]
    width, height = round((_COLUMNS + 1) * _ADVANCE) + 32, screen.lines * _HEIGHT + 56
    dots = [
        f'<circle cx="{20 + 20 * number}" cy="18" r="6" fill="{color}"/>'
        for number, color in enumerate(("#f48771", "#e5c07b", "#89d185"))
    ]
    return _svg(
        width,
        height,
        "The status screen of a running sidecar",
        [f'<rect width="{width}" height="{height}" rx="8" fill="#1e1e1e"/>', *dots],
        [f'<g font-family="{_MONOSPACE}" font-size="14" xml:space="preserve">', *rows, "</g>"],
    )


def draw_pod() -> str:
    """Return a drawing of the pod: app and sidecar, the ledger, the kubelet, and AWS."""
    boxes = [
        _box(16, 16, 556, 296, "#f6f8fa", "#8c959f", dashed=True),
        _box(40, 64, 164, 160, "#ddf4ff", "#0969da"),
        _box(356, 64, 192, 160, "#dafbe1", "#1a7f37"),
        _box(356, 256, 192, 40, "#fff8c5", "#9a6700"),
        _box(738, 64, 184, 160, "#fff1e5", "#bc4c00"),
        _box(40, 352, 164, 40, "#eaeef2", "#57606a"),
    ]
    texts = [
        _text(32, 42, "Pod", bold=True),
        _text(122, 92, "Your app", bold=True, middle=True),
        _text(122, 124, "runs while", middle=True),
        _text(122, 144, "entitled is true", middle=True),
        _text(452, 92, "marketplace-sidecar", bold=True, middle=True),
        _text(452, 124, "API 127.0.0.1:8787", middle=True),
        _text(452, 144, "verifies AWS's signature", middle=True),
        _text(452, 164, "seals each finished hour", middle=True),
        _text(452, 184, "probes on pod IP:8788", middle=True),
        _text(452, 281, "ledger on disk (SQLite)", middle=True),
        _text(830, 92, "AWS Marketplace", bold=True, middle=True),
        _text(830, 112, "Metering", bold=True, middle=True),
        _text(830, 144, "one quantity per pod,", middle=True),
        _text(830, 164, "dimension and hour", middle=True),
        _text(122, 377, "kubelet", bold=True, middle=True),
        _text(280, 88, "GET /v1/entitlement", small=True, middle=True),
        _text(280, 138, "POST /v1/usage", small=True, middle=True),
        _text(280, 188, "202: it is on disk", small=True, middle=True),
        _text(658, 88, "RegisterUsage", small=True, middle=True),
        _text(658, 104, "at the start", small=True, middle=True),
        _text(658, 142, "MeterUsage", small=True, middle=True),
        _text(658, 158, "every hour", small=True, middle=True),
        _text(386, 366, "/startupz /readyz /livez", small=True, middle=True),
    ]
    arrows = [
        _arrow("M204 96 H350"),
        _arrow("M204 146 H350"),
        _arrow("M356 196 H210"),
        _arrow("M548 112 H732"),
        _arrow("M548 166 H732"),
        _arrow("M452 224 V250"),
        _arrow("M204 372 H580 Q592 372 592 360 V216 Q592 204 580 204 H554"),
    ]
    return _svg(936, 408, "The pod: the app, the sidecar with its ledger, the kubelet, and AWS", boxes, arrows, texts)


PICTURES: dict[str, Callable[[], str]] = {"status.svg": draw_status, "pod.svg": draw_pod}
"""What draws each file."""


def _runs(screen: pyte.Screen, number: int) -> Iterator[str]:
    """Yield the words of a row with one color each, at their place."""
    row = screen.buffer[number]

    def style(column: int) -> tuple[str, bool]:
        char: Char = row[column]
        return char.fg, char.bold

    for (color, bold), columns in groupby(range(screen.columns), style):
        places = list(columns)
        text = "".join(row[column].data for column in places)
        if text.strip():
            begin = places[0] + len(text) - len(text.lstrip())
            weight = ' font-weight="bold"' if bold else ""
            fill = _COLORS.get(color, _COLORS["default"])
            x, y = 16 + begin * _ADVANCE, 54 + number * _HEIGHT
            place = f'x="{x:.1f}" y="{y}" textLength="{len(text.strip()) * _ADVANCE:.1f}"'
            yield f'<text {place} fill="{fill}"{weight}>{escape(text.strip())}</text>'


def _box(x: int, y: int, width: int, height: int, fill: str, stroke: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}" stroke="{stroke}" '
        f'stroke-width="1.5"{dash}/>'
    )


def _text(x: int, y: int, text: str, *, bold: bool = False, small: bool = False, middle: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    anchor = ' text-anchor="middle"' if middle else ""
    return (
        f'<text x="{x}" y="{y}" font-family="{_SANS}" font-size="{12 if small else 14}" fill="#1f2328"'
        f"{weight}{anchor}>{escape(text)}</text>"
    )


def _arrow(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="#57606a" stroke-width="1.5" marker-end="url(#head)"/>'


def _svg(width: int, height: int, title: str, *parts: list[str]) -> str:
    head = (
        '<defs><marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="#57606a"/></marker></defs>'
    )
    begin = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    white = f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>'
    drawn = [line for part in parts for line in part]
    return "\n".join([begin, f"<title>{escape(title)}</title>", head, white, *drawn, "</svg>"]) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
