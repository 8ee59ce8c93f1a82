"""Who may use the API."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.adapters.http import access
from sidecar.adapters.http.access import TokenFileUnusable, is_loopback
from tests.support.http_fakes import Api, Wire, request


@pytest.mark.parametrize(
    "authority",
    [
        *("localhost", "LocalHost", "localhost:8787", "localhost:1", "localhost:", "127.0.0.1", "127.0.0.1:8787"),
        *("127.1.2.3:80", "[::1]", "[::1]:8787", "[0:0:0:0:0:0:0:1]"),
    ],
)
def test_loopback_names_taken(authority: str) -> None:
    """Every name and address of the loopback interface is taken, with any port."""
    assert is_loopback(authority)


@pytest.mark.parametrize(
    "authority",
    [
        *("", ":8787", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example"),
        *(
            "evil.example:8787",
            "10.0.0.1",
            "0.0.0.0",
            "128.0.0.1",
            "[::]",
            "[::2]",
            "::1",
            "[127.0.0.1]",
            "[localhost]",
        ),
        *(
            "localhost:80:80",
            "localhost:x",
            "localhost/",
            "local host",
            "2130706433",
            "0x7f000001",
            "127.1",
            "localhost\n",
        ),
    ],
)
def test_other_names_refused(authority: str) -> None:
    """Any other name is foreign, however much it looks like one of ours."""
    assert not is_loopback(authority)


async def test_foreign_host_refused(api: Api) -> None:
    """A foreign Host header is 421 on every path, known or not."""
    for path in ("/v1/entitlement", "/v1/usage", "/nowhere"):
        assert "misdirected" == (await api.get(path, host="evil.example")).problem


async def test_foreign_target_refused(api: Api) -> None:
    """A foreign name in the request target is refused as well."""
    assert "misdirected" == (await api.get("http://evil.example/v1/entitlement")).problem
    assert 200 == (await api.get("http://localhost/v1/entitlement")).status


@pytest.mark.parametrize("lines", [b"", b"Host:\r\n", b"Host: localhost\r\nHost: evil.example\r\n"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_host_must_stand_once(api: Api, lines: bytes, version: bytes) -> None:
    """A request without one Host is refused, in HTTP/1.0 too."""
    answer = await api.exchange(b"GET /v1/entitlement HTTP/" + version + b"\r\n" + lines + b"\r\n")
    assert answer.problem in ("malformed", "misdirected")


async def test_any_host_on_unix_socket(tmp_path: Path) -> None:
    """On the unix socket there is nothing to rebind: any Host will do."""
    running = Api(unix_socket=tmp_path / "api.sock")
    await running.start()
    wire = await Wire.open_unix(tmp_path / "api.sock")
    wire.send(request("GET", "/v1/entitlement", host="sidecar"))
    assert 200 == (await wire.receive()).status
    await wire.close()
    await running.stop()


@pytest.fixture
async def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """Start an API with a token that is looked at for every request."""
    monkeypatch.setattr(access, "LOOK_AGAIN_SECONDS", 0.0)
    (tmp_path / "token").write_text("s3cret\n")
    running = Api(token_file=tmp_path / "token", unix_socket=tmp_path / "api.sock")
    await running.start()
    yield running
    await running.stop()


@pytest.mark.parametrize("line", ["Authorization: Bearer s3cret", "authorization: bearer  s3cret"])
async def test_token_lets_in(guarded: Api, line: str) -> None:
    """The token in the Authorization header lets a request in."""
    assert 200 == (await guarded.get("/v1/entitlement", line)).status


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Authorization: Bearer",),
        ("Authorization: Bearer ",),
        ("Authorization: Bearer wrong",),
        ("Authorization: Bearer s3cre",),
        ("Authorization: Bearer s3cret x",),
        ("Authorization: Bearer \u00fc\u00fc",),
        ("Authorization: Basic s3cret",),
        ("Authorization: s3cret",),
        ("X-Token: s3cret",),
    ],
)
async def test_without_token_refused(guarded: Api, lines: tuple[str, ...]) -> None:
    """Without the token every path is 401, and no problem repeats what was sent."""
    for path in ("/v1/entitlement", "/openapi.json", "/nowhere"):
        answer = await guarded.get(path, *lines)
        assert (401, "unauthorized", "Bearer") == (answer.status, answer.problem, answer.headers["www-authenticate"])
        assert b"s3cre" not in answer.body


async def test_token_holds_on_unix_socket(guarded: Api, tmp_path: Path) -> None:
    """The unix socket asks for the token as well."""
    wire = await Wire.open_unix(tmp_path / "api.sock")
    wire.send(request("GET", "/v1/entitlement"))
    assert 401 == (await wire.receive()).status
    await wire.close()


async def test_token_follows_its_file(guarded: Api, tmp_path: Path) -> None:
    """A rotated token counts from the next look, and the old one no longer; a file that is gone changes nothing."""
    (tmp_path / "next").write_text("rotated")
    os.replace(tmp_path / "next", tmp_path / "token")  # noqa: PTH105 - the atomic form is meant
    assert 401 == (await guarded.get("/v1/entitlement", "Authorization: Bearer s3cret")).status
    assert 200 == (await guarded.get("/v1/entitlement", "Authorization: Bearer rotated")).status
    (tmp_path / "token").unlink()
    assert 200 == (await guarded.get("/v1/entitlement", "Authorization: Bearer rotated")).status


@pytest.mark.parametrize("content", [None, "", " \n", "two words", "a\nb", "t" * 4097])
async def test_unusable_token_file_named(tmp_path: Path, content: str | None) -> None:
    """A token file that gives no token keeps the API from starting, and is named."""
    path = tmp_path / "token"
    if content is not None:
        await asyncio.to_thread(path.write_text, content)
    with pytest.raises(TokenFileUnusable, match=f"api.token_file.*{path}"):
        await Api(token_file=path).start()
