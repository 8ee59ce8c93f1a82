"""Where a listener is asked from next to it."""

import pytest

from sidecar.http_client import http_url, reachable


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8788"),
        ("::", "http://[::1]:8788"),
        ("10.0.0.1", "http://10.0.0.1:8788"),
        ("::1", "http://[::1]:8788"),
        ("pod.local", "http://pod.local:8788"),
    ],
)
def test_every_address_means_loopback(host: str, url: str) -> None:
    """A listener on every address is asked on loopback, and an IPv6 address is in brackets."""
    assert url == http_url(reachable(host), 8788)
