"""What cannot be reached: address, cause and cure, and what of a proxy's URL may be seen."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_server
from threading import Thread
from typing import Any

import pytest

from sidecar.marketplace import CredentialsMissing, MarketplaceError, NotSent, Taken
from sidecar.marketplace.emulation import EmulatorUnreachable
from sidecar.marketplace.endpoint import Endpoint
from sidecar.marketplace.environment import describe_padding, padded
from sidecar.marketplace.probing import ProbeFailed, ServiceProbe
from sidecar.marketplace.proxies import https_proxy
from sidecar.marketplace.sdk import Connection
from sidecar.marketplace.sdk_settings import SettingRefused
from sidecar.marketplace.unreachable import ProxyUnreachable, ProxyUnusable, TokenServiceUnreachable
from sidecar.services.failed_calls import interpret

LIVE = replace(Endpoint.live({"AWS_REGION": "eu-west-1"}), connect_timeout=timedelta(seconds=5))
CALL = {"ProductCode": "0abc", "Timestamp": datetime(2026, 11, 23, tzinfo=UTC), "UsageDimension": "requests"}
KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "none"}
BROKEN = (
    "http://user:se/cret@127.0.0.1:1",
    "http://user:1#cret@127.0.0.1:1",
    "http://user:1?cret@127.0.0.1:1",
    "http://user:se\\cret@127.0.0.1:1",
    "http://user:se[cret@127.0.0.1:1",
    "user:1/cret@127.0.0.1:1",
    "http://us/er:cret@127.0.0.1:1",
)
"""Proxies whose user name or password ends the host part."""


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine takes part, and no metadata service is asked."""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def closed_port() -> int:
    """Return a port that nothing listens on."""
    with closing(create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
    return port


def failure(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, **variables: str) -> MarketplaceError:
    """Return how a call fails under some variables."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MarketplaceError) as caught:
        Connection(endpoint).send("MeterUsage", CALL)
    return caught.value


def test_silent_emulator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In emulator mode the error has the address, the cause and a cure about the emulator, not about AWS's network."""
    url = f"http://127.0.0.1:{closed_port()}"
    failed = failure(Endpoint.emulated(url, {}), monkeypatch)
    assert (EmulatorUnreachable, f"{url}: Connection refused") == (type(failed), failed.message)
    assert ("NotSent", Taken.NO) == (failed.code, failed.taken)
    meaning = interpret(failed)
    assert ("unreachable", False) == (meaning.reason, meaning.refused)
    assert f"{url}: Connection refused. Start the emulator" in meaning.detail[:1].lower() + meaning.detail[1:].replace(
        "Http", "http"
    )


def test_silent_token_service_is_unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials that are missing because STS does not answer are `unreachable`, with STS's address."""
    (tmp_path / "token").write_text("a.b.c", encoding="ascii")
    failed = failure(
        LIVE,
        monkeypatch,
        AWS_ROLE_ARN="arn:aws:iam::111122223333:role/metering",
        AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "token"),
        **resolving_nothing(monkeypatch),
    )
    assert (TokenServiceUnreachable, "unreachable") == (type(failed), interpret(failed).reason)
    assert failed.message.startswith("https://sts.eu-west-1.amazonaws.com: ")
    assert "STS" in failed.cure


