"""Reads the counters that the app exposes, and stores what their increases prove.

A page is taken every `every`, at each hour's end, and every second once the pod's deletion is known. The ledger judges
it by the states that it keeps, so nothing here has to survive: a page that is lost, or that the ledger refuses, is made
up by the next good one. Sources that name one page at one interval share it: they get one instant, and memory holds it
once. Pages are fetched side by side: a page that does not come delays no other. They are unpacked and read one by one.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from sidecar.collector import paused_collector
from sidecar.domain.entitlement.states import Entitlement
from sidecar.domain.metering.events import Dimension, LedgerUnavailable
from sidecar.domain.metering.hours import end_of, hour_of, to_micros
from sidecar.domain.metering.measuring import CounterView, SourceState, SourceView
from sidecar.domain.metering.pages import Page, PageReader, PageUnusable
from sidecar.domain.metering.series import JITTER, SampleOutcome, SeriesBatch
from sidecar.domain.metering.sources import Prometheus
from sidecar.domain.ports import Clock
from sidecar.services.counting import Counters, right_of
from sidecar.services.faults import FaultRegister
from sidecar.services.ports import EntitlementReader
from sidecar.services.source_faults import SourceFaults

SILENT_AFTER = timedelta(minutes=2)
"""How long no page may have come before that is a fault: an app that starts or restarts needs its time."""
SILENT_CURE = (
    "Check that the app serves the page at this address. The next good page makes up what was counted meanwhile, but "
    "what is counted before a restart of the app is lost."
)
DELETED_EVERY = timedelta(seconds=1)
"""Between two pages of a pod that is deleted: nothing announces when its app ends."""
SCRAPE_THREADS = "scraping"
"""How the names of the threads begin that ask for pages."""
INCONSISTENT_CURE = (
    "Make one process count all requests of the page, or expose a page for each worker: the counter has gone down "
    "without a restart, so its increase is not known and not billed."
)

log = structlog.get_logger()


class FetchedPage(Protocol):
    """A page as it came."""

    def unpack(self) -> bytes:
        """Return the page, UTF-8 text, or raise PageUnusable. Blocks."""

    @property
    def openmetrics(self) -> bool:
        """Whether the page is OpenMetrics."""


class _Asked(NamedTuple):
    """What held when a page was asked for."""

    at: int
    booted_at: int
    entitlement: Entitlement


@dataclass(slots=True)
class _Scraper:
    """One dimension while it is read."""

    dimension: str
    source: Prometheus
    reader: PageReader
    silent_since: float
    """When the last good page came, in the loop's time."""
    last_at: datetime | None = None
    series: int = 0
    folded: int = 0
    unusable: int = 0
    samples: Counter[SampleOutcome] = field(default_factory=Counter)
    state: SourceState = SourceState.WAITING
    detail: str = ""

    def view(self) -> SourceView:
        """Return the source for the status."""
        counters = CounterView({str(each): count for each, count in self.samples.items()}, self.unusable, self.folded)
        detail = self.detail or f"counts {self.source.counts}"
        return SourceView(self.dimension, self.state, self.last_at, detail, series=self.series, counters=counters)


