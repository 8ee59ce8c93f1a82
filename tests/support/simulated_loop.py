"""An event loop without a clock, sockets or threads: time passes only when nothing else is left to do.

The same calls give the same order on every run. Steps for a thread run here, one after the other, and take a simulated
moment. It refuses to go on when no task waits for anything, or when too much happens in a minute: something spins.
"""

import asyncio
import gc
import itertools
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar, TypeVarTuple

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

MOST_IN_A_MINUTE = 10_000
"""Turns and steps that may happen in a simulated minute."""
_SLOWEST_STEP = 0.05
_ATOM = 1e-6


class Stalled(BaseException):
    """The simulated program waits for nothing, or spins."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect the garbage of a simulation after its end.

    A coroutine that a dead process left behind ends when it is collected, and what its `finally` does takes draws from
    the loop. When the collector comes depends on everything that ran before in the interpreter.
    """
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        gc.enable()


class _Task(asyncio.Task[Any]):
    """A task whose place in a set is its number, not its address: a group cancels its tasks in the order of a set."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], number: int, **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


class SimulatedLoop(BaseEventLoop):
    """Runs coroutines in simulated time."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._selector = self
        self._random = random
        self._elapsed = 0.0
        self._minute = 0.0
        self._turns = 0
        self._thread_free_at = 0.0
        self.callback_errors: list[BaseException] = []
        """What callbacks raised; tasks are looked at by those who started them, or belong to a dead process."""
        self.set_exception_handler(self._note)
        numbers = itertools.count()
        self.set_task_factory(lambda loop, coroutine, **options: _Task(coroutine, next(numbers), loop=loop, **options))

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "handle" in context:
            self.callback_errors.append(context["exception"])

    def time(self) -> float:
        """Return the simulated seconds since the loop was made."""
        return self._elapsed

    def select(self, timeout: float | None) -> list[object]:
        """Let `timeout` seconds pass; this is where the loop would wait for sockets."""
        if timeout is None:
            raise Stalled("nobody waits for anything any more")
        self._elapsed += timeout
        self._count_turn()
        return []

    def _process_events(self, event_list: list[object]) -> None:
        """Do nothing: there are no sockets."""

    def _write_to_self(self) -> None:
        """Do nothing: no sleeper has to be woken."""

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Arguments], Result], *args: *Arguments
    ) -> asyncio.Future[Result]:
        """Run a step on the one simulated thread: most immediately, some after a while; always in order."""
        self._count_turn()
        future: asyncio.Future[Result] = self.create_future()
        lasts = self._random.random() * _SLOWEST_STEP if self._random.random() < 0.1 else 0.0
        if not lasts and self._thread_free_at < self._elapsed:
            _perform(future, func, *args)
        else:
            self._thread_free_at = max(self._elapsed, self._thread_free_at) + lasts + _ATOM
            self.call_at(self._thread_free_at, _perform, future, func, *args)
        return future

    def _count_turn(self) -> None:
        if self._elapsed - self._minute > 60:
            self._minute, self._turns = self._elapsed, 0
        self._turns += 1
        if self._turns > MOST_IN_A_MINUTE:
            raise Stalled("something spins")


def _perform(future: asyncio.Future[Result], func: Callable[[*Arguments], Result], *args: *Arguments) -> None:
    try:
        result = func(*args)
    except Stalled:
        raise
    except BaseException as error:  # noqa: BLE001 - a thread hands every exception on
        if not future.done():
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(result)
