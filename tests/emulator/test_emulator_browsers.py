"""Foreign web pages cannot use the emulator; its console and every program can."""

from typing import TYPE_CHECKING

import pytest

from sidecar.emulator.browsers import find_fault

if TYPE_CHECKING:
    from tests.emulator.conftest import RunningEmulator

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "emulator:8789"},
        {"Host": "emulator.shop.svc:8789", "User-Agent": "Boto3/1.44"},
        {"Host": "emulator.example.com:8789", "User-Agent": "curl/8.0"},
        {"Host": "emulator.example.com", "User-Agent": "node", "Sec-Fetch-Mode": "cors"},
        {},
        {"User-Agent": FIREFOX},
        {"Host": "emulator.example.com:8789", "User-Agent": FIREFOX},
        {"Host": "emulator.example.com:8789", "User-Agent": FIREFOX, "Sec-Fetch-Site": "same-origin"},
        {"Host": "127.0.0.1:8789", "Origin": "http://127.0.0.1:8789"},
        {"Host": "LocalHost:8789", "Origin": "http://localhost:8789", "Sec-Fetch-Site": "same-origin"},
        {"Host": "[::1]:8789", "Origin": "http://[::1]:8789", "User-Agent": FIREFOX},
        {"Host": "10.1.2.3:8789", "Sec-Fetch-Site": "none", "User-Agent": FIREFOX},
        {"Host": "emulator:8789", "Origin": "http://emulator:8789"},
        {"Host": "emulator.shop.svc.cluster.local", "Origin": "http://emulator.shop.svc.cluster.local"},
        {"Host": "dev.example.com:8789", "Origin": "http://dev.example.com:8789"},
    ],
)
def test_own_page_and_programs_pass(headers: dict[str, str]) -> None:
    """Programs use any name, and the Host alone decides nothing; an Origin is one that no outsider can have."""
    assert find_fault(headers, "dev.example.com") is None


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"Host": "127.0.0.1:8789", "Origin": "http://evil.example"}, "Origin"),
        ({"Host": "127.0.0.1:8789", "Origin": "null"}, "Origin"),
        ({"Host": "127.0.0.1:8789", "Origin": "http://["}, "Origin"),
        ({"Host": "[", "Origin": "http://["}, "Origin"),
        ({"Host": "127.0.0.1:8789", "Origin": "http://127.0.0.1:9999"}, "Origin"),
        ({"Host": "127.0.0.1:8789", "Origin": "https://127.0.0.1:8789"}, "Origin"),
        ({"Host": "127.0.0.1:8789", "Origin": "http://localhost:8789"}, "Origin"),
        ({"Host": "127.0.0.1:8789", "Sec-Fetch-Site": "cross-site"}, "Sec-Fetch-Site"),
        ({"Host": "127.0.0.1:8789", "Sec-Fetch-Site": "same-site"}, "Sec-Fetch-Site"),
        ({"Host": "evil.example:8789", "Origin": "http://evil.example:8789"}, "Origin"),
        ({"Host": "127.0.0.1.evil.example:8789", "Origin": "http://127.0.0.1.evil.example:8789"}, "Origin"),
        ({"Host": "localhost.evil.example", "Origin": "http://localhost.evil.example"}, "Origin"),
        ({"Host": "", "Origin": "http://"}, "Origin"),
        ({"Origin": "http://127.0.0.1:8789"}, "Origin"),
    ],
)
def test_foreign_page_is_refused(headers: dict[str, str], named: str) -> None:
    """Another origin, an opaque one, and a name that was bound to this address are refused; the header is named."""
    assert (find_fault(headers, "127.0.0.1") or "").startswith(named)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/_emulator/reset", {"Origin": "http://evil.example"}),
        ("POST", "/_emulator/reset", {"Origin": "http://evil.example", "Content-Type": "text/plain"}),
        ("POST", "/_emulator/reset", {"Origin": "null"}),
        ("POST", "/", {"Origin": "http://evil.example", "Content-Type": "application/x-www-form-urlencoded"}),
        ("POST", "/_emulator/keys", {**JSON, "Origin": "null"}),
        ("POST", "/_emulator/keys", {**JSON, "Origin": "http://rebound.example", "Host": "rebound.example"}),
        ("GET", "/_emulator/state", {"Origin": "http://evil.example"}),
        ("GET", "/_emulator/state", {"Sec-Fetch-Site": "cross-site"}),
        ("OPTIONS", "/_emulator/reset", {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}),
    ],
)
def test_server_refuses_foreign_page(
    emulator: "RunningEmulator", method: str, path: str, headers: dict[str, str]
) -> None:
    """Every door refuses a foreign page: nothing changes, and no header of CORS allows a second try."""
    emulator.post("faults", operation="MeterUsage", fault="throttle")
    body = b'{"rotate": true}' if method == "POST" else None
    assert 403 == emulator.send(method, path, body, headers)[0]
    assert [("MeterUsage", 1)] == [(each["operation"], each["count"]) for each in emulator.get("state")["faults"]]


def test_link_leads_to_the_console(emulator: "RunningEmulator") -> None:
    """A link of another page opens the console: the page itself holds nothing of the emulator."""
    assert 200 == emulator.send("GET", "/", None, {"Sec-Fetch-Site": "cross-site", "User-Agent": FIREFOX})[0]


@pytest.mark.parametrize("host", ["emulator", "emulator.shop.svc.cluster.local:8789", "emulator.example.com", "a_b.c"])
def test_server_takes_every_host(emulator: "RunningEmulator", host: str) -> None:
    """A program changes and reads the emulator by every name that leads to it, whatever program it claims to be."""
    headers = {"Host": host, "User-Agent": FIREFOX}
    assert 200 == emulator.send("POST", "/_emulator/keys", b'{"rotate": true}', {**JSON, **headers})[0]
    assert 200 == emulator.send("GET", "/_emulator/state", None, headers)[0]
