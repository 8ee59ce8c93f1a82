"""Pages with counters over a real connection: what is a page, and what is none."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from sidecar.adapters import counter_pages
from sidecar.adapters.counter_pages import fetch_page
from sidecar.domain.metering.pages import PageUnusable

TEXT = b"served_total 7\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
PACKED = gzip.compress(TEXT)
CUT = "cannot be fetched within 5 s: the connection ended within the body"
Answer = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Answer]:
    """Answer one request with these bytes; returns the page's URL."""
    threads: list[threading.Thread] = []

    def start(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))

        def respond() -> None:
            with closing(listener):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        threads.append(threading.Thread(target=respond))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/metrics?a=1"

    yield start
    for thread in threads:
        thread.join(5)


def sized(body: bytes, head: bytes = PLAIN) -> bytes:
    """Return an answer with the length of its body."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("answer", "openmetrics"),
    [
        (sized(TEXT), False),
        (PLAIN + b"\r\n" + TEXT, False),
        (PLAIN + b"Transfer-Encoding: chunked\r\n\r\nf\r\n" + TEXT + b"\r\n0\r\n\r\n", False),
        (sized(PACKED, PLAIN + b"Content-Encoding: gzip\r\n"), False),
        (sized(TEXT, b"HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0\r\n"), True),
    ],
    ids=["length", "end of connection", "chunked", "gzip", "openmetrics"],
)
def test_pages(serve: Answer, answer: bytes, *, openmetrics: bool) -> None:
    """A page comes in each way that HTTP has, packed or not."""
    page = fetch_page(serve(answer), timedelta(seconds=5))
    assert (TEXT, openmetrics) == (page.unpack(), page.openmetrics)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 503 Busy\r\n\r\n", "has the status 503"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\n\r\n", "has the status 302"),
        (PLAIN + b"Content-Length: 99\r\n\r\n" + TEXT, CUT),
        (PLAIN + b"Transfer-Encoding: chunked\r\n\r\nff\r\n" + TEXT, CUT),
        (sized(PACKED[:-9], PLAIN + b"Content-Encoding: gzip\r\n"), "cannot be unpacked"),
        (sized(TEXT, PLAIN + b"Content-Encoding: gzip\r\n"), "cannot be unpacked"),
        (sized(TEXT, PLAIN + b"Content-Encoding: br\r\n"), "has the content encoding br"),
        (sized(b"\xff\n"), "is not UTF-8 text"),
        (sized(gzip.compress(b"x" * 5000), PLAIN + b"Content-Encoding: gzip\r\n"), "is larger than"),
        (sized(b"x" * 5000), "is larger than"),
        (b"", "cannot be fetched within 5 s: "),
    ],
    ids=lambda value: str(value)[:30],
)
def test_unusable_answers(serve: Answer, monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str) -> None:
    """Whatever is not a whole page of a bearable size is no sample."""
    monkeypatch.setattr(counter_pages, "LARGEST_PAGE", 4096)
    with pytest.raises(PageUnusable) as refused:
        fetch_page(serve(answer), timedelta(seconds=5)).unpack()
    assert str(refused.value).startswith(words)


def test_no_listener() -> None:
    """An app that does not listen has no page."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PageUnusable, match="cannot be fetched within 5 s: connection refused"):
        fetch_page(f"http://127.0.0.1:{port}", timedelta(seconds=5))


def test_silent_listener() -> None:
    """An app that does not answer has no page, and is not waited for longer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(PageUnusable, match=r"cannot be fetched within 0\.2 s: no answer in time"):
            fetch_page(url, timedelta(milliseconds=200))
