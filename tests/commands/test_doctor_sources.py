"""The check of the sources: files of resources, pages with counters, exports of the app."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sidecar.adapters.counter_pages import PageBody
from sidecar.checks import sources
from sidecar.checks.running import RunningSidecar
from sidecar.checks.sources import check_sources
from sidecar.domain.check_result import CheckStatus
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.sources import Otlp, PodTime, Prometheus, Resource, ResourceBound, ResourceKind
from sidecar.settings import ApiSettings

CPU = Dimension("vcpu", source=Resource(ResourceKind.CPU, ResourceBound.LIMIT, "app"))
MEMORY = Dimension("gib", source=Resource(ResourceKind.MEMORY, ResourceBound.REQUEST, "app"))
HOURS = Dimension("hours", source=PodTime())
TOKENS = Dimension("tokens", source=Otlp("app.tokens"))
IN_POD = {"POD_UID": "11111111-2222-3333-4444-555555555555"}
ENDPOINT = "dimension tokens: the app exports app.tokens to http://127.0.0.1:8787/v1/metrics"


@pytest.mark.parametrize(
    ("dimensions", "files", "status", "found"),
    [
        (
            [Dimension("requests"), HOURS],
            {},
            CheckStatus.SKIPPED,
            "no dimension is measured by a resource or a counter",
        ),
        ([CPU, HOURS], {"app.limits.cpu": "1500"}, CheckStatus.OK, "app.limits.cpu is 1500"),
        (
            [CPU, MEMORY],
            {"app.limits.cpu": "1500", "app.requests.memory": "1"},
            CheckStatus.OK,
            "app.limits.cpu is 1500; app.requests.memory is 1",
        ),
        ([CPU], {}, CheckStatus.FAIL, "dimension vcpu: {}/app.limits.cpu cannot be read: No such file or directory"),
        (
            [CPU, MEMORY],
            {"app.limits.cpu": "1500", "app.requests.memory": "1Gi"},
            CheckStatus.FAIL,
            "app.limits.cpu is 1500; dimension gib: {}/app.requests.memory does not hold a positive whole number",
        ),
    ],
)
def test_files_are_judged(
    tmp_path: Path, dimensions: list[Dimension], files: dict[str, str], status: CheckStatus, found: str
) -> None:
    """Each file that is needed is read as the running sidecar reads it."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    result = check_sources(dimensions, ApiSettings(), {}, None, tmp_path)
    assert (status, found.format(tmp_path)) == (result.status, result.found)
    assert (status is CheckStatus.FAIL) == bool(result.cure)


