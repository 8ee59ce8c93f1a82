"""What the checks of the way to AWS find, on real sockets: names, connections, certificates, proxies, clocks."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Self

import pytest

from sidecar.checks.network import check_dns, check_endpoint, judge_clock
from sidecar.domain.check_result import CheckResult, CheckStatus
from sidecar.marketplace import Endpoint
from sidecar.marketplace.probing import ProbeFailed, ServiceProbe
from tests.support.apiserver import ApiServer

NOW = datetime(2026, 11, 23, 10, 20, 0, 500_000, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Service(ThreadingHTTPServer):
    """Anything that answers, with a clock of its own."""

    def __init__(self, off: timedelta | None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(404)
                if off is not None:
                    self.send_header("Date", format_datetime(datetime.now(UTC) + off, usegmt=True))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        super().__init__(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


def probe(url: str, within: float = 2) -> ServiceProbe:
    """Return the way to a service that stands at `url`."""
    return ServiceProbe(Endpoint(region_name="eu-west-1", endpoint_url=url), timedelta(seconds=within))


def ask(url: str) -> tuple[CheckResult, CheckResult]:
    """Return what is reported of the endpoint at `url` and of the clock."""
    endpoint, clock = check_endpoint(probe(url))
    return endpoint, clock


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK reads the process's own environment."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_PROFILE", "HTTPS_PROXY", "https_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")


@pytest.fixture
def closed_port() -> int:
    """A port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[ApiServer]:
    """A TLS server whose certificate no public authority made."""
    server = ApiServer(tmp_path / "account")
    yield server
    server.close()


@pytest.mark.parametrize(
    ("off", "status", "words"),
    [
        (timedelta(), CheckStatus.OK, "agrees"),
        (timedelta(seconds=30), CheckStatus.OK, "behind"),
        (timedelta(minutes=3), CheckStatus.WARN, "behind the service's"),
        (timedelta(minutes=-3), CheckStatus.WARN, "ahead of the service's"),
        (timedelta(minutes=10), CheckStatus.FAIL, "behind the service's"),
        (timedelta(minutes=-10), CheckStatus.FAIL, "ahead of the service's"),
        (None, CheckStatus.SKIPPED, "no date"),
    ],
)
def test_clock_is_compared(
    off: timedelta | None, status: CheckStatus, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Date header of the service's answer shows how far this machine's clock is off."""
    monkeypatch.setattr(ServiceProbe, "emulated", False)
    with Service(off) as service:
        endpoint, clock = ask(f"http://127.0.0.1:{service.server_port}")
    assert (CheckStatus.OK, status, True) == (endpoint.status, clock.status, words in clock.found)


def test_emulators_clock_is_not_compared() -> None:
    """An emulator has a clock of its own, which the sidecar follows."""
    with Service(timedelta(minutes=10)) as service:
        _, clock = ask(f"http://127.0.0.1:{service.server_port}")
    assert (CheckStatus.SKIPPED, True) == (clock.status, "an emulator has a clock of its own" in clock.found)


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (NOW.replace(microsecond=0), CheckStatus.OK),
        (NOW.replace(microsecond=0) + 61 * SECOND, CheckStatus.OK),
        (NOW.replace(microsecond=0) + 62 * SECOND, CheckStatus.WARN),
        (NOW.replace(microsecond=0) - 60 * SECOND, CheckStatus.OK),
        (NOW.replace(microsecond=0) - 61 * SECOND, CheckStatus.WARN),
        (NOW.replace(microsecond=0) + 301 * SECOND, CheckStatus.WARN),
        (NOW.replace(microsecond=0) + 302 * SECOND, CheckStatus.FAIL),
        (NOW.replace(microsecond=0) - 300 * SECOND, CheckStatus.WARN),
        (NOW.replace(microsecond=0) - 301 * SECOND, CheckStatus.FAIL),
    ],
)
def test_skew_has_limits(shown: datetime, status: CheckStatus) -> None:
    """More than a minute is doubtful and more than five are wrong, beyond the whole second that the header hides."""
    assert judge_clock(shown, NOW, NOW + SECOND).status is status


def test_closed_port_is_told(closed_port: int) -> None:
    """Without a listener the address is named, and the clock cannot be judged."""
    endpoint, clock = ask(f"http://127.0.0.1:{closed_port}")
    assert (CheckStatus.FAIL, CheckStatus.SKIPPED) == (endpoint.status, clock.status)
    assert f"127.0.0.1:{closed_port}" in endpoint.found


def test_silent_service_is_told() -> None:
    """A service that takes the connection and sends nothing is given up in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ProbeFailed) as raised:
        probe(url := f"http://127.0.0.1:{silent.getsockname()[1]}", 0.2).reach(url)
    assert "ReadTimeoutError" == raised.value.code


