"""Everything that keeps the sidecar from starting is reported in one answer."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import cli
from sidecar.commands.preflight import obstacles
from sidecar.settings import load


@pytest.fixture
def busy() -> Iterator[int]:
    """A port of this machine that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


def configure(folder: Path, busy: int, more: str = "") -> Path:
    """Write a configuration with a missing key, a busy port and a callers' token that is not there."""
    path = folder / "config.yaml"
    path.write_text(
        f"product: {{code: 0abc, public_keys: {{1: {folder}/absent.pem, 2: {folder}/empty.pem}}}}\n"
        f"ledger: {{path: {folder}/ledger.db}}\n"
        f"api: {{port: {busy}, token_file: {folder}/token}}\nprobes: {{host: 127.0.0.1, port: 0}}\n{more}"
    )
    (folder / "empty.pem").write_bytes(b"")
    return path


def test_every_obstacle_is_found(tmp_path: Path, busy: int) -> None:
    """Key files, Region, the callers' token and a busy port are found together, each under its setting."""
    settings = load(str(configure(tmp_path, busy)), {})
    found = {each.key: str(each) for each in obstacles(settings, {"AWS_REGION": '"eu-west-1"'})}
    assert ["AWS_REGION", "api.port", "api.token_file", "product.public_keys.1", "product.public_keys.2"] == sorted(
        found
    )
    assert "has quotes around its value" in found["AWS_REGION"]
    assert f"port {busy} of 127.0.0.1 is in use by another process" in found["api.port"]


def test_sound_setup_has_none(tmp_path: Path) -> None:
    """Where nothing is wrong, nothing is found, and no port stays in use."""
    path = tmp_path / "config.yaml"
    path.write_text("product: {code: 0abc}\nentitlement: {check: none}\napi: {port: 0}\nprobes: {port: 0}\n")
    assert [] == list(obstacles(load(str(path), {}), {"AWS_REGION": "eu-west-1"}))


def test_contract_price_is_no_obstacle(tmp_path: Path) -> None:
    """A contract needs neither a key nor a dimension."""
    path = tmp_path / "config.yaml"
    path.write_text("product: {code: 0abc, pricing: contract, id: prod-abc}\napi: {port: 0}\nprobes: {port: 0}\n")
    assert [] == list(obstacles(load(str(path), {}), {"AWS_REGION": "eu-west-1"}))


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_file_and_surroundings_are_told_together(
    tmp_path: Path, busy: int, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A faulty file does not hide a missing key, a busy port or a Region; a setting that is faulty is not judged."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    path = configure(tmp_path, busy, "log: {level: loud}\nshutdown: {timeout: soon}\n")
    assert 2 == cli.main([command, "--config", str(path)])
    told = capsys.readouterr().err
    expected = ("log.level", "shutdown.timeout", "product.public_keys.1", "product.public_keys.2")
    for key in (*expected, "AWS_REGION", "api.token_file", "api.port"):
        assert f"\n  {key}" in told
    path.write_text(path.read_text().replace(f"port: {busy},", "port: high,"))
    assert 2 == cli.main([command, "--config", str(path)])
    assert 1 == capsys.readouterr().err.count("api.port")
