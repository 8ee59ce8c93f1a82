"""What a test may need: `make test` has Python, make and Go programs; the rest carries the mark `machine`."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_collection_modifyitems
from tests.support.tools import Marked, go_without, need, need_root

ROOT = Path(__file__).resolve().parents[1]


def test_unmarked_test_needs_nothing() -> None:
    """A test without the mark fails when it asks for a program or for root, whatever the machine has."""
    with pytest.raises(pytest.fail.Exception, match="a test that needs sh carries the mark `machine`"):
        need("sh", "dash")
    with pytest.raises(pytest.fail.Exception, match="a test that needs root carries the mark `machine`"):
        need_root()


def test_marked_test_gets_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mark a program is found, and a missing one is named with its package."""
    monkeypatch.setattr(Marked, "current", True)
    monkeypatch.setenv("SKIP", "never")
    assert need("sh", "dash").endswith("/sh")
    with pytest.raises(pytest.fail.Exception, match=r"absent-program is not installed: .* apt-get install absent"):
        need("absent-program", "absent")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CI": "true", "SKIP": ""}, pytest.fail.Exception),
        ({"CI": "", "SKIP": "never"}, pytest.fail.Exception),
        ({"CI": "", "SKIP": ""}, pytest.skip.Exception),
    ],
)
def test_nothing_is_skipped_under_make(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: type[BaseException]
) -> None:
    """What is missing fails in CI and under make, and is skipped where pytest was called directly."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(expected, match="root is needed"):
        go_without("root is needed")


def test_mark_is_found_by_its_words(tmp_path: Path) -> None:
    """The target test-cluster searches the files for the mark, so a mark that comes from elsewhere ends the run."""
    path = tmp_path / "test_elsewhere.py"
    path.write_text("def test_it(): ...", encoding="utf-8")
    item: Any = SimpleNamespace(path=path, get_closest_marker=lambda name: name if name == "machine" else None)
    with pytest.raises(pytest.UsageError, match=r"test_elsewhere\.py: write the mark in the file itself"):
        pytest_collection_modifyitems([item])
    path.write_text("@pytest.mark.machine\ndef test_it(): ...", encoding="utf-8")
    pytest_collection_modifyitems([item])


def test_ci_runs_the_two_commands() -> None:
    """CI runs the commands that the README names and installs nothing by itself."""
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    called = [line for line in lines if line and not line.startswith("#")]
    assert ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "make test", "exec make test-cluster"] == called