@dataclass(slots=True)
class _Address:
    """A page, and the dimensions that are read from it."""

    url: str
    every: timedelta
    scrapers: list[_Scraper] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One page at a time."""
    rest: asyncio.Timeout | None = None
    """Ends the wait for the next page; None while there is no wait."""


class Scraping:
    """The sources `prometheus` of one process."""

    def __init__(
        self,
        *,
        dimensions: Sequence[Dimension],
        counters: Counters,
        gate: EntitlementReader,
        clock: Clock,
        fetch: Callable[[str, timedelta], FetchedPage],
        faults: FaultRegister,
    ) -> None:
        """Make the sources.

        Args:
            dimensions: The product's; those without such a source are left out.
            counters: Takes the samples.
            gate: Knows whether AWS has refused this pod.
            clock: Decides the hour.
            fetch: Returns the page at a URL within a time, or raises PageUnusable. Blocks.
            faults: Where sources that cannot be read are registered.
        """
        self._scrapers = [
            _Scraper(each.name, each.source, PageReader(each.source), 0.0)
            for each in dimensions
            if isinstance(each.source, Prometheus)
        ]
        addresses: dict[tuple[str, timedelta], _Address] = {}
        for scraper in self._scrapers:
            place = scraper.source.url, scraper.source.every
            addresses.setdefault(place, _Address(*place)).scrapers.append(scraper)
        self._addresses = list(addresses.values())
        # Two for each: a page that was on its way when the loops were cancelled keeps its thread, and the last page
        # must not wait for it.
        self._threads = ThreadPoolExecutor(max(1, 2 * len(self._addresses)), thread_name_prefix=SCRAPE_THREADS)
        # One page is unpacked at a time: several would not be faster, and each large one takes its memory.
        self._reading = asyncio.Lock()
        self._counters = counters
        self._gate = gate
        self._clock = clock
        self._fetch = fetch
        self._faults = SourceFaults(faults, clock)
        self._hastened_until = -math.inf
        """In the loop's time."""
        self._finished = False

    @property
    def present(self) -> bool:
        """Whether a dimension has such a source."""
        return bool(self._scrapers)

    @property
    def views(self) -> list[SourceView]:
        """The sources for the status."""
        return [scraper.view() for scraper in self._scrapers]

    async def run(self) -> None:
        """Read pages until cancelled; return if no dimension has such a source."""
        for scraper in self._scrapers:
            scraper.silent_since = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for address in self._addresses:
                group.create_task(self._follow(address))

    def hasten(self, within: timedelta | None = None) -> None:
        """Take a page immediately, and one each second: the pod is deleted, and its app ends soon.

        For the time `within`, where the deletion is only assumed; zero takes the assumption back.
        """
        now = asyncio.get_running_loop().time()
        self._hastened_until = math.inf if within is None else now + within.total_seconds()
        for address in self._addresses:
            if self._hastens and address.rest is not None and not address.rest.expired():
                address.rest.reschedule(now)

    @property
    def _hastens(self) -> bool:
        return asyncio.get_running_loop().time() < self._hastened_until

    async def finish(self) -> None:
        """Take the last page of each source, once. A page that does not come any more is no fault."""
        if self._finished:
            return
        self._finished = True
        await asyncio.gather(*(self._scrape(address, at_end=True) for address in self._addresses))
        self._threads.shutdown(wait=False)

    async def _follow(self, address: _Address) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began_at = loop.time()
            await self._scrape(address, at_end=self._hastens)
            await self._rest(address, loop.time() - began_at)

    async def _rest(self, address: _Address, took: float) -> None:
        """Wait for the next page's time; `took` is what the last one took, in seconds."""
        # A large page takes half of the time at most, and leaves the rest to the app that shuts down.
        pause = max(DELETED_EVERY.total_seconds(), took) if self._hastens else address.every.total_seconds()
        with suppress(TimeoutError):
            # By the loop's time as well: a wall clock that goes back would keep this wait from ending.
            async with asyncio.timeout(pause) as address.rest:
                await self._clock.sleep_until(end_of(hour_of(self._clock.now())))
        address.rest = None

    async def _scrape(self, address: _Address, *, at_end: bool = False) -> None:
        loop = asyncio.get_running_loop()
        async with address.turn:
            # Of the instant of the question, as the page: what comes while the app answers is of the next page.
            asked = _Asked(self._counters.instant, self._counters.booted_at, self._gate.entitlement())
            try:
                fetched = await loop.run_in_executor(self._threads, self._fetch, address.url, address.every)
                async with self._reading:
                    body = await loop.run_in_executor(self._threads, fetched.unpack)
                    for scraper in address.scrapers:
                        await self._count(scraper, body, asked, openmetrics=fetched.openmetrics, at_end=at_end)
            except PageUnusable as unusable:
                if not at_end:
                    for scraper in address.scrapers:
                        self._note_unusable(scraper, str(unusable))

    async def _count(self, scraper: _Scraper, body: bytes, asked: _Asked, *, openmetrics: bool, at_end: bool) -> None:
        """Read the page for one dimension, and store it. A dimension that the page does not suit hides no other."""
        read = partial(_read, scraper.reader, body, asked.at, openmetrics=openmetrics)
        try:
            page = await asyncio.get_running_loop().run_in_executor(self._threads, read)
        except PageUnusable as unusable:
            if not at_end:
                self._note_unusable(scraper, str(unusable))
            return
        if abs(self._counters.booted_at - asked.booted_at) > JITTER:
            return  # the clock was set meanwhile: its start times are by another clock than its instant
        await self._take(scraper, page, asked)

    async def _take(self, scraper: _Scraper, page: Page, asked: _Asked) -> None:
        now = self._clock.now()
        shift = self._counters.shift
        batch = SeriesBatch(
            scraper.dimension,
            page.samples,
            scraper.source.scale,
            asked.at,
            shift,
            every=scraper.source.every // timedelta(microseconds=1),
            booted_at=asked.booted_at,
            right=right_of(asked.entitlement),
            right_since=to_micros(asked.entitlement.since) - shift,
        )
        try:
            (receipt,) = await self._counters.take([batch])
        except LedgerUnavailable:
            return  # the ledger logs why; the next page makes it up
        self._faults.clear("source-silent", scraper.dimension)
        scraper.silent_since = asyncio.get_running_loop().time()
        scraper.last_at, scraper.series, scraper.folded = now, len(page.samples), page.folded
        scraper.samples.update(receipt.outcomes)
        if receipt.inconsistent:
            self._note_inconsistent(scraper, receipt.inconsistent)
            return
        self._faults.clear("source-inconsistent", scraper.dimension)
        scraper.state = SourceState.MEASURING if page.samples else SourceState.WAITING
        scraper.detail = "" if page.samples else f"counts {scraper.source.counts}: the page has no such series yet"

    def _note_unusable(self, scraper: _Scraper, words: str) -> None:
        scraper.unusable += 1
        detail = f"the page {scraper.source.url} {words}"
        silent = asyncio.get_running_loop().time() - scraper.silent_since
        scraper.state, scraper.detail = SourceState.FAULTY, detail
        if silent < SILENT_AFTER.total_seconds():
            return
        detail = f"no sample for {round(silent)} s: {detail}"
        self._faults.observe("source-silent", scraper.dimension, detail, SILENT_CURE)

    def _note_inconsistent(self, scraper: _Scraper, series: int) -> None:
        scraper.state = SourceState.INCONSISTENT
        scraper.detail = f"{series} of {scraper.series} series of {scraper.source.counts} are inconsistent"
        self._faults.observe("source-inconsistent", scraper.dimension, scraper.detail, INCONSISTENT_CURE)


def _read(reader: PageReader, body: bytes, at: int, *, openmetrics: bool) -> Page:
    with paused_collector():
        return reader.read(body, at, openmetrics=openmetrics)
