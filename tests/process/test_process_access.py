"""Who may use the local API of a running sidecar, and over what."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.processes import Ask, Site

pytestmark = pytest.mark.process


@pytest.mark.ending
def test_socket_serves_app(site: "Site", ask: "Ask", tmp_path: Path) -> None:
    """Over the unix socket the app reports usage and `wait` learns of the entitlement; it is gone at the end."""
    path = tmp_path / "api.sock"
    sidecar = site.start_entitled(api={"socket": str(path)})
    assert 202 == ask(path, "POST", "/v1/usage", {"dimension": "requests"}).status
    assert ask(path, "GET", "/v1/entitlement").document["entitled"] is True
    assert 0 == site.command("wait", "--config", str(site.reach(sidecar)), "--timeout", "20").await_end()
    assert {"accepted": "1", "open": "1"} == sidecar.terms()
    sidecar.signal()
    assert 0 == sidecar.await_end()
    assert not path.exists()


def test_stale_socket_is_replaced(site: "Site", ask: "Ask", tmp_path: Path) -> None:
    """The socket that SIGKILL left behind does not keep the next process from listening."""
    path = tmp_path / "api.sock"
    site.start(api={"socket": str(path)}).kill()
    assert path.exists()
    site.start(api={"socket": str(path)})
    assert 200 == ask(path, "GET", "/v1/entitlement").status


def test_token_is_needed(site: "Site", ask: "Ask", tmp_path: Path) -> None:
    """With `token_file` no request without the token gets an answer, and `wait` sends it."""
    token_file = tmp_path / "token"
    token_file.write_text("of-the-app\n")
    sidecar = site.start(api={"token_file": str(token_file)})
    for headers in ({}, {"Authorization": "Bearer of-another"}, {"Authorization": "Basic of-the-app"}):
        for method, path in (("GET", "/v1/entitlement"), ("POST", "/v1/usage"), ("GET", "/v1/status")):
            reply = ask(sidecar.api, method, path, None, headers)
            assert (401, True) == (reply.status, reply.document["type"].endswith("unauthorized"))
    right = {"Authorization": "Bearer of-the-app"}
    assert 202 == ask(sidecar.api, "POST", "/v1/usage", {"dimension": "requests"}, right).status
    assert 200 == sidecar.probe("livez").status
    config = str(site.write("reach.yaml", api={"port": sidecar.api, "token_file": str(token_file)}))
    assert 0 == site.command("wait", "--config", config, "--timeout", "20").await_end()
    assert "of-the-app" not in sidecar.log


def test_foreign_host_is_refused(site: "Site", ask: "Ask") -> None:
    """A request that names anything but loopback is refused on the API, from any sender; probes take any name."""
    sidecar = site.start()
    for host in ("attacker.example", "10.0.0.7", "127.0.0.1.attacker.example"):
        reply = ask(sidecar.api, "POST", "/v1/usage", {"dimension": "requests"}, {"Host": host})
        assert (421, True) == (reply.status, reply.document["type"].endswith("misdirected"))
        assert 200 == ask(sidecar.probes, "GET", "/livez", None, {"Host": host}).status
    for host in ("localhost", "127.0.0.1:1", "[::1]"):
        assert 200 == ask(sidecar.api, "GET", "/v1/entitlement", None, {"Host": host}).status
    assert {} == sidecar.terms()
