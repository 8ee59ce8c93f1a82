"""A running emulator on a free port, and AWS SDK clients that talk to it."""

import asyncio
import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.validate import ParamValidator
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from sidecar.emulator import signing
from sidecar.emulator.server import serve
from sidecar.emulator.service import Options
from tests.support.tools import PATIENCE

JSON = {"Content-Type": "application/json"}


class RunningEmulator:
    """The emulator on a thread of its own."""

    def __init__(self, options: Options) -> None:
        self.url = ""
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, args=(options,))
        self._thread.start()
        self._started.wait(PATIENCE)
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def _run(self, options: Options) -> None:
        async def run() -> None:
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._stop = lambda: loop.call_soon_threadsafe(stop.set)
            await serve(options, announce=self._announce, stop=stop)

        try:
            asyncio.run(run())
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits for the start
            self._failure = error
        finally:
            self._started.set()

    def _announce(self, url: str) -> None:
        self.url = url
        self._started.set()

    def stop(self) -> None:
        """End it and wait."""
        if self._thread.is_alive():
            self._stop()
            self._thread.join(PATIENCE)

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a plain HTTP request."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def headers(self, path: str) -> dict[str, str]:
        """Return the headers of an answer."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return dict(connection.getresponse().getheaders())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Ask the control API."""
        status, body = self.send("GET", f"/_emulator/{path}")
        assert 200 == status, body
        return json.loads(body)

    def try_post(self, path: str, members: object) -> tuple[int, Any]:
        """Post to the control API whatever the outcome."""
        status, body = self.send("POST", f"/_emulator/{path}", json.dumps(members).encode(), JSON)
        return status, json.loads(body)

    def post(self, path: str, **members: object) -> Any:
        """Post to the control API."""
        status, answer = self.try_post(path, members)
        assert 200 == status, answer
        return answer

    def freeze(self, now: str) -> None:
        """Stop the time."""
        self.post("clock", now=now, speed=0)


@cache
def _key(number: int, bits: int) -> RSAPrivateKey:
    return generate_private_key(65537, bits)


@pytest.fixture(autouse=True)
def _made_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give out key pairs that earlier tests have made, each once in a test: a new one takes half a second."""
    numbers = count()
    monkeypatch.setattr(signing, "generate_private_key", lambda _, bits: _key(next(numbers), bits))


Start = Callable[..., RunningEmulator]
Connect = Callable[..., Any]


@dataclass
class Cluster:
    """Issues projected service-account tokens as a cluster does."""

    folder: Path
    issued: int = field(default=0)

    def token(self, uid: str | None = "pod-1", **claims: object) -> str:
        """Write the claims of a projected token as a JWT."""
        content: dict[str, object] = {
            "aud": ["sts.amazonaws.com"],
            "exp": int(time.time()) + 3600,
            "sub": "system:serviceaccount:shop:app",
        }
        if uid is not None:
            content["kubernetes.io"] = {"namespace": "shop", "pod": {"name": "app-0", "uid": uid}}
        parts = ({"alg": "RS256", "kid": "k"}, {**content, **claims})
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
        return ".".join((*encoded, "c2lnbmF0dXJl"))

    def token_file(self, uid: str) -> str:
        """Project a token into a file."""
        self.issued += 1
        path = self.folder / f"token-{self.issued}"
        path.write_text(self.token(uid))
        return str(path)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start emulators with options; they end with the test."""
    running: list[RunningEmulator] = []

    def start_one(**options: Any) -> RunningEmulator:
        running.append(RunningEmulator(Options(port=0, **options)))
        return running[-1]

    yield start_one
    for emulator in running:
        emulator.stop()


@pytest.fixture
def emulator(start: Start) -> RunningEmulator:
    """An emulator without a seed."""
    return start()


def validate_answer(http_response: Any, model: Any, **_: Any) -> None:
    """Refuse an answer that breaks the service model, or has a member that the model does not know."""
    if http_response.status_code == 200 and "json" in http_response.headers["Content-Type"]:
        members = json.loads(http_response.content)
        report = ParamValidator().validate(members, model.output_shape)
        assert not report.has_errors(), report.generate_report()
        assert members.keys() <= model.output_shape.members.keys()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make boto3 clients that never retry and validate each answer; they close with the test."""
    clients: list[Any] = []

    def connect_one(
        emulator: RunningEmulator, key: str = "AKIAPODONE", service: str = "meteringmarketplace", **arguments: Any
    ) -> Any:
        session = boto3.Session(
            aws_access_key_id=key,
            aws_secret_access_key=arguments.pop("secret", "whatever"),
            aws_session_token=arguments.pop("token", None),
            region_name=arguments.pop("region", "eu-central-1"),
        )
        config = Config(
            retries={"total_max_attempts": 1}, connect_timeout=PATIENCE, read_timeout=arguments.pop("timeout", PATIENCE)
        )
        clients.append(session.client(service, endpoint_url=emulator.url, config=config))
        clients[-1].meta.events.register("after-call", validate_answer)
        return clients[-1]

    yield connect_one
    for client in clients:
        client.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A cluster that projects tokens into files."""
    return Cluster(tmp_path)
