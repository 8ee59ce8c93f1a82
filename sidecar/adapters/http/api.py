"""The local API for the app and its operator, and how each answer of the services becomes HTTP.

Serves loopback addresses and a unix socket only. Decides nothing about entitlement or usage: it reads requests, hands
them on through the ports, and renders what comes back. Routing is one dictionary look-up on purpose: usage is reported
on the app's own hot path.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import hdrs, http, web

from sidecar import serializers as views
from sidecar.adapters.http.access import BearerToken, check_host, names_loopback
from sidecar.adapters.http.admission import (
    MOST_CALLS,
    MOST_POLLS,
    MOST_QUESTIONS,
    MOST_REPORTS,
    ConcurrencyLimit,
    MemoryBudget,
)
from sidecar.adapters.http.attestation_requests import read_nonce
from sidecar.adapters.http.bodies import read_body
from sidecar.adapters.http.client_connection import ClientConnection
from sidecar.adapters.http.known_heads import Direct, Later, Take, length_of
from sidecar.adapters.http.licenses import CHECKOUTS, ENTITLEMENTS, ONE_CHECKOUT, LicensePaths
from sidecar.adapters.http.listening import Handler, Listener
from sidecar.adapters.http.openapi import describe
from sidecar.adapters.http.otlp_exports import EXPORTS, ExportPath, refuse_export
from sidecar.adapters.http.ports import ExportIntake, Gate, Health, Intake, LedgerReader, Licenses
from sidecar.adapters.http.problems import HttpProblem, ProblemKind, answer, busy
from sidecar.adapters.http.queries import after_of, poll_of, record_query_of, refuse_query
from sidecar.adapters.http.replies import Reply, encode, reply, reply_json
from sidecar.adapters.http.usage_refusals import problem_of
from sidecar.adapters.http.usage_requests import LARGE_BODY, UsageHead, UsageReader, read_head
from sidecar.domain.entitlement.states import AttestationFailed, Entitlement, SlowDown
from sidecar.domain.metering.events import Dimension, Receipt, UsageRefused
from sidecar.domain.ports import Clock

_ATTEST_AGAIN_SECONDS = 10
_ENTITLEMENT = "/v1/entitlement"
_USAGE = "/v1/usage"
_TAKING = frozenset({_USAGE, EXPORTS})
_USAGE_PROBLEMS = (
    ProblemKind.MALFORMED,
    ProblemKind.UNAUTHORIZED,
    ProblemKind.NOT_ENTITLED,
    ProblemKind.REQUEST_TIMEOUT,
    ProblemKind.ID_REUSED,
    ProblemKind.TOO_LARGE,
    ProblemKind.UNSUPPORTED_MEDIA_TYPE,
    ProblemKind.EXPECTATION_FAILED,
    ProblemKind.MISDIRECTED,
    ProblemKind.INVALID_USAGE,
    ProblemKind.INTERNAL_ERROR,
    ProblemKind.LEDGER_UNAVAILABLE,
    ProblemKind.OVERLOADED,
)
"""Why usage may be refused; counted from zero, because a first refusal must show as a rise."""


class _Route(NamedTuple):
    methods: Mapping[str, Handler]
    allow: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where the API listens, and the file of the token that callers must hold."""

    host: str
    port: int
    unix_socket: Path | None = None
    token_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """The services behind the API."""

    clock: Clock
    gate: Gate
    intake: Intake
    books: LedgerReader
    health: Health
    refused: Counter[str] = field(default_factory=Counter)
    """Counts the refused usage requests by the word of the problem."""
    licenses: Licenses | None = None
    """None for a product without a contract price."""
    exports: ExportIntake | None = None
    """None if no dimension has a source `otlp`."""