def test_unknown_name_is_told() -> None:
    """A name without an address is reported with its host, by the lookup and by the connection."""
    url = "http://metering.invalid:8789"
    found = check_dns([url])
    assert (CheckStatus.FAIL, True) == (found.status, "metering.invalid: " in found.found)
    assert ask(url)[0].status is CheckStatus.FAIL


def test_every_name_is_looked_up() -> None:
    """One name without an address is a fault, whatever the others have; a host is looked up once."""
    found = check_dns(["http://localhost:1", "http://localhost:1/", "https://sts.invalid"])
    assert (CheckStatus.FAIL, True) == (found.status, found.found.startswith("sts.invalid: "))
    assert "127.0.0.1 is 127.0.0.1" == check_dns(["http://127.0.0.1:1", "http://127.0.0.1:1/"]).found


def test_foreign_certificate_is_refused(tls: ApiServer) -> None:
    """A certificate of an unknown authority is distinguished from other faults, with AWS_CA_BUNDLE as its cure."""
    endpoint, _ = ask(f"https://127.0.0.1:{tls.environ['KUBERNETES_SERVICE_PORT']}")
    assert (CheckStatus.FAIL, True) == (endpoint.status, "CertificateRefused" in endpoint.found)
    assert "AWS_CA_BUNDLE" in endpoint.cure


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_bundle_is_used(tls: ApiServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With its authority in the bundle the same certificate is right, as it is for the SDK."""
    monkeypatch.setenv(name, str(tls.account / "ca.crt"))
    assert ask(f"https://127.0.0.1:{tls.environ['KUBERNETES_SERVICE_PORT']}")[0].status is CheckStatus.OK


def test_missing_bundle_is_told(tls: ApiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bundle that is not there keeps every call from being made, and is reported."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "absent.pem"))
    endpoint, _ = ask(f"https://127.0.0.1:{tls.environ['KUBERNETES_SERVICE_PORT']}")
    assert (CheckStatus.FAIL, True) == (endpoint.status, "AWS_CA_BUNDLE" in endpoint.cure)


def test_plain_service_is_no_tls() -> None:
    """A service that does not speak TLS where it should is reported."""
    with Service(None) as service:
        endpoint, _ = ask(f"https://127.0.0.1:{service.server_port}")
    assert (CheckStatus.FAIL, True) == (endpoint.status, "SSLError" in endpoint.found)


def test_dead_proxy_is_told(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    """Live calls go through the proxy; a dead one is named, without its password."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:hidden@127.0.0.1:{closed_port}")
    live = ServiceProbe(Endpoint(region_name="eu-west-1"))
    endpoint, _ = check_endpoint(live)
    assert (CheckStatus.FAIL, True) == (endpoint.status, f"through http://127.0.0.1:{closed_port}" in endpoint.found)
    assert "hidden" not in str(endpoint)
    assert "HTTPS_PROXY" in endpoint.cure


def test_addresses_are_the_regions() -> None:
    """The services are asked in the Region of the endpoint, whatever is configured elsewhere."""
    live = ServiceProbe(Endpoint(region_name="eu-west-1"))
    assert "https://metering.marketplace.eu-west-1.amazonaws.com" == live.address("meteringmarketplace")
    assert "https://sts.eu-west-1.amazonaws.com" == live.address("sts")


def test_proxy_can_be_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY counts as it does for the SDK."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.corp:3128")
    live = ServiceProbe(Endpoint(region_name="eu-west-1"))
    url = live.address("sts")
    assert "http://proxy.corp:3128" == live.proxy(url)
    monkeypatch.setenv("NO_PROXY", ".amazonaws.com")
    assert live.proxy(url) is None


def test_unknown_profile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that is not there is found before any call."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ProbeFailed, match="AWS_PROFILE is 'nobody', which the SDK refuses"):
        ServiceProbe(Endpoint(region_name="eu-west-1"))
