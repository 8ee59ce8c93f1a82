"""`POST /v1/metrics`: OTLP/HTTP from the app's OpenTelemetry SDK, and the answers that the protocol asks for.

Exports are read and stored one after the other, because a client that repeats an export may still wait for its first
answer. They are read on a thread: many data points must not delay the probes. Every answer has the encoding of its
request, and an error carries a Status message.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aiohttp import web

from sidecar.adapters.http.admission import MOST_EXPORT_BYTES, MOST_EXPORTS, ConcurrencyLimit, MemoryBudget
from sidecar.adapters.http.bodies import read_body
from sidecar.adapters.http.otlp_media import Encoding, decompress, demand_encoding, encoding_of, is_compressed
from sidecar.adapters.http.ports import ExportIntake
from sidecar.adapters.http.problems import HttpProblem, ProblemKind, answer
from sidecar.adapters.http.queries import refuse_query
from sidecar.adapters.http.replies import Reply, encode, reply
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.exports import Export, ExportReader
from sidecar.domain.metering.sources import Otlp

EXPORTS = "/v1/metrics"
EXPORT_THREADS = "export-reader"
"""How the name of the thread that reads exports begins."""
_NO_SOURCE = (
    "no dimension has a source otlp, so OpenTelemetry metrics are not counted: add the source to metering.dimensions, "
    "or remove this endpoint from the SDK's settings"
)
_MESSAGE = b"\x12"
"""The tag of the field `message` of google.rpc.Status, which is the only one that is sent."""


class ExportPath:
    """The path of one listener."""

    def __init__(
        self,
        dimensions: Mapping[str, Dimension],
        intake: ExportIntake | None,
    ) -> None:
        """Make the path.

        Args:
            dimensions: The product's.
            intake: Takes the samples of an export; None if no dimension has a source `otlp`.
        """
        self._sources: dict[str, list[tuple[str, Otlp]]] = {}
        for dimension in dimensions.values():
            if isinstance(dimension.source, Otlp):
                self._sources.setdefault(dimension.source.metric, []).append((dimension.name, dimension.source))
        self._intake = intake
        # Of their own: exports that wait for each other keep no room from other requests.
        self._memory = MemoryBudget(MOST_EXPORT_BYTES)
        self._waiting = ConcurrencyLimit(MOST_EXPORTS, "exports")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=EXPORT_THREADS)
        self._turn = asyncio.Lock()

    async def load(self) -> None:
        """Load the packages that read an export, if there is a source."""
        if self._sources:
            await asyncio.get_running_loop().run_in_executor(self._thread, _load)

    async def take(self, request: web.BaseRequest) -> Reply:
        """Take an export.

        Raises:
            HttpProblem: Nothing of it was stored.
            UsageRefused: Nothing of it was stored.
        """
        if self._intake is None:
            raise HttpProblem(ProblemKind.NOT_FOUND, _NO_SOURCE)
        refuse_query(request)
        encoding, compressed = demand_encoding(request), is_compressed(request)
        body = await read_body(request, self._memory)
        size = len(body)
        try:
            with self._waiting:
                async with self._turn:
                    reader = ExportReader(self._sources, self._intake.instant())
                    read = partial(_read, encoding, body, reader, compressed=compressed)
                    export, answered = await asyncio.get_running_loop().run_in_executor(self._thread, read)
                    await self._intake.take(export)
        finally:
            self._memory.release(size)
        return reply(answered, media_type=encoding.value)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def refuse_export(request: web.BaseRequest, problem: HttpProblem) -> Reply:
    """Return the answer that carries `problem` as a Status message in the encoding of the request.

    A request whose encoding is unknown gets a problem document.
    """
    encoding = encoding_of(request)
    if encoding is None:
        return answer(problem)
    text = f"{problem.kind.title}: {problem.detail}"
    body = encode({"message": text}) if encoding is Encoding.JSON else _status_message(text)
    refusal = reply(body, status=problem.kind.status, media_type=encoding.value, headers=problem.headers)
    if problem.closes:
        refusal.force_close()
    return refusal


def _load() -> None:
    from sidecar.adapters.http import otlp_messages  # noqa: F401, PLC0415 - only where there is a source


def _read(encoding: Encoding, body: bytes, reader: ExportReader, *, compressed: bool) -> tuple[Export, bytes]:
    """Return what the body holds for the sources, and the answer once that is stored."""
    from sidecar.adapters.http.otlp_messages import encode_answer, read_export  # noqa: PLC0415 - as `_load`

    export = read_export(encoding, decompress(body) if compressed else body, reader)
    return export, encode_answer(encoding, export.refused, export.describe())


def _status_message(text: str) -> bytes:
    """Return a protobuf Status with a message alone; clients ignore its code."""
    encoded = text.encode()
    length, size = len(encoded), bytearray()
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    size.append(length)
    return _MESSAGE + bytes(size) + encoded
