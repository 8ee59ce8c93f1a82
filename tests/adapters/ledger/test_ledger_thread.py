"""The ledger's thread runs each step that was handed in, in order, and gives its outcome to the event loop."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import pytest

from sidecar.adapters.ledger.thread import LedgerThread, Outcome

Result = TypeVar("Result")


def perform(thread: LedgerThread, step: Callable[[], Result]) -> asyncio.Future[Outcome[Result]]:
    """Hand in a step; the future has its outcome."""
    future: asyncio.Future[Outcome[Result]] = asyncio.get_running_loop().create_future()

    def then(outcome: Outcome[Result]) -> None:
        if not future.done():
            future.set_result(outcome)

    thread.hand_in(step, then)
    return future


@pytest.fixture
def thread() -> Iterator[LedgerThread]:
    """Return a thread that the test's end closes."""
    thread = LedgerThread()
    yield thread
    thread.close()


async def test_steps_run_in_order(thread: LedgerThread) -> None:
    """Steps run one after the other on one thread that is not the loop's."""
    ran: list[tuple[int, int]] = []

    def step(number: int) -> None:
        ran.append((number, threading.get_ident()))

    await asyncio.gather(*(perform(thread, partial(step, number)) for number in range(20)))
    assert list(range(20)) == [number for number, _ in ran]
    assert 1 == len({ident for _, ident in ran} - {threading.get_ident()})


async def test_exception_reaches_the_caller(thread: LedgerThread) -> None:
    """A step that fails ends neither the thread nor the steps behind it."""
    failed = perform(thread, lambda: 1 // 0)
    after = perform(thread, lambda: 7)
    with pytest.raises(ZeroDivisionError):
        (await failed)()
    assert 7 == (await after)()


async def test_cancelled_step_runs(thread: LedgerThread) -> None:
    """A step whose caller has gone runs all the same."""
    begin, ran = threading.Event(), threading.Event()
    first = perform(thread, begin.wait)
    second = perform(thread, ran.set)
    second.cancel()
    begin.set()
    await first
    await perform(thread, lambda: None)
    assert ran.is_set()


async def test_closing_runs_what_was_handed_in() -> None:
    """The end waits for the steps that were handed in before it."""
    thread = LedgerThread()
    ran: list[int] = []
    handed_in = [perform(thread, partial(ran.append, number)) for number in range(3)]
    thread.close()
    assert [0, 1, 2] == ran
    await asyncio.gather(*handed_in)


def test_loop_that_is_gone(thread: LedgerThread) -> None:
    """The outcome of a step whose loop is closed is dropped, and the thread goes on."""
    begin = threading.Event()

    async def hand_in() -> asyncio.Future[Outcome[bool]]:
        return await asyncio.sleep(0, perform(thread, begin.wait))

    given_up = asyncio.run(hand_in())
    begin.set()

    async def ask() -> int:
        return (await perform(thread, lambda: 7))()

    assert 7 == asyncio.run(ask())
    assert not given_up.done()
