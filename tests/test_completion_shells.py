"""The completion scripts in the shells themselves: interactive, with a person's TABs where there is no better way."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar import cli, completion
from tests.support.screens import Screen
from tests.support.tools import PATIENCE, need

TAB = b"\t"


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Print the script of each shell to a file, by shell."""
    folder = tmp_path_factory.mktemp("completion")
    written = {}
    for shell in completion.SHELLS:
        written[shell] = folder / f"_{cli.PROGRAM}" if shell == "zsh" else folder / shell
        with written[shell].open("wb") as file:
            subprocess.run(
                [sys.executable, "-m", "sidecar", "completion", shell], stdout=file, check=True, timeout=PATIENCE
            )
    return written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files to name."""
    (tmp_path / "special.yaml").touch()
    return tmp_path


@contextmanager
def typed(shell: list[str], folder: Path, prepare: str, line: str, keys: bytes) -> Iterator[Screen]:
    """Type a line and TABs in an interactive shell."""
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PS1": "ready> ", "TERM": "xterm"}
    with Screen(["env", "-C", str(folder), *shell], variables, columns=200) as screen:
        screen.press(f"{prepare}; echo prepared-$((40 + 2))\n".encode())
        screen.await_for("the prompt", lambda rows: [row for row in rows if row][-2:] == ["prepared-42", "ready>"])
        screen.press(f"{cli.PROGRAM} {line}".encode() + keys)
        yield screen


def await_words(screen: Screen, words: list[str]) -> set[str]:
    """Return the words on the screen as soon as the given ones are among them."""
    rows = screen.await_for(str(words), lambda rows: set(words) <= {word for row in rows for word in row.split()})
    return {word for row in rows for word in row.split()}


LINES = [
    ("ledger re", ["reconcile", "records", "resolve"]),
    ("healthcheck --probe ", ["livez", "startupz", "readyz"]),
    ("status --wat", ["--watch"]),
    ("status --config spec", ["special.yaml"]),
    ("ledger resolve rec-1 ", ["accept", "carry", "write-off"]),
    ("verify-token --public-key spec", ["special.yaml"]),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_bash_completes(scripts: Mapping[str, Path], folder: Path, line: str, expected: list[str]) -> None:
    """Bash completes commands below commands, choices, options and files."""
    shell = ["bash", "--norc", "--noprofile", "-i"]
    # The first TAB completes as far as it goes, the second one lists.
    with typed(shell, folder, f"source {scripts['bash']}", line, TAB + TAB) as screen:
        assert set(expected) <= await_words(screen, expected)


@pytest.mark.machine
@pytest.mark.parametrize(("line", "expected"), LINES)
def test_zsh_completes(scripts: Mapping[str, Path], folder: Path, line: str, expected: list[str]) -> None:
    """Zsh does, too, with the script among its functions."""
    prepare = f"fpath=({scripts['zsh'].parent} $fpath); autoload -Uz compinit; compinit -u -D"
    with typed([need("zsh", "zsh"), "-f", "-i"], folder, prepare, line, TAB) as screen:
        assert set(expected) <= await_words(screen, expected)


@pytest.mark.machine
@pytest.mark.parametrize(("line", "expected"), LINES)
def test_fish_completes(scripts: Mapping[str, Path], folder: Path, line: str, expected: list[str]) -> None:
    """Fish does, too; it tells by itself what it would offer."""
    done = subprocess.run(
        [need("fish", "fish"), "--no-config", "-c", f"source {scripts['fish']}; complete -C '{cli.PROGRAM} {line}'"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert sorted(expected) == sorted(each.split("\t")[0] for each in done.stdout.splitlines())


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_command_is_in_script(scripts: Mapping[str, Path], shell: str) -> None:
    """Each command is in the script of each shell."""
    script = scripts[shell].read_text(encoding="utf-8")
    assert [] == [command.name for command in cli.COMMANDS if command.name not in script]
