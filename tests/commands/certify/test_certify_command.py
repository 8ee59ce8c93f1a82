"""What `certify` refuses before it asks anybody."""

import io
from pathlib import Path

import pytest

from sidecar import cli
from tests.conftest import Signer

CONFIGURATION = """\
product: {{code: 0abc123example, public_keys: {{1: {folder}/1.pem}}}}
metering: {{quantity: {kind}, dimensions: [{{name: requests}}]}}
ledger: {{path: "{folder}/ledger.db"}}
api: {{port: 0}}
"""


def certify(folder: Path, *arguments: str, kind: str = "decimal") -> int:
    """Run the command; its exit code."""
    config = folder / "config.yaml"
    config.write_text(CONFIGURATION.format(folder=folder, kind=kind))
    return cli.main(["certify", "--config", str(config), "--report", str(folder / "certify.json"), *arguments])


@pytest.mark.parametrize(
    ("quantity", "kind"),
    [
        ("1.5", "integer"),
        ("2147483648", "integer"),
        ("-1", "decimal"),
        ("1e3", "decimal"),
        ("1.0000001", "decimal"),
        ("10000000000", "decimal"),
        ("", "decimal"),
        ("one", "decimal"),
    ],
)
def test_unfit_quantity_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quantity: str, kind: str
) -> None:
    """A quantity that AWS would not take in the product's kind is reported with the cure."""
    assert 2 == certify(tmp_path, "--yes", f"--quantity={quantity}", kind=kind)
    assert f"--quantity = {quantity!r}: is not a valid quantity" in capsys.readouterr().err


@pytest.mark.parametrize("stdin", [io.StringIO("yes\n"), None])
def test_nobody_to_ask(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stdin: io.StringIO | None,
) -> None:
    """Without a terminal and without --yes nothing is begun, whatever is piped in."""
    monkeypatch.setattr("sys.stdin", stdin)
    assert 2 == certify(tmp_path)
    assert "give --yes or --dry-run" in capsys.readouterr().err
    assert not (tmp_path / "certify.json").exists()


def test_missing_key_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A signature that cannot be verified is not asked for."""
    assert 2 == certify(tmp_path, "--yes")
    assert "1.pem: the file cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--retry-for", "soon"), ("--retry-for", "60"), ("extra",)])
def test_bad_command_line_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """A command line that cannot be understood ends with 2."""
    assert 2 == certify(tmp_path, "--yes", *arguments)
    assert capsys.readouterr().err.startswith("usage: ")


def test_unreadable_ledger_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seller: Signer
) -> None:
    """Where the owner of the usage on the ledger is unknown nothing is sent."""
    seller.write(tmp_path).rename(tmp_path / "1.pem")
    (tmp_path / "ledger.db").write_bytes(b"no ledger" * 1000)
    monkeypatch.setenv("POD_UID", "pod-1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert 4 == certify(tmp_path, "--yes")
    assert f"ledger {tmp_path}/ledger.db: " in capsys.readouterr().err
    assert not (tmp_path / "certify.json").exists()


def test_unsupported_region_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seller: Signer
) -> None:
    """What is not the name of a Region is refused before anything is sent."""
    seller.write(tmp_path).rename(tmp_path / "1.pem")
    monkeypatch.setenv("AWS_REGION", "mars")
    assert 2 == certify(tmp_path, "--yes")
    assert "mars" in capsys.readouterr().err
