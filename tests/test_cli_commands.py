"""The command line: commands, exit codes, and how little is loaded."""

import argparse
import gc
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import __version__, cli
from tests.support.tools import PATIENCE

WITHOUT_JSON = {
    "completion": "it prints a script",
    "ecs policy": "what it prints is JSON",
    "ecs task-definition": "what it prints is JSON",
    "demo": "it is a play; its exit code tells how it ended",
    "emulator": "its control API speaks JSON",
    "healthcheck": "its exit code is all that a container's runtime reads",
    "openapi": "it prints JSON",
    "run": "its log is JSON, by log.format",
    "verify-token": "it prints JSON",
    "wait": "its exit code is all that an entrypoint reads; the document behind it is that of `status --json`",
}
"""Commands for which a script has no use of --json, and why."""


def parsers(parser: argparse.ArgumentParser, *path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Return every parser of the tree with the words that lead to it."""
    yield " ".join(path), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(below, *path, name)


TREE = dict(parsers(cli.build_parser(lambda _name: True)))
LEAVES = [words for words in TREE if words and not any(other.startswith(f"{words} ") for other in TREE)]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "sidecar", *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """The top-level help names every command with one line."""
    assert 0 == cli.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for command in cli.COMMANDS:
        assert f"{command.name} {command.help}" in shown


@pytest.mark.parametrize("words", TREE)
def test_help_shows_example(words: str) -> None:
    """The help of every command, and of every command below one, ends with an example of itself."""
    example = TREE[words].format_help().rstrip().splitlines()[-1]
    assert example.startswith(f"example: {cli.PROGRAM} {words}".rstrip())


@pytest.mark.parametrize("words", TREE)
def test_example_is_understood(words: str) -> None:
    """An example is a good call of the command; what a shell would do with the rest is the shell's."""
    example = TREE[words].format_help().rstrip().splitlines()[-1].removeprefix(f"example: {cli.PROGRAM} ")
    arguments = shlex.split(re.split(r" (?:&&|[<>|]) ", example)[0])
    assert TREE[""].parse_args(arguments).run


@pytest.mark.parametrize("words", LEAVES)
def test_scripts_get_json(words: str) -> None:
    """Every command has --json, unless there is a reason that it has none."""
    options = {option for action in TREE[words]._actions for option in action.option_strings}
    assert ("--json" in options) != (words in WITHOUT_JSON)


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["statsu"], "status"),
        (["ledger", "recrods"], "records"),
        (["healthcheck", "--probe", "redyz"], "readyz"),
        (["doctr", "--json"], "doctor"),
    ],
)
def test_nearest_word_is_named(capsys: pytest.CaptureFixture[str], arguments: list[str], nearest: str) -> None:
    """A word that is not known ends with 2, and the nearest one that is."""
    assert 2 == cli.main(arguments)
    assert capsys.readouterr().err.endswith(f"; did you mean {nearest}?\n")


