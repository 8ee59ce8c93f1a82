"""Usage is answered once it is on disk, many callers share a commit, and no caller waits without end."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.entitlement.states import State
from sidecar.domain.metering.events import (
    IdReused,
    LedgerUnavailable,
    NotEntitled,
    Overloaded,
    Receipt,
    UsageBatch,
    UsageFault,
)
from sidecar.services.intake import MOST_GATHERED, MOST_TOGETHER, UsageIntake
from tests.services.fakes import MemoryStore, OpenGate
from tests.support.books import event

if TYPE_CHECKING:
    from tests.conftest import ManualClock

ONE = UsageBatch([event("1")])


class Desk:
    """An intake with its writer running."""

    def __init__(self, clock: "ManualClock", most_waiting: int = 10) -> None:
        self.clock = clock
        self.store = MemoryStore()
        self.gate = OpenGate()
        self.intake = UsageIntake(store=self.store, gate=self.gate, clock=clock, most_waiting=most_waiting)
        self.writer = asyncio.create_task(self.intake.run())

    def send(self, batch: UsageBatch = ONE) -> asyncio.Future[Receipt]:
        """Let a caller send a batch."""
        return self.intake.take(batch)

    async def busy(self) -> asyncio.Future[Receipt]:
        """Let a first caller hold the disk."""
        self.store.disk.clear()
        first = self.send()
        await self.store.asked.wait()
        return first


@pytest.fixture
async def desk(clock: "ManualClock") -> AsyncIterator[Desk]:
    """Start an intake that holds 10 events."""
    desk = Desk(clock)
    yield desk
    desk.store.disk.set()
    desk.intake.close()
    await desk.writer


async def test_answered_after_commit(desk: Desk) -> None:
    """A caller hears of its batch only once the disk has it."""
    caller = await desk.busy()
    await desk.clock.settle()
    assert not caller.done()
    desk.store.disk.set()
    assert Receipt(1, 0) == await caller
    assert [[ONE]] == desk.store.commits


async def test_waiting_share_a_commit(desk: Desk) -> None:
    """What comes while the disk is busy goes into the next commit together, in the order of arrival."""
    first = await desk.busy()
    batches = [UsageBatch([event(str(number))]) for number in range(5)]
    callers = [desk.send(batch) for batch in batches]
    await desk.clock.settle()
    desk.store.disk.set()
    assert [Receipt(1, 0)] * 6 == await asyncio.gather(first, *callers)
    assert [[ONE], batches] == desk.store.commits


async def _turns_until_asked(desk: Desk) -> int:
    """Return how many turns of the event loop pass between a batch and its commit."""
    desk.store.asked.clear()
    caller = desk.send()
    turns = 0
    while not desk.store.asked.is_set():
        await asyncio.sleep(0)
        turns += 1
    assert Receipt(1, 0) == await caller
    return turns


async def test_lone_requests_gather_nothing(desk: Desk) -> None:
    """After several commits of one batch each, the next one begins without a look for others; two together end that."""
    first = await _turns_until_asked(desk)
    for _ in range(9):
        await desk.intake.take(ONE)
    assert first - 3 == await _turns_until_asked(desk)
    await asyncio.gather(desk.send(), desk.send())
    assert first == await _turns_until_asked(desk)


async def test_arrivals_are_waited_for(desk: Desk) -> None:
    """Batches that come turn by turn share a commit; enough of them end the wait."""
    callers = []
    for _ in range(MOST_GATHERED + 1):
        callers.append(desk.send(UsageBatch([])))
        await asyncio.sleep(0)
    await asyncio.gather(*callers)
    assert [MOST_GATHERED, 1] == [len(commit) for commit in desk.store.commits]


async def test_failing_answer_costs_no_other(desk: Desk) -> None:
    """An answer that raises is reported to the loop, and the batches next to it have theirs."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    bug = RuntimeError("a bug")

    def fail(_: object) -> None:
        raise bug

    desk.intake.submit(ONE, fail)
    assert Receipt(1, 0) == await desk.send()
    assert [bug] == faults