class ApiServer:
    """The listener of `api`."""

    def __init__(self, address: Address, services: Services, dimensions: Mapping[str, Dimension]) -> None:
        self._address = address
        self._token = None if address.token_file is None else BearerToken(address.token_file)
        self._dimensions = dimensions
        self._clock = services.clock
        self._gate = services.gate
        self._intake = services.intake
        self._books = services.books
        self._health = services.health
        self._refused = services.refused
        self._refused.update(dict.fromkeys((kind.word for kind in _USAGE_PROBLEMS), 0))
        self._reader = UsageReader(dimensions)
        self._memory = MemoryBudget()
        self._reports = ConcurrencyLimit(MOST_REPORTS, "reports of usage")
        self._calls = ConcurrencyLimit(MOST_CALLS, "requests that wait for AWS")
        self._questions = ConcurrencyLimit(MOST_QUESTIONS, "questions to the ledger")
        self._listing = asyncio.Lock()
        """Long answers are made one by one: each takes its memory."""
        self._poll_limit = ConcurrencyLimit(MOST_POLLS, "long polls", closes=True)
        self._polls: set[asyncio.Task[Entitlement]] = set()
        self._listeners: list[Listener] = []
        self._stopping = False
        self._description: bytes | None = None
        self._describing: asyncio.Future[dict[str, Any]] | None = None
        self._routes = {
            _ENTITLEMENT: _route(GET=self._entitlement),
            "/v1/attestations": _route(POST=self._attest),
            _USAGE: _route(GET=self._open_buckets, POST=self._take_usage),
            "/v1/records": _route(GET=self._records),
            "/v1/status": _route(GET=self._status),
            "/openapi.json": _route(GET=self._openapi),
        }
        self._exports = ExportPath(dimensions, services.exports)
        self._routes[EXPORTS] = _route(POST=self._exports.take)
        licenses = LicensePaths(services.licenses, self._memory, self._calls, self._questions)
        self._routes[CHECKOUTS] = _route(GET=licenses.listing, POST=licenses.check_out)
        self._routes_below = {
            ENTITLEMENTS: _route(GET=licenses.entitlement),
            ONE_CHECKOUT: _route(PUT=licenses.confirm, DELETE=licenses.give_back),
        }

    async def start(self) -> None:
        """Listen on the TCP address and, where one is set, on the unix socket.

        Raises:
            PortInUse: Another process has `api.port`.
            CannotListen: An address cannot be listened on.
            TokenFileUnusable: `api.token_file` gives no token.
        """
        if self._token is not None:
            await self._token.load()
        await self._exports.load()
        tcp = Listener(self._answer_over_tcp, Direct(self._choose_over_tcp, self._is_ready))
        await tcp.listen_tcp(self._address.host, self._address.port, "api.port")
        self._listeners.append(tcp)
        if self._address.unix_socket is not None:
            local = Listener(self._answer, Direct(self._choose, self._is_ready))
            try:
                await local.listen_unix(self._address.unix_socket, "api.socket")
            except BaseException:
                await self.stop(timedelta())
                raise
            self._listeners.append(local)

    @property
    def port(self) -> int:
        """The TCP port in use."""
        return self._listeners[0].port

    async def stop(self, timeout: timedelta) -> None:
        """Accept no more connections, answer the running requests, close.

        Args:
            timeout: Real time for the running requests; later ones are cut off.
        """
        self._stopping = True
        for poll in self._polls:
            poll.cancel()
        await asyncio.gather(*(listener.stop(timeout.total_seconds()) for listener in self._listeners))
        self._listeners.clear()
        self._reader.close()
        self._exports.close()

    async def _answer_over_tcp(self, request: web.BaseRequest) -> Reply:
        try:
            check_host(request)
        except HttpProblem as problem:
            return self._refuse(request, problem)
        return await self._answer(request)

    async def _answer(self, request: web.BaseRequest) -> Reply:
        try:
            if self._token is not None:
                await self._token.check(request)
            return await self._handler_of(request)(request)
        except (HttpProblem, UsageRefused) as refusal:
            return self._refuse(request, refusal)
        except Exception:
            self._count(request, ProblemKind.INTERNAL_ERROR)  # the listener answers and logs it
            raise

    def _is_ready(self) -> bool:
        return self._token is None or not self._token.is_due

    def _choose_over_tcp(self, head: http.RawRequestMessage) -> Take | None:
        return self._choose(head) if names_loopback(head) else None

    def _choose(self, head: http.RawRequestMessage) -> Take | None:
        """Return what answers the two questions that apps ask all the time, where the head has no fault."""
        authorization = head.headers.get(hdrs.AUTHORIZATION)
        if head.path == _USAGE and head.method == hdrs.METH_POST:
            if not 0 < length_of(head) <= LARGE_BODY or hdrs.EXPECT in head.headers:
                return None
            try:
                return partial(self._take_usage_directly, read_head(head), authorization)
            except HttpProblem:
                return None
        if head.path == _ENTITLEMENT and head.method == hdrs.METH_GET:
            return partial(self._entitlement_directly, authorization)
        return None

    def _refuse(self, request: web.BaseRequest, refusal: HttpProblem | UsageRefused) -> Reply:
        problem = problem_of(refusal)
        self._count(request, problem.kind)
        return refuse_export(request, problem) if request.path == EXPORTS else answer(problem)

    def _refuse_usage(self, refusal: HttpProblem | UsageRefused) -> Reply:
        problem = problem_of(refusal)
        self._refused[problem.kind.word] += 1
        return answer(problem)

    def _count(self, request: web.BaseRequest, kind: ProblemKind) -> None:
        if request.path in _TAKING and request.method == hdrs.METH_POST:
            self._refused[kind.word] += 1

    def _handler_of(self, request: web.BaseRequest) -> Handler:
        path = request.path
        route = self._routes.get(path) or next(
            (route for prefix, route in self._routes_below.items() if path.startswith(prefix)), None
        )
        if route is None:
            raise HttpProblem(ProblemKind.NOT_FOUND, "unknown path; GET /openapi.json lists the paths")
        handler = route.methods.get(request.method)
        if handler is None:
            raise HttpProblem(
                ProblemKind.METHOD_NOT_ALLOWED, f"this path accepts {route.allow}", headers={hdrs.ALLOW: route.allow}
            )
        return handler

    async def _entitlement(self, request: web.BaseRequest) -> Reply:
        if not request.rel_url.raw_query_string:
            return reply(_entitlement_body(self._gate.entitlement()))
        poll = poll_of(request)
        entitlement = self._gate.entitlement()
        if poll.wait and (poll.state is None or poll.state is entitlement.state) and not self._stopping:
            with self._poll_limit:
                entitlement = await self._wait_while(request, entitlement, poll.wait)
        return reply(_entitlement_body(entitlement))

    def _entitlement_directly(self, authorization: str | None, _body: bytes, _later: Later) -> Reply:
        if self._token is not None:
            try:
                self._token.compare(authorization)
            except HttpProblem as problem:
                return answer(problem)
        return reply(_entitlement_body(self._gate.entitlement()))

    async def _wait_while(self, request: web.BaseRequest, seen: Entitlement, wait: timedelta) -> Entitlement:
        """Wait for another state than that of `seen`, until the client leaves or the listener stops."""
        poll = asyncio.ensure_future(self._gate.wait_while(seen.state, wait))
        connection = request.protocol
        if isinstance(connection, ClientConnection):
            connection.poll = poll
        self._polls.add(poll)
        try:
            await asyncio.wait({poll})
        finally:
            self._polls.discard(poll)
            poll.cancel()
        return self._gate.entitlement() if poll.cancelled() else poll.result()

    async def _attest(self, request: web.BaseRequest) -> Reply:
        refuse_query(request)
        nonce = await read_nonce(request, self._memory)
        with self._calls:
            try:
                return reply_json({"signature": await self._gate.attest(nonce)}, status=201)
            except SlowDown as refusal:
                raise busy(ProblemKind.SLOW_DOWN, str(refusal), refusal.retry_after) from None
            except AttestationFailed as failure:
                raise busy(ProblemKind.ATTESTATION_FAILED, str(failure), _ATTEST_AGAIN_SECONDS) from None

    async def _take_usage(self, request: web.BaseRequest) -> Reply:
        refuse_query(request)
        body = await read_body(request, self._memory)
        size = len(body)
        try:
            with self._reports:
                batch = await self._reader.read(request, body, self._clock.now())
                del body  # its size stays counted: the texts of the events take as much until they are on disk
                receipt = await self._intake.take(batch)
        finally:
            self._memory.release(size)
        return _accepted(receipt)

    def _take_usage_directly(
        self, head: UsageHead, authorization: str | None, body: bytes, later: Later
    ) -> Reply | None:
        """Take a small report; its answer waits for the disk."""
        try:
            if self._token is not None:
                self._token.compare(authorization)
            self._submit(head, body, later)
        except (HttpProblem, UsageRefused) as refusal:
            return self._refuse_usage(refusal)
        except Exception:
            self._refused[ProblemKind.INTERNAL_ERROR.word] += 1  # the connection answers and logs it
            raise
        return None

    def _submit(self, head: UsageHead, body: bytes, later: Later) -> None:
        size = len(body)

        def finish(fate: Receipt | UsageRefused) -> None:
            self._reports.end()
            self._memory.release(size)
            later(partial(self._answer_fate, fate))

        self._memory.hold(size)
        try:
            self._reports.begin()
            try:
                self._intake.submit(self._reader.read_small(head, body, self._clock.now()), finish)
            except BaseException:
                self._reports.end()
                raise
        except BaseException:
            self._memory.release(size)
            raise

    def _answer_fate(self, fate: Receipt | UsageRefused) -> Reply:
        return _accepted(fate) if isinstance(fate, Receipt) else self._refuse_usage(fate)

    async def _open_buckets(self, request: web.BaseRequest) -> Reply:
        after = after_of(request)
        with self._questions:
            async with self._listing:
                found = await (self._books.open_buckets() if after is None else self._books.open_buckets(after))
                return reply_json(views.buckets_members(found))

    async def _records(self, request: web.BaseRequest) -> Reply:
        query = record_query_of(request)
        with self._questions:
            async with self._listing:
                page = await self._books.records(query)
                # On a thread: with thousands of allocations it would hold up the probes.
                return reply(await asyncio.to_thread(lambda: encode(views.page_members(page))))

    async def _status(self, request: web.BaseRequest) -> Reply:
        refuse_query(request)
        with self._questions:
            status = await self._health.status()
        return reply_json(views.status_members(status))

    async def _openapi(self, request: web.BaseRequest) -> Reply:
        refuse_query(request)
        if self._description is None:
            # Made once, and without a place of its own: a crowd that asks first would keep usage out.
            self._describing = self._describing or asyncio.ensure_future(asyncio.to_thread(describe, self._dimensions))
            self._description = encode(await asyncio.shield(self._describing))
        return reply(self._description)


def _route(**methods: Handler) -> _Route:
    if hdrs.METH_GET in methods:
        methods[hdrs.METH_HEAD] = methods[hdrs.METH_GET]
    return _Route(methods, ", ".join(sorted(methods)))


@lru_cache(maxsize=1)  # judged anew at every read; only the text of the same judgment is kept
def _entitlement_body(entitlement: Entitlement) -> bytes:
    return encode(views.entitlement_members(entitlement))


def _accepted(receipt: Receipt) -> Reply:
    return reply(b'{"accepted": %d, "duplicates": %d}\n' % (receipt.accepted, receipt.duplicates), status=202)
