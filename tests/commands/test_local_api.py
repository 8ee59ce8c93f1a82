"""Asking the running sidecar for its status: every way in which there is none has a reason and a cure."""

from pathlib import Path
from threading import Thread

import pytest

from sidecar.api_client import NoStatus, address_of, fetch_status
from sidecar.settings import ApiSettings
from tests.commands.serving import Api, UnixServer, handler_of, serving
from tests.commands.statuses import served


def test_status_comes() -> None:
    """The document of /v1/status is returned as it is."""
    api = Api(served())
    with serving(api) as settings:
        assert served() == fetch_status(settings)
    assert ["/v1/status"] == api.asked


def test_unix_socket_goes_first(tmp_path: Path) -> None:
    """Where a unix socket is configured it is asked, and named as the place."""
    path = tmp_path / "api.sock"
    with UnixServer(str(path), handler_of(Api(served()))) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        assert served() == fetch_status(ApiSettings(port=1, socket=path))
        server.shutdown()
        thread.join()
    assert str(path) == address_of(ApiSettings(port=1, socket=path))


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", "http://127.0.0.1:8787"), ("::1", "http://[::1]:8787")])
def test_place_is_an_address(host: str, expected: str) -> None:
    """The place that was looked at can be pasted into a browser."""
    assert expected == address_of(ApiSettings(host=host))


@pytest.mark.parametrize("answer", [b"<html>", b"\xff", b"[" * 100000, [], {"entitled": True}])
def test_no_status_is_no_sidecar(answer: object) -> None:
    """Whatever is no status is reported as something else that listens there."""
    with serving(Api(answer)) as settings, pytest.raises(NoStatus, match="so it is not a sidecar") as told:
        fetch_status(settings)
    assert "api.port" in told.value.cure


def test_nobody_is_told() -> None:
    """Without an answer the place is named, and how to start the sidecar."""
    with pytest.raises(NoStatus, match=r"no answer from http://127\.0\.0\.1:1: .*refused") as told:
        fetch_status(ApiSettings(port=1))
    assert "marketplace-sidecar run" in told.value.cure


def test_token_is_shown(tmp_path: Path) -> None:
    """The token of the file is sent; a wrong one and one that cannot be read are distinguished."""
    path = tmp_path / "token"
    with serving(Api(served(), token="t0ken")) as listening:
        settings = ApiSettings(port=listening.port, token_file=path)
        with pytest.raises(NoStatus, match=r"cannot be used: .*No such file"):
            fetch_status(settings)
        path.write_text("other")
        with pytest.raises(NoStatus, match="refuses the token"):
            fetch_status(settings)
        path.write_text("t0ken\n")
        assert served() == fetch_status(settings)
