"""The one small HTTP client."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPMessage

import pytest

from sidecar.http_client import Listener, NoAnswer, Response, authority


@pytest.mark.parametrize(
    ("url", "listener", "path"),
    [
        ("http://127.0.0.1:8788", Listener("127.0.0.1", 8788), ""),
        ("http://pod.local/v4/task?x=1", Listener("pod.local", 80), "/v4/task?x=1"),
        ("http://[::1]/livez", Listener("::1", 80), "/livez"),
        ("https://[::1]/base", Listener("::1", 443, tls=True), "/base"),
    ],
)
def test_url_names_listener(url: str, listener: Listener, path: str) -> None:
    """A URL without a port means the port of its scheme, for an IPv6 address too."""
    assert (listener, path) == Listener.of_url(url, ("http", "https"))


@pytest.mark.parametrize("url", ["https://pod.local", "pod.local:80", "http://", "http://pod.local:port", ""])
def test_other_urls_are_refused(url: str) -> None:
    """Only an http URL is taken where the caller does not ask for more."""
    with pytest.raises(ValueError, match=r"not an http URL|[Pp]ort"):
        Listener.of_url(url)


def test_header_with_line_end_is_no_answer() -> None:
    """A header that cannot be written ends in the same error as a listener that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(NoAnswer, match="Invalid header"):
        Listener("127.0.0.1", server.getsockname()[1]).get("/", 5, {"Authorization": "a\nb"})


def test_deep_document_is_no_document() -> None:
    """A body that is nested too deeply is not JSON, like any other junk."""
    with pytest.raises(ValueError, match="nested too deeply"):
        Response(200, b"[" * 100_000, 0.0, 0.0, HTTPMessage()).document()


@pytest.mark.parametrize(
    ("host", "expected"), [("::1", "[::1]:8788"), ("0.0.0.0", "0.0.0.0:8788"), ("pod.local", "pod.local:8788")]
)
def test_authority_has_brackets(host: str, expected: str) -> None:
    """An IPv6 address is in brackets."""
    assert expected == authority(host, 8788)


@pytest.fixture
def respond() -> Iterator[Callable[[list[bytes]], Listener]]:
    """Answer one request with these pieces, a tenth of a second apart; returns the listener."""
    threads: list[threading.Thread] = []

    def start(pieces: list[bytes]) -> Listener:
        server = socket.create_server(("127.0.0.1", 0))

        def answer() -> None:
            with closing(server), server.accept()[0] as connection, suppress(OSError):
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(0.1)

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return Listener("127.0.0.1", server.getsockname()[1])

    yield start
    for thread in threads:
        thread.join(10)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 30\r\n\r\n"


def test_whole_answer(respond: Callable[[list[bytes]], Listener]) -> None:
    """A body that comes in pieces is read to its end; headers are found in any case."""
    response = respond([HEAD, b"a" * 10, b"b" * 20]).get("", 5)
    assert (200, b"a" * 10 + b"b" * 20, "text/plain") == (
        response.status,
        response.body,
        response.headers.get("content-type"),
    )


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD, *[b"a"] * 29],
        [b"HTTP/1.1 200 OK\r\n", *[b"A: b\r\n"] * 29],
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 30,
        [CHUNKED, *[b"1\r\na\r\n"] * 30],
        [CHUNKED, b"0\r\n", *[b"A: b\r\n"] * 29],
    ],
    ids=["body", "head", "continue", "chunks", "trailers"],
)
def test_trickle_ends_in_time(respond: Callable[[list[bytes]], Listener], pieces: list[bytes]) -> None:
    """The time limit holds for the whole answer, although each read of a trickle is quick."""
    with pytest.raises(NoAnswer, match="no answer in time"):
        respond(pieces).get("/", 0.5)


def test_cut_body_is_no_answer(respond: Callable[[list[bytes]], Listener]) -> None:
    """A body that ends before its declared length is no answer."""
    with pytest.raises(NoAnswer, match="the connection ended within the body"):
        respond([HEAD + b"a" * 29]).get("/", 5)


def test_rest_is_left_out(respond: Callable[[list[bytes]], Listener]) -> None:
    """No more than the caller allows is read of a body, and that is a whole answer."""
    response = respond([HEAD + b"a" * 30]).send("GET", "/", 5, largest=7)
    assert b"a" * 7 == response.body
