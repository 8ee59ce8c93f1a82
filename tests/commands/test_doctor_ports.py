"""The checks of listeners and of the callers' token, on real sockets."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.checks.ports import check_api_port, check_probe_port, check_token_file
from sidecar.domain.check_result import CheckStatus
from sidecar.settings import ApiSettings, ProbeSettings


@pytest.fixture
def taken() -> Iterator[int]:
    """A port with a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_free_ports_are_right(taken: int) -> None:
    """A port that no process has is free, and port 0 takes any."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert check_probe_port(ProbeSettings("127.0.0.1", port), running=False).status is CheckStatus.OK
    assert check_probe_port(ProbeSettings("127.0.0.1", 0), running=False).status is CheckStatus.OK
    assert check_api_port(ApiSettings(port=port), running=False).status is CheckStatus.OK


@pytest.mark.parametrize(("running", "status"), [(False, CheckStatus.FAIL), (True, CheckStatus.OK)])
def test_taken_port_is_told(taken: int, *, running: bool, status: CheckStatus) -> None:
    """A port that another process has is a failure, and right if the sidecar itself has it."""
    for diagnosis, key in (
        (check_api_port(ApiSettings(port=taken), running=running), "api.port"),
        (check_probe_port(ProbeSettings("0.0.0.0", taken), running=running), "probes.port"),
    ):
        assert (status, True) == (diagnosis.status, f"port {taken} of" in diagnosis.found)
        assert (status is CheckStatus.FAIL) == (key in diagnosis.cure)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_each_family_is_judged(host: str) -> None:
    """A port that another process has on one family only is taken: the sidecar could not listen on it either."""
    at, family = ("::1", socket.AF_INET6) if socket.has_dualstack_ipv6() else ("127.0.0.1", socket.AF_INET)
    with socket.create_server((at, 0), family=family) as listener:
        port = listener.getsockname()[1]
        assert check_probe_port(ProbeSettings(host, port), running=False).status is CheckStatus.FAIL
    assert check_probe_port(ProbeSettings(host, port), running=False).status is CheckStatus.OK


def test_absent_addresses_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is right when one of its addresses is here, and the others are named."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in ("203.0.113.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    diagnosis = check_probe_port(ProbeSettings("pod.local", port), running=False)
    assert (CheckStatus.OK, True) == (diagnosis.status, "does not have 203.0.113.1" in diagnosis.found)


@pytest.mark.parametrize("host", ["192.0.2.1", "pod.invalid"])
def test_foreign_address_is_told(host: str) -> None:
    """An address that is not this host's, or a name without one, cannot be listened on."""
    diagnosis = check_probe_port(ProbeSettings(host, 8788), running=False)
    assert (CheckStatus.FAIL, True) == (
        diagnosis.status,
        f"port 8788 of {host} cannot be listened on" in diagnosis.found,
    )


def test_unix_socket_is_judged(tmp_path: Path) -> None:
    """The folder has to be there, the path short, and at it nothing, or a socket without a listener."""
    at = tmp_path / "api.sock"
    assert check_api_port(ApiSettings(port=0, socket=at), running=False).status is CheckStatus.OK
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(at))
        assert check_api_port(ApiSettings(port=0, socket=at), running=False).status is CheckStatus.OK
        listener.listen()
        for running, status in ((False, CheckStatus.FAIL), (True, CheckStatus.OK)):
            assert check_api_port(ApiSettings(port=0, socket=at), running=running).status is status
    (tmp_path / "file").write_text("")
    for path, words in (
        (tmp_path / "file", "something else than a socket"),
        (tmp_path / "absent" / "api.sock", "there is no folder"),
        (tmp_path / ("long" * 40), "longer than 107 bytes"),
    ):
        diagnosis = check_api_port(ApiSettings(port=0, socket=path), running=False)
        assert (CheckStatus.FAIL, True) == (diagnosis.status, words in diagnosis.found)


def test_token_file_is_judged(tmp_path: Path) -> None:
    """The callers' token has to be there and one word; it is not shown."""
    path = tmp_path / "token"
    assert check_token_file(ApiSettings()).status is CheckStatus.OK
    assert check_token_file(ApiSettings(token_file=path)).status is CheckStatus.FAIL
    path.write_text("two words")
    assert check_token_file(ApiSettings(token_file=path)).status is CheckStatus.FAIL
    path.write_text("the-word\n")
    diagnosis = check_token_file(ApiSettings(token_file=path))
    assert (CheckStatus.OK, False) == (diagnosis.status, "the-word" in diagnosis.found)