def resolving_nothing(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Let no name have an address."""
    import socket  # noqa: PLC0415 - the module itself is changed

    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    return {}


def test_silent_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not answer is named without its user, and the cure is about the proxy."""
    port = closed_port()
    failed = failure(LIVE, monkeypatch, HTTPS_PROXY=f"http://user:secret@127.0.0.1:{port}", **KEYS)
    assert ProxyUnreachable is type(failed)
    assert f"the proxy http://127.0.0.1:{port}: Connection refused" == failed.message


@pytest.mark.parametrize("value", BROKEN)
def test_broken_proxy_shows_nothing(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A proxy's URL that its password breaks is refused before a call, without any part of it, and may be encoded."""
    failed = failure(LIVE, monkeypatch, HTTPS_PROXY=value, **KEYS)
    assert (ProxyUnusable, Taken.NO) == (type(failed), failed.taken)
    told = f"{failed} {failed.cure} {interpret(failed).detail}"
    assert [] == [part for part in ("cret", "user:1", "se/", "127.0.0.1") if part in told]
    assert "percent-encoded" in failed.cure
    with pytest.raises(ProbeFailed) as probed:
        ServiceProbe(LIVE).reach("https://metering.marketplace.eu-west-1.amazonaws.com")
    assert "cret" not in str(probed.value)
    assert "cret" not in str(ServiceProbe(LIVE).proxy("https://metering.marketplace.eu-west-1.amazonaws.com"))


def test_broken_proxy_that_is_not_used_is_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that NO_PROXY names is called without the proxy, whatever its URL is."""
    failed = failure(LIVE, monkeypatch, HTTPS_PROXY=BROKEN[0], NO_PROXY="*", **KEYS, **resolving_nothing(monkeypatch))
    assert NotSent is type(failed)
    assert "cret" not in str(failed)


@pytest.mark.parametrize(
    ("environ", "name", "value"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://p:1"}, "HTTPS_PROXY", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:1"}, "https_proxy", "http://q:1"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": ""}, "https_proxy", ""),
        ({"https_proxy": ""}, None, None),
        ({"Https_Proxy": "http://p:1"}, "Https_Proxy", "http://p:1"),
    ],
)
def test_spellings_of_proxy_have_an_order(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], name: str | None, value: str | None
) -> None:
    """The error names the variable that the SDK uses; an empty lower-case one means that calls go directly."""
    for variable, text in environ.items():
        monkeypatch.setenv(variable, text)
    found = https_proxy(environ)
    assert (name, value) == ((None, None) if found is None else (found.name, found.value))
    assert bool(value) == (ServiceProbe(LIVE).proxy("https://sts.eu-west-1.amazonaws.com") is not None)


def test_empty_lower_case_proxy_goes_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call under an empty https_proxy does not connect to the proxy of HTTPS_PROXY."""
    connected: list[object] = []
    with closing(create_server(("127.0.0.1", 0))) as proxy:

        def accept() -> None:
            try:
                proxy.accept()[0].close()
            except OSError:
                return
            connected.append(1)

        thread = Thread(target=accept)
        thread.start()
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        failure(LIVE, monkeypatch, HTTPS_PROXY=url, https_proxy="", **KEYS, **resolving_nothing(monkeypatch))
        assert [] == connected
        proxy.shutdown(2)
        thread.join()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_METADATA_SERVICE_TIMEOUT", "2s"),
        ("AWS_PROFILE", "absent-profile"),
    ],
)
def test_refused_setting_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A value that the SDK refuses is reported with its variable, by a call and by a probe."""
    proxy = f"http://127.0.0.1:{closed_port()}"
    failed = failure(LIVE, monkeypatch, HTTPS_PROXY=proxy, **KEYS, **{name: value})
    assert (SettingRefused, CredentialsMissing.__name__) == (type(failed), failed.code)
    assert failed.message.startswith(f"{name} is {value!r}, which the SDK refuses: ")
    with pytest.raises(ProbeFailed, match=f"SettingRefused: {name} is ") as probed:
        ServiceProbe(LIVE).caller()
    assert SettingRefused.cure == probed.value.cure


@pytest.mark.parametrize(("name", "value"), [("AWS_RETRY_MODE", "fast"), ("AWS_MAX_ATTEMPTS", "many")])
def test_pinned_setting_is_harmless(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """What the sidecar decides itself may hold any value."""
    failed = failure(LIVE, monkeypatch, HTTPS_PROXY=f"http://127.0.0.1:{closed_port()}", **KEYS, **{name: value})
    assert ProxyUnreachable is type(failed)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", None),
        ("eu-west-1", None),
        ("a b", None),
        (" eu-west-1", "white space"),
        ("eu-west-1\n", "line end"),
        ("eu-west-1\r\n", "line end"),
        ('"eu-west-1"', "quotes"),
        ("'eu-west-1", "quotes"),
        ("\N{LEFT DOUBLE QUOTATION MARK}eu-west-1", "quotes"),
        ("\N{BYTE ORDER MARK}eu-west-1", "invisible"),
        ("   ", "nothing but white space"),
        ("a\nb", "inside its value"),
    ],
)
def test_padding_is_recognized(value: str, fault: str | None) -> None:
    """White space, quotes and line ends around a value are each named; what is sound is not."""
    found = describe_padding(value)
    assert (fault is None) == (found is None)
    assert (fault or "") in (found or "")


def test_only_known_variables_are_judged() -> None:
    """Each variable that the sidecar or the SDK reads is judged; those of others are not."""
    read = ["AWS_REGION", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "HTTPS_PROXY", "POD_UID", "no_proxy"]
    environ = dict.fromkeys([*read, "HOME", "PATH"], " x")
    assert read == [name for name, _ in padded(environ)]
