"""What a page of 50,000 series costs: reading it and storing its states; the baseline is prometheus-client's parser.

Processor time, because a scrape runs on threads beside everything else.
"""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.collector import paused_collector
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.pages import MOST_SERIES, PageReader
from sidecar.domain.metering.series import SeriesBatch
from sidecar.domain.metering.sources import Prometheus
from tests.bench.measuring import alternate, at_most, compare, judge
from tests.support.books import NOW, RULES, Books

pytestmark = pytest.mark.timeout(60 * 60)

SOURCE = Prometheus("http://127.0.0.1/metrics", "served_total")
EVERY = timedelta(seconds=15)


class Scrapes:
    """Pages of one app, one after the other, as the sidecar takes them."""

    def __init__(self, books: Books, suffix: str) -> None:
        """Begin without a page; each number ends with a suffix."""
        self._books = books
        self._suffix = suffix
        self._reader = PageReader(SOURCE)
        self._value = 0

    def page(self, *, changed: bool) -> str:
        """Return the next page, on which all series have changed, or none."""
        self._value += changed
        lines = [f'served_total{{path="/{number}"}} {self._value}{self._suffix}' for number in range(MOST_SERIES)]
        return "\n".join(["# TYPE served_total counter", *lines, f"process_start_time_seconds {NOW.timestamp()}", ""])

    def take(self, text: str) -> None:
        """Read a page and store it."""
        self._books.now += EVERY
        at = to_micros(self._books.now)
        with paused_collector():
            page = self._reader.read(text.encode(), at, openmetrics=False)
        self._books.take_series(SeriesBatch("served", page.samples, Decimal(1), at))


@pytest.fixture(params=["", ".0"], ids=["whole", "float"])
def scrapes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scrapes]:
    """An app that is read into a ledger, and writes its numbers as whole ones, or as floats as many clients do."""
    books = Books(tmp_path / "ledger.db", replace(RULES, dimensions={"served": Dimension("served", source=SOURCE)}))
    books.begin_series(served=SOURCE.origin)
    gc.freeze()  # as the process does once it is loaded
    yield Scrapes(books, request.param)
    books.close()


def processor(run: Callable[[], object]) -> float:
    """Return the seconds of processor time that `run` takes."""
    began = time.process_time()
    run()
    return time.process_time() - began


def parse(text: str) -> float:
    """Return what the field's own parser takes for a page."""
    return processor(lambda: [list(family.samples) for family in text_string_to_metric_families(text)])


def test_page_of_all_series(scrapes: Scrapes) -> None:
    """A scrape of 50,000 series takes less than a second of processor time, and 64 MiB."""
    first = scrapes.page(changed=True)
    judge("first page", "s", processor(lambda: scrapes.take(first)), at_most(1))
    for name, changed in (("page on which nothing changed", False), ("page on which all series changed", True)):

        def take(*, changed: bool = changed) -> float:
            text = scrapes.page(changed=changed)
            return processor(lambda: scrapes.take(text))

        measured = alternate(take, lambda: parse(first))
        compare(name, "s", at_most(1), measured)
        judge("  processor", "s", min(measured[0]), at_most(1))


def test_memory_of_a_page(scrapes: Scrapes) -> None:
    """The process grows by 64 MiB at most."""
    text = scrapes.page(changed=True)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak()
    scrapes.take(text)
    scrapes.take(scrapes.page(changed=True))
    judge("memory", "MiB", peak() - before, at_most(64))


def peak() -> float:
    """Return the most memory that this process has had since the peak began, in MiB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024