def test_strange_word_is_only_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing is near, nothing is suggested."""
    assert 2 == cli.main(["xyzzy"])
    assert "did you mean" not in capsys.readouterr().err


def test_nothing_shows_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments the commands are shown, on standard error and with 2."""
    assert 2 == cli.main([])
    shown = capsys.readouterr()
    assert "" == shown.out
    assert [] == [command.name for command in cli.COMMANDS if command.help.split()[0] not in shown.err]


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the program and its version."""
    assert 0 == cli.main(["--version"])
    assert capsys.readouterr().out == f"marketplace-sidecar {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--nonsense"],
        ["nonsense"],
        ["wait", "--timeout", "soon"],
        ["wait", "--time", "5"],
        ["healthcheck", "--probe", "x"],
        ["healthcheck", "extra"],
    ],
)
def test_bad_command_line_is_two(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """A command line that cannot be understood ends with 2 and the usage."""
    assert 2 == cli.main(arguments)
    assert capsys.readouterr().err.startswith("usage: marketplace-sidecar")


@pytest.mark.parametrize("words", LEAVES)
def test_values_may_begin_with_a_dash(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every option that takes a value takes one with a leading `-`: a nonce, an id or a code may begin so."""
    parser = dict(parsers(cli.build_parser(lambda _name: True)))[words]
    taking = [action for action in parser._actions if action.option_strings and action.nargs is None]
    for action in parser._actions:
        action.required = False
        action.nargs = "?" if not action.option_strings else action.nargs
    for action in taking:
        for value in ("-abc", "-_x=1 2", "--9f"):
            try:
                parsed = parser.parse_args([action.option_strings[0], value])
            except SystemExit:
                # The value was read, and this option takes other words.
                assert repr(value) in capsys.readouterr().err.partition("error:")[2]
            else:
                assert value in str(vars(parsed)[action.dest])


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify-token", "--public-key", "1.pem", "--nonce"],
        ["verify-token", "--public-key", "1.pem", "--nonce", "--product-code", "x"],
        ["verify-token", "--nonce", "--public-key=1.pem"],
    ],
)
def test_forgotten_value_is_named(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """An option of the command is not taken for the value of the option before it."""
    assert 2 == cli.main(arguments)
    assert "argument --nonce: expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["healthcheck", "wait"])
def test_bad_configuration_is_two(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A configuration that cannot be used ends with 2 and every problem on standard error."""
    path = tmp_path / "config.yaml"
    path.write_text("api: {port: 99999}\nlog: {level: loud}\n")
    assert 2 == cli.main([name, "--config", str(path)])
    lines = capsys.readouterr().err.splitlines()
    assert [
        "product.code",
        "api.port",
        "log.level",
        "product.public_keys",
    ] == [line.split()[0].rstrip(":") for line in lines[1:]]


def test_module_is_the_command() -> None:
    """`python -m sidecar` is the program."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"marketplace-sidecar {__version__}\n")


def test_console_script_is_declared() -> None:
    """The distribution installs the command under its own name."""
    project = tomllib.loads(Path(__file__).parent.with_name("pyproject.toml").read_text())["project"]
    assert project["scripts"] == {cli.PROGRAM: "sidecar.__main__:main"}


def test_loading_collects_nothing() -> None:
    """No full garbage collection delays the start, and later ones skip what was loaded."""
    script = (
        "import gc, sys; from sidecar.__main__ import main; seen = [];"
        "gc.callbacks.append(lambda phase, info: seen.append((info['generation'], gc.get_freeze_count())));"
        "code = main(); print(code, gc.isenabled(), 50_000 < gc.get_freeze_count(),"
        " [each for each in seen if 2 == each[0] or 0 == each[1]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "--config", "/missing.yaml"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert "2 True True []" == done.stdout.strip()


def test_collector_stays_as_it_is() -> None:
    """A call of `main` in a process of its caller freezes nothing."""
    before = gc.get_freeze_count()
    assert 0 == cli.main(["--version"])
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, before)


VENDORS = (
    *("aiohttp", "boto3", "botocore", "cbor2", "cryptography", "google.protobuf", "kubernetes", "opentelemetry"),
    *("prometheus_client", "shtab", "structlog", "yaml"),
)


def loaded_by(*arguments: str, among: tuple[str, ...] = VENDORS) -> str:
    """Return which of the modules a command has loaded at its end."""
    loaded = f"print(*sorted({set(among)} & sys.modules.keys()))"
    script = f"import sys; from sidecar.cli import main; main(sys.argv[1:]); {loaded}"
    # A measurement of the process would load modules of its own.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["--help"], ["healthcheck", "--url", "http://127.0.0.1:1"], []])
def test_little_is_loaded(arguments: list[str]) -> None:
    """Help and a check by address load neither a vendor's package nor the configuration's."""
    assert "" == loaded_by(*arguments)


def test_check_by_address_is_cheap() -> None:
    """A check by address loads none of the costly parts: ECS runs it every few seconds."""
    costly = ("asyncio", "dataclasses", "inspect", "json", "logging", "sidecar.domain", "sidecar.settings")
    assert "" == loaded_by("healthcheck", "--url", "http://127.0.0.1:1", among=costly)


@pytest.mark.parametrize("arguments", [["healthcheck"], ["wait", "--timeout", "0"]])
def test_configured_command_is_cheap(tmp_path: Path, arguments: list[str]) -> None:
    """A command for entrypoints and exec probes loads neither the ledger nor an event loop."""
    path = tmp_path / "config.yaml"
    path.write_text("product: {code: a, public_keys: {1: /a.pem}}\nprobes: {port: 1}\napi: {port: 2}\n")
    costly = ("asyncio", "logging", "sidecar.adapters", "sidecar.marketplace", "sidecar.services", "sqlite3")
    assert "" == loaded_by(*arguments, "--config", str(path), among=costly)


@pytest.mark.parametrize("arguments", [["healthcheck"], ["wait", "--timeout", "0"], ["status"]])
def test_only_yaml_is_loaded(tmp_path: Path, arguments: list[str]) -> None:
    """Commands that read the configuration load the YAML package and no other vendor's."""
    path = tmp_path / "config.yaml"
    path.write_text("product: {code: a, public_keys: {1: /a.pem}}\nprobes: {port: 1}\napi: {port: 2}\n")
    assert "yaml" == loaded_by(*arguments, "--config", str(path))


@pytest.mark.parametrize(("command", "code"), [("--help", 0), ("openapi", 141)])
def test_gone_reader_is_tolerated(command: str, code: int) -> None:
    """A reader that leaves early causes no traceback; what was not finished for its sake does not count as clean."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "w") as gone:  # noqa: PTH123 - a descriptor has no path
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", command],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [["openapi"], ["ledger", "verify", "--chain", os.devnull]])
def test_full_output_is_told(command: list[str], unbuffered: str) -> None:
    """An output without room ends with 2 and one sentence, never with a traceback or the code of a failed check."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", *command],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert 2 == done.returncode
    assert ["The output cannot be written: No space left on device. The output is incomplete."] == (
        done.stderr.splitlines()
    )