@pytest.mark.parametrize("late", [False, True], ids=["handed in", "committed"])
async def test_bug_of_the_store_ends_the_intake(desk: Desk, late: bool) -> None:  # noqa: FBT001 - a case
    """What no code foresees of the ledger ends the writer, and nothing more is taken."""
    bug = RuntimeError("a bug")
    desk.store.bug = bug
    desk.store.bug_is_late = late
    caller = desk.send()
    with pytest.raises(RuntimeError) as raised:
        await desk.writer
    assert bug is raised.value
    with pytest.raises(LedgerUnavailable, match="shutting down"):
        await desk.send()
    assert not caller.done()
    desk.writer = asyncio.create_task(asyncio.sleep(0))


async def test_cancelled_writer_stores_nothing_more(desk: Desk) -> None:
    """A writer that is cancelled drops what waits: it was not acknowledged."""
    first = await desk.busy()
    second = desk.send()
    await desk.clock.settle()
    desk.writer.cancel()
    await asyncio.wait([desk.writer])
    desk.store.disk.set()
    await desk.clock.settle()
    assert [[ONE]] == desk.store.commits
    assert Receipt(1, 0) == await first
    assert not second.done()
    desk.writer = asyncio.create_task(asyncio.sleep(0))


async def test_one_refused_alone(desk: Desk) -> None:
    """A batch that the ledger refuses does not touch those next to it."""
    first = await desk.busy()
    refused = IdReused([UsageFault(0, "quantity", "differs")])
    desk.store.refusals["bad"] = refused
    callers = [desk.send(), desk.send(UsageBatch([event("1")], "bad")), desk.send()]
    await desk.clock.settle()
    desk.store.disk.set()
    fates = await asyncio.gather(first, *callers, return_exceptions=True)
    assert [Receipt(1, 0), Receipt(1, 0), refused, Receipt(1, 0)] == fates
    assert 3 == desk.intake.accepted


async def test_overload_refused(desk: Desk) -> None:
    """Past its bound the intake shows it immediately, and takes more as soon as the disk has caught up."""
    first = await desk.busy()
    waiting = [desk.send(UsageBatch([event("1")] * 5)) for _ in range(2)]
    await desk.clock.settle()
    with pytest.raises(Overloaded, match="10 events wait") as refused:
        await desk.intake.take(ONE)
    assert refused.value.retry_after >= 1
    desk.store.disk.set()
    await asyncio.gather(first, *waiting)
    assert Receipt(1, 0) == await desk.intake.take(ONE)
    assert 12 == desk.intake.accepted


async def test_large_batch_taken_alone(desk: Desk) -> None:
    """A batch larger than the bound is taken when nothing else waits, or it never could be."""
    assert Receipt(50, 0) == await desk.intake.take(UsageBatch([event("1")] * 50))


