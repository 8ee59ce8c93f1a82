"""What tests of several parts share: a clock that does not move, a seller with keys, and the mark `machine`."""

import asyncio
import base64
import hashlib
import heapq
import itertools
import json
import signal
from collections.abc import Generator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, settings

from tests.support.measuring import unmeasured
from tests.support.tools import MARK, Marked

# An example takes as long as the machine is busy: neither its time nor that of its making says anything of the code.
settings.register_profile("patient", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# A run that a shell started in the background ignores interrupts, and would pass that on to the processes under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_START = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)


class ManualClock:
    """A clock that moves only when a test moves it, and wakes its sleepers in the order of their instants."""

    def __init__(self, start: datetime = _START) -> None:
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    def now(self) -> datetime:
        """Return the instant that the test has set."""
        return self._now

    async def sleep_until(self, instant: datetime) -> None:
        """Return once a test has moved the clock to `instant`."""
        if instant <= self._now:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (instant, next(self._order), waiter))
        self._arrived.set()
        self._arrived = asyncio.Event()
        await waiter

    def step(self, by: timedelta) -> None:
        """Set the clock forwards or backwards without letting anybody run; due sleepers wake at the next turn."""
        self._now += by
        while self._sleepers and self._sleepers[0][0] <= self._now:
            self._wake()

    async def advance(self, by: timedelta) -> None:
        """Let `by` pass: each sleeper on the way wakes at its instant, and does what it does before time continues."""
        end = self._now + by
        await self.settle()
        while (next_instant := self.next_instant()) is not None and next_instant <= end:
            self._now = max(self._now, next_instant)
            self._wake()
            await self.settle()
        self._now = max(self._now, end)
        await self.settle()

    async def settle(self) -> None:
        """Let every task run until it waits for something other than its turn."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def sleeper(self) -> datetime:
        """Return the next instant that a task waits for, as soon as there is one."""
        while (instant := self.next_instant()) is None:
            await self._arrived.wait()
        return instant

    def next_instant(self) -> datetime | None:
        """Return the next instant that a task waits for; None without one."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _wake(self) -> None:
        _, _, waiter = heapq.heappop(self._sleepers)
        if not waiter.done():
            waiter.set_result(None)


class Signer:
    """A signer with an RSA key, which signs tokens, well or badly."""

    def __init__(self, bits: int = 2048) -> None:
        self.key: RSAPrivateKey = generate_private_key(public_exponent=65537, key_size=bits)
        self.pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data: bytes, *, salt: int = 32, mask: HashAlgorithm | None = None) -> bytes:
        """Return the RSASSA-PSS SHA-256 signature; RFC 7518 wants a salt of 32 bytes and the same hash in the mask."""
        return self.key.sign(data, PSS(MGF1(mask or SHA256()), salt), SHA256())

    def token(self, claims: Mapping[str, object] | bytes, header: Mapping[str, object] | bytes | None = None) -> str:
        """Return a compact JWS; bytes go in as they are."""
        if header is None:
            header = {"alg": "PS256", "typ": "JWT"}
        parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
        signing_input = ".".join(self.base64url(part) for part in parts)
        return f"{signing_input}.{self.base64url(self.sign(signing_input.encode()))}"

    @staticmethod
    def base64url(data: bytes) -> str:
        """Return unpadded base64url."""
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")

    def write(self, folder: Path) -> Path:
        """Write the public key to a file named after its digest, and return the path."""
        path = folder / f"{hashlib.sha256(self.pem).hexdigest()[:8]}.pem"
        path.write_bytes(self.pem)
        return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests first: one that begins last leaves the other cores idle.

    Raises:
        UsageError: A test is marked `machine`, and `make test-cluster` does not find its file.
    """
    marked = {item.path for item in items if item.get_closest_marker(MARK) and not item.get_closest_marker("cluster")}
    lost = sorted(path.name for path in marked if f"mark.{MARK}" not in path.read_text(encoding="utf-8"))
    if lost:
        raise pytest.UsageError(f"{', '.join(lost)}: write the mark in the file itself, as pytest.mark.{MARK}")
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure neither a marked test and its fixtures nor the processes of both: coverage would triple the minutes.

    Nor a property test: its hundreds of examples run the lines that other tests measure.
    """
    property_test = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    if property_test or any(item.get_closest_marker(mark) for mark in ("long", "unmeasured")):
        with unmeasured():
            return (yield)
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note before the first fixture whether the test may need more than Python and make."""
    Marked.current = item.get_closest_marker(MARK) is not None


@cache
def _signer(name: str, bits: int) -> Signer:
    """Return one signer per name and size for the whole run: keys take long to make."""
    return Signer(bits)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that is stopped at 2026-11-23T10:20:00Z."""
    return ManualClock()


@pytest.fixture
def seller() -> Signer:
    """The one whose public key the product has."""
    return _signer("seller", 2048)


@pytest.fixture
def stranger() -> Signer:
    """Another signer with a key of the same size."""
    return _signer("stranger", 2048)
