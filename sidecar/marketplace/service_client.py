"""What the clients of AWS's services share: opening, closing, and one attempt on a worker thread.

It refuses to know an operation, and to repeat anything but a later page of a list (see `retrying`). The SDK is imported
when a client opens, and the SDK's client of the service is made by the first call. Cancelling an await does not recall
a request that a thread has begun to send: AWS may have taken it, so only the same request may follow. A request that
has not begun is not sent any more, and the cancellation shows that (see `passage`). Closing the client cancels no task:
see `ClientClosed`.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from sidecar.domain.backoff import full_jitter
from sidecar.marketplace import long_lists, wire
from sidecar.marketplace.endpoint import Endpoint
from sidecar.marketplace.errors import (
    ClientClosed,
    Disposition,
    InvalidRequest,
    MarketplaceError,
    RequestFault,
    UnknownAnswer,
)
from sidecar.marketplace.passage import Passage, following, mark_unsent
from sidecar.marketplace.retrying import BACK_OFF
from sidecar.marketplace.service import Service
from sidecar.marketplace.service_clock import ServiceClock

if TYPE_CHECKING:
    from sidecar.marketplace.sdk import Connection

T = TypeVar("T")
Asked = TypeVar("Asked")


CALL_THREADS = "marketplace"
"""How the names of the threads begin on which calls wait for their answers."""
_PAGE_REPEATS: Final = 3
"""How often a page of a list is repeated, except the first one."""
_PAGE_WAIT: Final = timedelta(seconds=0.25)
"""The window of the first wait, in real time; each next one is twice as long, so all take less than two seconds."""
_NOT_OPEN = "the marketplace client is not open"
_CLOSED = "the client was closed before the request was sent"


class ServiceClient:
    """One service at AWS, or an emulator of it. An async context manager; or `open` and `close` it.

    Args:
        endpoint: Where calls go.
        service_clock: Compares our time with the service's, for one or several clients; None compares nothing.
    """

    service: ClassVar[Service]
    """The service that a subclass calls."""

    def __init__(self, endpoint: Endpoint, service_clock: ServiceClock | None = None) -> None:
        self.endpoint = endpoint
        self.service_clock = service_clock
        self._running: tuple[ThreadPoolExecutor, Connection] | None = None
        self._closed = False
        self._changing = asyncio.Lock()
        self._preparing = threading.Lock()

    async def open(self) -> None:
        """Load the SDK on a worker thread. Makes no network call."""
        async with self._changing:
            if self._running is None:
                threads = ThreadPoolExecutor(self.endpoint.max_pool_connections, thread_name_prefix=CALL_THREADS)
                connection = await asyncio.get_running_loop().run_in_executor(
                    threads, _connect, self.endpoint, self.service_clock, self.service
                )
                self._running = threads, connection
                self._closed = False

    async def close(self) -> None:
        """Refuse further calls, and those waiting for a thread, by `ClientClosed`; running ones end by their limits."""
        async with self._changing:
            if self._running is not None:
                (threads, connection), self._running = self._running, None
                self._closed = True
                threads.shutdown(wait=False, cancel_futures=True)
                await asyncio.to_thread(connection.close)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def credentials_method(self) -> str | None:
        """Return the SDK's name for where it found credentials, None when it found none. May ask the network.

        Raises:
            CredentialsMissing: A source is configured and fails.
        """
        return await self._on_thread(lambda connection: connection.credentials_method())

    @property
    def connection(self) -> "Connection":
        """The SDK behind the client, for questions that need no other one; open while the client is open.

        Raises:
            RuntimeError: The client is not open.
        """
        if self._running is None:
            raise RuntimeError(_NOT_OPEN)
        return self._running[1]

    async def _send(self, operation: str, request: object, faults: Sequence[RequestFault]) -> Mapping[str, Any]:
        if faults:
            raise InvalidRequest(faults)
        return await self._send_members(operation, wire.members(request))

    async def _send_large(
        self,
        operation: str,
        request: Asked,
        find_faults: Callable[[Asked], Sequence[RequestFault]],
        reduce: Callable[[Asked], Asked] = lambda whole: whole,
    ) -> Mapping[str, Any]:
        """Send a request that may have thousands of parts: the client's thread checks it and puts it together.

        What is sent is the request that `reduce` returns.

        On the event loop's thread a record with 2,500 allocations would block the loop for a tenth of a second. One
        request is put together at a time: threads that compute share one interpreter with the loop, so that several
        would finish no sooner and keep the loop waiting for each of them.
        """

        def send(connection: "Connection") -> Mapping[str, Any]:
            with self._preparing:
                found = find_faults(request)
                if found:
                    raise InvalidRequest(found)
                members = long_lists.encode(wire.members(reduce(request)))
            return connection.send(operation, members)

        return await self._on_thread(send)

    async def _send_pages(
        self, operation: str, request: object, faults: Sequence[RequestFault], most: int
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the answer of each page of a list; an empty page may have a next one.

        The first page is one attempt. A later one is repeated a few times while its error may pass: if each throttled
        page began the list anew, a long list would never end.

        Raises:
            UnknownAnswer: After `most` pages there is another one.
        """
        if faults:
            raise InvalidRequest(faults)
        page = wire.members(request)
        for number in range(most):
            answer = await self._send_page(operation, page, _PAGE_REPEATS if number else 0)
            yield answer
            following = answer.get("NextToken")
            if not following:
                return
            page["NextToken"] = following
        raise UnknownAnswer(f"{operation} has more than {most} pages")

    async def _send_page(self, operation: str, page: Mapping[str, Any], repeats: int) -> Mapping[str, Any]:
        for attempt in range(repeats):
            try:
                return await self._send_members(operation, page)
            except MarketplaceError as error:
                if error.disposition is not Disposition.RETRY:
                    raise
            # By no clock: one that is set back would hold up its caller.
            wait = full_jitter(attempt, base=_PAGE_WAIT, cap=_PAGE_WAIT * 2**repeats, draw=BACK_OFF.random())
            await asyncio.sleep(wait.total_seconds())
        return await self._send_members(operation, page)

    async def _send_members(self, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._on_thread(lambda connection: connection.send(operation, members))

    async def _on_thread(self, call: Callable[["Connection"], T]) -> T:
        if self._closed:
            raise ClientClosed(_CLOSED)
        if self._running is None:
            raise RuntimeError(_NOT_OPEN)
        threads, connection = self._running
        passage = Passage()

        def follow() -> T:
            with following(passage):
                return call(connection)

        running = asyncio.get_running_loop().run_in_executor(threads, follow)
        try:
            # Gathered, only the caller's own cancellation raises: `close` cancels the call alone.
            await asyncio.gather(running, return_exceptions=True)
        except asyncio.CancelledError as cut:
            if passage.give_up():
                mark_unsent(cut)
            raise
        if running.cancelled():
            raise ClientClosed(_CLOSED)
        return running.result()


def _connect(endpoint: Endpoint, clock: ServiceClock | None, service: Service) -> "Connection":
    from sidecar.marketplace.sdk import Connection  # noqa: PLC0415 - a tenth of a second that must not delay the probes

    return Connection(endpoint, clock, service)