async def test_commits_are_bounded(clock: "ManualClock") -> None:
    """One commit holds a bounded number of events, so no caller waits long behind others."""
    desk = Desk(clock, most_waiting=MOST_TOGETHER * 9)
    first = await desk.busy()
    callers = [desk.send(UsageBatch([event("1")] * (MOST_TOGETHER // 2))) for _ in range(5)]
    await clock.settle()
    desk.store.disk.set()
    await asyncio.gather(first, *callers)
    desk.intake.close()
    await desk.writer
    assert [1, 2, 2, 1] == [len(commit) for commit in desk.store.commits]


async def test_full_disk_recovers(desk: Desk) -> None:
    """While the disk is full every caller is told to come again; afterwards all continues by itself."""
    desk.store.full = True
    fates = await asyncio.gather(desk.send(), desk.send(), return_exceptions=True)
    assert [LedgerUnavailable, LedgerUnavailable] == [type(fate) for fate in fates]
    assert [7, 7] == [fate.retry_after for fate in fates if isinstance(fate, LedgerUnavailable)]
    desk.store.full = False
    assert Receipt(1, 0) == await desk.intake.take(ONE)
    assert (1, [ONE]) == (desk.intake.accepted, desk.store.stored)


async def test_cancelled_caller_is_stored(desk: Desk) -> None:
    """A caller that goes away leaves its batch whole, and delays no other caller."""
    first = await desk.busy()
    gone, stays = desk.send(UsageBatch([event("7")])), desk.send()
    await desk.clock.settle()
    gone.cancel()
    first.cancel()
    await desk.clock.settle()
    desk.store.disk.set()
    assert Receipt(1, 0) == await stays
    assert ([1_000_000, 7_000_000, 1_000_000], 3) == (
        [batch.events[0].quantity for batch in desk.store.stored],
        desk.intake.accepted,
    )


async def test_cancelled_caller_of_failed_commit(desk: Desk) -> None:
    """A failed commit whose caller has gone leaves no error behind."""
    first = await desk.busy()
    desk.store.full = True
    first.cancel()
    await desk.clock.settle()
    desk.store.disk.set()
    await desk.clock.settle()
    desk.store.full = False
    assert Receipt(1, 0) == await desk.intake.take(ONE)


@pytest.mark.parametrize(
    ("state", "taken"),
    [
        (State.ENTITLED, True),
        (State.PENDING, True),
        (State.UNAVAILABLE, True),
        (State.SUSPENDED, True),
        (State.DENIED, False),
    ],
)
async def test_only_denied_refused(desk: Desk, state: State, taken: bool) -> None:  # noqa: FBT001 - a table's column
    """Usage is refused only while AWS refuses the pod; a silent AWS costs the seller no event."""
    desk.gate.state = state
    if taken:
        assert Receipt(1, 0) == await desk.intake.take(ONE)
    else:
        with pytest.raises(NotEntitled, match="denied"):
            await desk.intake.take(ONE)
        assert [] == desk.store.stored


async def test_closing_stores_what_waits(desk: Desk) -> None:
    """Closing refuses what comes, stores what waits, and then the writer ends."""
    first = await desk.busy()
    second = desk.send()
    await desk.clock.settle()
    desk.intake.close()
    with pytest.raises(LedgerUnavailable, match="shutting down"):
        await desk.intake.take(ONE)
    desk.store.disk.set()
    assert (Receipt(1, 0), Receipt(1, 0)) == (await first, await second)
    await desk.writer


async def test_idle_intake_closes(desk: Desk) -> None:
    """An unused intake ends when it is closed."""
    await desk.clock.settle()
    desk.intake.close()
    await desk.writer
    assert [] == desk.store.commits


async def test_counts_told(desk: Desk) -> None:
    """Accepted events and duplicates are counted apart."""
    desk.store.duplicates = 2
    assert Receipt(1, 2) == await desk.intake.take(UsageBatch([event("1")] * 3))
    assert (1, 2) == (desk.intake.accepted, desk.intake.duplicates)


async def test_durations_counted(desk: Desk) -> None:
    """Each batch that was taken and each commit is counted once; what was refused or failed is not."""
    first = await desk.busy()
    others = [desk.send(), desk.send()]
    await desk.clock.settle()
    desk.store.disk.set()
    await asyncio.gather(first, *others)
    assert (3, 2) == (desk.intake.taking.distribution().count, desk.intake.committing.distribution().count)
    desk.store.full = True
    with pytest.raises(LedgerUnavailable):
        await desk.intake.take(ONE)
    desk.gate.state = State.DENIED
    with pytest.raises(NotEntitled):
        await desk.intake.take(ONE)
    assert (3, 2) == (desk.intake.taking.distribution().count, desk.intake.committing.distribution().count)
    assert desk.intake.taking.distribution().seconds >= desk.intake.committing.distribution().seconds >= 0
