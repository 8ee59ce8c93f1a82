"""The one small HTTP client."""

import socket

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
        Response(200, b"[" * 100_000, 0.0, 0.0).document()


@pytest.mark.parametrize(
    ("host", "expected"), [("::1", "[::1]:8788"), ("0.0.0.0", "0.0.0.0:8788"), ("pod.local", "pod.local:8788")]
)
def test_authority_has_brackets(host: str, expected: str) -> None:
    """An IPv6 address is in brackets."""
    assert expected == authority(host, 8788)