Serve = Callable[[str], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a page; returns its URL. The path `/lost` is not found."""
    servers: list[ThreadingHTTPServer] = []

    def start(text: str) -> str:
        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(404 if self.path == "/lost" else 200)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Page))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/metrics"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def counter(url: str, metric: str = "served_total", **match: str) -> Dimension:
    """Return a dimension that is measured by a page."""
    return Dimension("served", source=Prometheus(url, metric, tuple(match.items()), (("tenant", "Customer"),)))


@pytest.mark.parametrize(
    ("text", "match", "status", "found", "cure"),
    [
        ('served_total{tenant="a"} 7\nserved_total 1\n', {}, CheckStatus.OK, "has 2 series of served_total", ""),
        ("other_total 7\n", {}, CheckStatus.WARN, "has no series of served_total", "Compare the `metric`"),
        ("other_total 7\n", {"code": "2.."}, CheckStatus.WARN, "has no series of served_total", "Compare the `metric`"),
        (
            'served_total{code="500"} 7\n',
            {"code": "2.."},
            CheckStatus.WARN,
            "has 1 series of served_total, and `match` fits none of them",
            "Compare `match`",
        ),
        (
            'served_total{tenant="a"} 7\nserved_total{tenant="b!"} 1\n',
            {},
            CheckStatus.WARN,
            "has 2 series of served_total, 1 of them with label values that are no valid tags",
            "Let the app write label values",
        ),
        ("served_total NaN\n", {}, CheckStatus.FAIL, "has a value that no counter has: served_total NaN", "Correct"),
        ("served_total 7", {}, CheckStatus.FAIL, "is cut: its last line has no end", "Correct the page"),
    ],
)
def test_pages_are_judged(
    serve: Serve, text: str, match: Mapping[str, str], status: CheckStatus, found: str, cure: str
) -> None:
    """A page is fetched and read as the running sidecar does it, and the cause decides the cure."""
    url = serve(text)
    result = check_sources([counter(url, **match)], ApiSettings(), IN_POD, None)
    assert (status, f"dimension served: the page {url} {found}") == (result.status, result.found)
    assert result.cure.startswith(cure)
    assert bool(cure) == bool(result.cure)


def test_page_that_does_not_come(serve: Serve) -> None:
    """No answer and an error status have the cure for the app's server, and one page hides no other source."""
    lost = serve("").replace("/metrics", "/lost")
    result = check_sources([counter(lost), CPU], ApiSettings(), IN_POD, None, Path("/nowhere"))
    assert result.status is CheckStatus.FAIL
    assert f"the page {lost} has the status 404; dimension vcpu: /nowhere/app.limits.cpu cannot be read" in result.found
    assert result.cure.startswith("Let the app serve the page")
    assert "Mount the downward API's file" in result.cure


def test_pages_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One page is fetched once for all its dimensions, and all pages together stay below the limit of a check."""
    asked: list[tuple[str, timedelta]] = []

    def fetch(url: str, within: timedelta) -> PageBody:
        asked.append((url, within))
        return PageBody(b"served_total 1\n", packed=False, openmetrics=False)

    monkeypatch.setattr(sources, "fetch_page", fetch)
    pages = [counter("http://127.0.0.1:1/a"), counter("http://127.0.0.1:1/a", code=""), counter("http://127.0.0.1:1/b")]
    assert check_sources(pages, ApiSettings(), IN_POD, None).status is CheckStatus.OK
    assert ["http://127.0.0.1:1/a", "http://127.0.0.1:1/b"] == [url for url, _ in asked]
    assert sum((within for _, within in asked), timedelta()) <= timedelta(seconds=4)


def test_pages_are_out_of_reach() -> None:
    """Outside a pod nothing is fetched, because the loopback interface is another one; a sidecar here proves it."""
    page = counter("http://127.0.0.1:1/metrics")
    result = check_sources([page], ApiSettings(), {}, None)
    assert result.status is CheckStatus.SKIPPED
    assert result.found.endswith("cannot be read from outside the pod: run doctor in the pod")
    assert check_sources([page], ApiSettings(), {}, RunningSidecar({})).status is CheckStatus.FAIL


@pytest.mark.parametrize(
    ("shown", "status", "found"),
    [
        (None, CheckStatus.SKIPPED, "; no sidecar answers that knows whether an export has come"),
        ([], CheckStatus.WARN, "; the running sidecar has received none"),
        (
            [{"dimension": "tokens", "last_sample_at": None}],
            CheckStatus.WARN,
            "; the running sidecar has received none",
        ),
        (
            [
                {"dimension": "served", "last_sample_at": "2026-03-01T09:00:00Z"},
                {"dimension": "tokens", "last_sample_at": "2026-03-01T10:20:00Z"},
            ],
            CheckStatus.OK,
            "; the last export came at 2026-03-01T10:20:00Z",
        ),
    ],
)
def test_exports_are_judged(shown: list[Mapping[str, object]] | None, status: CheckStatus, found: str) -> None:
    """The endpoint of the app is named, and the running sidecar knows whether an export has come."""
    running = None if shown is None else RunningSidecar({"sources": shown})
    result = check_sources([TOKENS, HOURS], ApiSettings(), IN_POD, running)
    assert (status, ENDPOINT + found) == (result.status, result.found)
    assert (status is CheckStatus.WARN) == ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://" in result.cure)


def test_exports_with_a_token() -> None:
    """Where callers need a token, the cure names the header."""
    result = check_sources([TOKENS], ApiSettings(token_file=Path("/token")), IN_POD, RunningSidecar({}))
    assert "OTEL_EXPORTER_OTLP_METRICS_HEADERS" in result.cure


def test_exports_to_a_port_that_changes() -> None:
    """A port that the kernel chooses is no endpoint for an app."""
    result = check_sources([TOKENS], ApiSettings(port=0), IN_POD, None)
    assert (CheckStatus.WARN, True) == (result.status, result.found.endswith("of a port that changes: api.port is 0"))
    assert result.cure.startswith("Set api.port")
