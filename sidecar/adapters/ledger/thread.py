"""The thread on which the steps of one ledger run, one after the other.

An executor of the standard library would do; it costs one event alone a tenth of its processor time. A step that was
handed in runs, whether or not somebody still waits for it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


class LedgerThread:
    """Runs steps in the order in which they are handed in. The thread begins with the first one."""

    def __init__(self) -> None:
        self._steps: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        # A process that ends without `close` has nothing to wait for: what was committed is on disk.
        self._thread = Thread(target=self._run, name="ledger", daemon=True)
        self._closed = False

    def perform(self, step: Callable[[], Result]) -> asyncio.Future[Result]:
        """Hand in a step; the future has its result or its exception. Raises RuntimeError after `close`."""
        if self._closed:
            raise RuntimeError("the ledger is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def run() -> None:
            try:
                deliver = partial(_succeed, future, step())
            except BaseException as error:  # noqa: BLE001 - the caller that awaits the future handles it
                deliver = partial(_fail, future, error)
            with suppress(RuntimeError):  # the loop is closed, and nothing waits any more
                loop.call_soon_threadsafe(deliver)

        if self._thread.ident is None:
            self._thread.start()
        self._steps.put(run)
        return future

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


def _succeed(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Result], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
