"""The thread on which the steps of one ledger run, one after the other.

An executor of the standard library would do; it costs one event alone a tenth of its processor time. A step that was
handed in runs, whether or not a caller still waits for it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import NoReturn, TypeVar

Result = TypeVar("Result")
Outcome = Callable[[], Result]
"""Returns the result of a step, or raises the step's exception."""


class LedgerThread:
    """Runs steps in the order in which they are handed in. The thread begins with the first one."""

    def __init__(self) -> None:
        self._steps: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A process that ends without `close` has nothing to wait for: what was committed is on disk.
        self._thread = Thread(target=self._run, name="ledger", daemon=True)
        self._closed = False

    def hand_in(self, step: Callable[[], Result], then: Callable[[Outcome[Result]], None]) -> None:
        """Hand in a step; `then` gets its outcome, in a turn of the event loop. Raises RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("the ledger is closed")
        if self._thread.ident is None:
            self._thread.start()
        self._steps.put(partial(_perform, step, then, asyncio.get_running_loop()))

    def close(self) -> None:
        """End the thread after the steps that were handed in."""
        self._closed = True
        self._steps.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while (step := self._steps.get()) is not None:
            step()
            del step  # it holds the batches


def _perform(
    step: Callable[[], Result], then: Callable[[Outcome[Result]], None], loop: asyncio.AbstractEventLoop
) -> None:
    outcome: Outcome[Result]
    try:
        outcome = partial(_return, step())
    except BaseException as error:  # noqa: BLE001 - the caller that gets the outcome handles it
        outcome = partial(_raise, error)
    with suppress(RuntimeError):  # the loop is closed, and nothing waits any more
        loop.call_soon_threadsafe(then, outcome)
    del outcome  # the traceback of an exception in it holds this frame


def _return(result: Result) -> Result:
    return result


def _raise(error: BaseException) -> NoReturn:
    raise error
