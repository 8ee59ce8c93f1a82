"""The app next to the sidecar: reports usage of every kind, repeats some, and believes only acknowledgements."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from sidecar.domain.metering.events import (
    Aggregation,
    Dimension,
    IdReused,
    LedgerUnavailable,
    NotEntitled,
    Receipt,
    Tags,
    UsageBatch,
    UsageEvent,
)
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.quantity import LARGEST, LARGEST_WHOLE, MILLION
from sidecar.domain.metering.rules import MeteringRules
from tests.simulation.tally import Tally
from tests.simulation.witness import Witness

ATTEMPTS = 3
PATIENCE = 30.0
"""Seconds that the app waits for an answer, and between two attempts."""
_TAG_SETS: tuple[Tags, ...] = (
    (),
    (("Team", "IT"),),
    (("Team", "HR"),),
    (("Env", "prod"), ("Team", "IT")),
)
_RARE_KEYS = "ABCDEFGH"


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch that was acknowledged."""

    batch: UsageBatch
    at: int
    """The pod's clock then, in epoch microseconds."""


class App:
    """Reports usage to whichever process is there."""

    def __init__(
        self,
        *,
        rules: MeteringRules,
        tally: Tally,
        witness: Witness,
        now: Callable[[], datetime],
        take: Callable[[UsageBatch], Awaitable[Receipt | None]],
    ) -> None:
        self.rules = rules
        """What is configured now."""
        self._tally = tally
        self._witness = witness
        self._now = now
        self._take = take
        self._sent: deque[Sent] = deque(maxlen=40)
        self._numbers = 0
        self.values_of = 0
        """Distinct values are drawn anew after the clock made a leap."""
        self.answers: Counter[str] = Counter()

    async def use(self, random: Random) -> None:
        """Send some batches at the same time."""
        self._tally.see_clock(to_micros(self._now()))
        sends = [self._send_fresh(batch) for batch in self._draw_batches(random)]
        recent = [sent for sent in self._sent if self._tally.remembers(sent.at)]
        if recent and random.random() < 0.25:
            sends.append(self._send_again(random.choice(recent)))
        if recent and random.random() < 0.1:
            sends.append(self._send_changed(random.choice(recent)))
        async with asyncio.TaskGroup() as group:
            for send in sends:
                group.create_task(send)

    async def _send_fresh(self, batch: UsageBatch) -> None:
        self._tally.expect(batch)
        may_repeat = batch.idempotency_key is not None or all(event.id is not None for event in batch.events)
        first_at = to_micros(self._now())
        for attempt in range(ATTEMPTS if may_repeat else 1):
            self._tally.see_clock(to_micros(self._now()))
            if attempt and not self._tally.remembers(first_at):
                return
            receipt = await self._attempt(batch)
            if receipt is not None:
                if receipt.accepted + receipt.duplicates != len(batch.events) or not self._tally.holds(batch):
                    self._witness.fail(f"acknowledged, but not on disk: {batch}")
                self._sent.append(Sent(batch, to_micros(self._now())))
                return
            await asyncio.sleep(PATIENCE)

    async def _send_again(self, sent: Sent) -> None:
        if sent.batch.idempotency_key is None and any(event.id is None for event in sent.batch.events):
            return
        receipt = await self._attempt(sent.batch)
        if receipt is not None and self._tally.remembers(sent.at) and receipt.accepted:
            self._witness.fail(f"counted again: {sent.batch}")

    async def _send_changed(self, sent: Sent) -> None:
        first = sent.batch.events[0]
        if (first.id is None and sent.batch.idempotency_key is None) or not self._fits(sent.batch):
            return
        changed = replace(sent.batch, events=[first._replace(tags=(("Changed", "yes"),)), *sent.batch.events[1:]])
        try:
            receipt = await self._take(changed)
        except IdReused:
            self.answers["id-reused"] += 1
        except (LedgerUnavailable, NotEntitled):
            pass
        else:
            if receipt is not None and self._tally.remembers(sent.at):
                self._witness.fail(f"another event under a known id was taken: {changed}")

    def _fits(self, batch: UsageBatch) -> bool:
        """Return whether the API takes these events as the dimensions are configured now."""
        dimensions = self.rules.dimensions
        return all(
            event.dimension in dimensions
            and (event.value is not None) == (dimensions[event.dimension].aggregation is Aggregation.UNIQUE)
            for event in batch.events
        )

    async def _attempt(self, batch: UsageBatch) -> Receipt | None:
        if not self._fits(batch):
            self.answers["unfit"] += 1
            return None
        try:
            receipt = await self._take(batch)
        except (LedgerUnavailable, NotEntitled) as refusal:
            self.answers[type(refusal).__name__] += 1
            return None
        self.answers["none" if receipt is None else "taken"] += 1
        return receipt

    def _draw_batches(self, random: Random) -> list[UsageBatch]:
        batches = []
        with_last: set[str] = set()
        for _ in range(random.randint(1, 3)):
            naming = random.choice(["ids", "ids", "ids", "key", "none"])
            events = []
            for _ in range(random.randint(1, 4)):
                dimension = random.choice([each for each in self.rules.dimensions.values() if each.source is None])
                if dimension.aggregation is Aggregation.LAST:
                    # Two of them in one commit would leave open which of two right results is the right one.
                    if dimension.name in with_last:
                        continue
                    with_last.add(dimension.name)
                events.append(self._draw_event(random, dimension, named=naming == "ids"))
            if events:
                key = f"key-{self._numbers}" if naming == "key" else None
                batches.append(UsageBatch(events=events, idempotency_key=key))
        return batches

    def _draw_event(self, random: Random, dimension: Dimension, *, named: bool) -> UsageEvent:
        self._numbers += 1
        timestamp = self._draw_timestamp(random)
        counts_values = dimension.aggregation is Aggregation.UNIQUE
        return UsageEvent(
            id=f"evt-{self._numbers}" if named or counts_values else None,
            dimension=dimension.name,
            quantity=MILLION if counts_values else self._draw_quantity(random, dimension) + self._numbers,
            value=self._draw_value(random, timestamp) if counts_values else None,
            timestamp=timestamp,
            tags=self._draw_tags(random),
        )

    def _draw_quantity(self, random: Random, dimension: Dimension) -> int:
        """The number of the event is added, so no two quantities are the same."""
        if dimension.aggregation is Aggregation.SUM and random.random() < 0.01:
            return random.choice([LARGEST, LARGEST_WHOLE * MILLION]) - 10**9
        return random.choice([0, 10**5, MILLION, 3 * MILLION, 10**9]) * random.randint(0, 9)

    def _draw_value(self, random: Random, timestamp: datetime | None) -> str:
        if timestamp is not None and self._now() - timestamp > timedelta(hours=20):
            return f"old-{self._numbers}"
        return f"{self.values_of}-{random.randint(1, 12)}"

    def _draw_timestamp(self, random: Random) -> datetime | None:
        share = random.random()
        if share < 0.6:
            return None
        if share < 0.75:
            return self._now() - timedelta(minutes=60 * random.random())
        if share < 0.85:
            return self._now() - timedelta(hours=7 * random.random())
        if share < 0.92:
            return self._now() + timedelta(minutes=15 * random.random())
        return self._now() - timedelta(days=7 * random.random())

    def _draw_tags(self, random: Random) -> Tags:
        if random.random() < 0.03:
            return tuple(sorted((key, "x") for key in random.sample(_RARE_KEYS, 3)))
        return random.choice(_TAG_SETS)
