"""`ledger export --chain` and `ledger verify --chain`: the audit file proves itself, and shows what was changed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.domain.audit.hash_chain import link
from tests.commands.ledgers import ACCEPTED, IN_DOUBT, configured, ledger, lived, tamper


@pytest.fixture(name="path", scope="module")
def _lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the ledger that the tests export, with a decision of a person in it."""
    path = tmp_path_factory.mktemp("lived") / "ledger.db"
    with lived(path):
        assert 0 == ledger("resolve", IN_DOUBT, "carry", "--reason", "not at AWS", "--ledger", str(path))
    return path


@pytest.fixture(name="audit")
def _audit(path: Path, tmp_path: Path) -> Path:
    """Export the ledger's audit file."""
    audit = tmp_path / "audit.jsonl"
    assert 0 == ledger("export", "--chain", "--ledger", str(path), "--output", str(audit))
    return audit


def verify(audit: Path, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run `ledger verify --chain --json` and return what it prints."""
    capsys.readouterr()
    assert code == ledger("verify", "--chain", str(audit), "--json", *arguments)
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def entries(audit: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return kinds and entries of an audit file without its frame."""
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    return [(line["kind"], line["entry"]) for line in lines[1:-1]]


def rewrite(audit: Path, changed: list[tuple[str, dict[str, Any]]]) -> None:
    """Write a chain whose hashes are right, as a forger can."""
    audit.write_text("".join(f"{line}\n" for line in link(changed)))


def test_audit_file_is_proved(audit: Path, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file holds terms, records with their pods, movements and decisions, and proves itself without the ledger."""
    document = verify(audit, capsys)
    assert (True, []) == (document["verified"], document["breaches"])
    kinds = [kind for kind, _ in entries(audit)]
    assert ["ledger", "terms", "record", "carry", "decision"] == list(dict.fromkeys(kinds))
    assert document["lines"] == len(kinds) + 2
    pods = {entry["id"]: entry["pod"] for kind, entry in entries(audit) if kind == "record"}
    assert "pod-1" == pods[ACCEPTED]
    capsys.readouterr()
    assert 0 == ledger(
        "verify", "--json", "--config", str(configured(Path(shutil.copy(path, audit.with_name("ledger.db")))))
    )
    terms = json.loads(capsys.readouterr().out)["dimensions"]
    assert terms == {name: {**each, "balanced": True} for name, each in document["dimensions"].items()}


def test_proof_is_readable(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A person reads the terms, the number of lines, and the hash to compare."""
    head = verify(audit, capsys)["head"]
    assert 0 == ledger("verify", "--chain", str(audit), "--head", head)
    shown = capsys.readouterr().out
    assert "Verified: " in shown
    assert f"The last hash is {head}." in shown


def test_events_can_be_included(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--events adds the usage events that are still kept."""
    audit = tmp_path / "audit.jsonl"
    assert 0 == ledger("export", "--chain", "--events", "--ledger", str(path), "--output", str(audit))
    assert ["d1", "e1"] == [entry["id"] for kind, entry in entries(audit) if kind == "event"]
    assert verify(audit, capsys)["verified"]


def test_chain_goes_to_standard_output(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --output the same lines are printed."""
    assert 0 == ledger("export", "--chain", "--ledger", str(path))
    audit = tmp_path / "audit.jsonl"
    audit.write_text(capsys.readouterr().out)
    assert verify(audit, capsys)["verified"]


def test_changed_quantity_is_found(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A quantity changed in the file is named by its line, and the exit code is 1."""
    text = audit.read_text()
    audit.write_text(text.replace('"quantity":"2.5"', '"quantity":"1.5"', 1))
    [breach] = verify(audit, capsys, code=1)["breaches"]
    assert breach.endswith("it was changed: its hash is another")
    assert 1 == ledger("verify", "--chain", str(audit))
    assert "BROKEN: line " in capsys.readouterr().out


def test_forged_chain_has_another_head(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A chain written anew over other entries is whole, and betrayed by the hash that was noted before."""
    head = verify(audit, capsys)["head"]
    changed = entries(audit)
    changed[0][1]["exported_at"] = "2026-11-24T00:00:00Z"
    rewrite(audit, changed)
    assert verify(audit, capsys)["verified"]
    [breach] = verify(audit, capsys, "--head", head, code=1)["breaches"]
    assert "not the given one" in breach


@pytest.mark.parametrize(
    ("member", "value", "breach"),
    [
        (("record", "quantity"), "1", "submitted is 2.5 but the records make 1"),
        (("record", "status"), "unbilled", "submitted is 2.5 but the records make 0"),
        (("terms", "accepted"), "99", "the terms do not balance"),
    ],
)
def test_forged_sums_are_found(
    audit: Path, capsys: pytest.CaptureFixture[str], member: tuple[str, str], value: str, breach: str
) -> None:
    """Records that do not make the terms are found although every hash is right."""
    changed = entries(audit)
    kind, name = member
    next(entry for found, entry in changed if found == kind and entry["dimension"] == "requests")[name] = value
    rewrite(audit, changed)
    assert any(breach in each for each in verify(audit, capsys, "--all", code=1)["breaches"])


def test_slot_billed_twice_is_found(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two accepted records of one pod, dimension and hour are named."""
    changed = entries(audit)
    twin = next(entry for kind, entry in changed if kind == "record" and entry["id"] == ACCEPTED)
    changed.append(("record", {**twin, "id": "rec-99"}))
    rewrite(audit, changed)
    breaches = verify(audit, capsys, "--all", code=1)["breaches"]
    assert "rec-1 and rec-99 are both accepted for one slot" in breaches


def test_dimension_without_terms_is_found(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records of a dimension whose terms were taken out are not passed over."""
    changed = entries(audit)
    rewrite(audit, [(kind, entry) for kind, entry in changed if kind != "terms" or entry["dimension"] != "requests"])
    assert ["dimension requests: it has records but no terms"] == verify(audit, capsys, "--all", code=1)["breaches"]


def test_terms_told_twice_are_found(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second line of terms for one dimension, whatever it says, does not take the place of the first unseen."""
    changed = entries(audit)
    place, terms = next((n, entry) for n, (kind, entry) in enumerate(changed) if kind == "terms")
    changed.insert(place, ("terms", {**terms, "dropped": "0"}))
    rewrite(audit, changed)
    twice = f"dimension {terms['dimension']}: its terms are given twice"
    assert [twice] == verify(audit, capsys, "--all", code=1)["breaches"]


@pytest.mark.parametrize(
    "entry",
    [
        ("record", {}),
        ("record", {"status": "accepted", "quantity": "1e9"}),
        ("record", {"status": "Accepted", "quantity": "1", "dimension": "x", "pod": "p", "hour": "h", "id": "rec-1"}),
        ("terms", {"dimension": "x"}),
        ("ledger", {}),
    ],
)
def test_odd_entry_is_found(audit: Path, capsys: pytest.CaptureFixture[str], entry: tuple[str, dict[str, Any]]) -> None:
    """An entry that no export writes is named by its line."""
    rewrite(audit, [entry])
    [breach] = verify(audit, capsys, code=1)["breaches"]
    assert breach.startswith("line 2: ")


@pytest.mark.parametrize(
    ("content", "breach"),
    [(b"", "line 1: the chain was cut off"), (b"\xff\xfe", "not a text file"), (b"{}\r\n", "line 1: it is no line")],
)
def test_other_file_is_no_audit_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, breach: str
) -> None:
    """An empty file, a binary one and another document are no audit file."""
    audit = tmp_path / "audit.jsonl"
    audit.write_bytes(content)
    assert breach in verify(audit, capsys, code=1)["breaches"][0]


def test_line_ends_are_part_of_it(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Line ends changed on the way are a change, and are reported as one."""
    audit.write_bytes(audit.read_bytes().replace(b"\n", b"\r\n"))
    assert "not written as a chain writes it" in verify(audit, capsys, code=1)["breaches"][0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "--chain", "--format", "csv"),
        ("verify", "--head", "0" * 64),
        ("verify", "--chain", "/nowhere/audit.jsonl"),
    ],
)
def test_wrong_use_is_refused(path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """Options that do not go together, and a file that is not there, end with 2."""
    assert 2 == ledger(*arguments, "--ledger", str(path))
    assert "--" in capsys.readouterr().err


def test_damaged_row_is_not_chained(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger whose rows cannot be read gives no audit file at all."""
    copy = Path(shutil.copy(path, tmp_path / "ledger.db"))
    tamper(copy, "UPDATE record SET quantity = 'abc' WHERE seq = 1")
    audit = tmp_path / "audit.jsonl"
    assert 4 == ledger("export", "--chain", "--ledger", str(copy), "--output", str(audit))
    assert not audit.exists()
    assert "a row cannot be read" in capsys.readouterr().err


@given(position=st.integers(0, 100_000), byte=st.integers(32, 126))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_no_byte_changes_unseen(audit: Path, capsys: pytest.CaptureFixture[str], position: int, byte: int) -> None:
    """Any other byte anywhere in the file breaks it."""
    content = bytearray(audit.read_bytes())
    position %= len(content)
    if content[position] == byte:
        return
    content[position] = byte
    changed = audit.with_name("changed.jsonl")
    changed.write_bytes(content)
    assert not verify(changed, capsys, code=1)["verified"]
