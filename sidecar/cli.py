"""The command line: finds the command, loads only its module, and turns its errors into exit codes.

A command is a module and one row of `COMMANDS`; help, completion and the tests read that row. Besides the codes of
`sidecar.exit_codes` there are two: 128 + 2 after an interrupt, and 128 + 13 if the reader of the output left early.

Every command pays for what this module imports, `healthcheck` every few seconds: no settings, and no dataclasses.
"""

import argparse
import errno
import gc
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from sidecar import __version__
from sidecar.commands.subcommands import add_parser
from sidecar.exit_codes import BadCommand, ExitCode

PROGRAM = "marketplace-sidecar"
_INTERRUPTED = 130
_READER_GONE = 141
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Command(NamedTuple):
    """A command; its module holds `add_arguments(parser)` and `run(args)`, which returns the exit code."""

    name: str
    help: str
    example: str
    """Arguments of a valid call, for its --help."""
    elsewhere: str | None = None
    """Its module, if that is not the one of its name in `sidecar.commands`."""

    @property
    def module(self) -> str:
        """The full name of its module."""
        return self.elsewhere or f"sidecar.commands.{self.name.replace('-', '_')}"


COMMANDS = (
    Command("run", "run the sidecar", "run --config /etc/marketplace-sidecar/config.yaml"),
    Command("demo", "run everything against a local emulator, then exit", "demo"),
    Command(
        "emulator",
        "run AWS Marketplace Metering and License Manager locally, for any AWS SDK",
        "emulator --port 8789",
        "sidecar.emulator.command",
    ),
    Command(
        "doctor",
        "check everything that must be right before the first call to AWS",
        "doctor --config config.yaml --json",
    ),
    Command("healthcheck", "query a probe of the running sidecar: exit 0 or 1", "healthcheck --probe livez"),
    Command("status", "show the state of the running sidecar on one screen", "status --watch"),
    Command("wait", "return when the product is entitled", "wait --timeout 60 && exec app"),
    Command("ledger", "read, prove and repair the ledger", "ledger verify"),
    Command(
        "certify",
        "make the calls that AWS requires before a listing goes public, and write a report",
        "certify --report certify.json --dry-run",
    ),
    Command("ecs", "print a task definition, or the policy of its role, for Amazon ECS", "ecs policy --trust"),
    Command(
        "verify-token",
        "verify a RegisterUsage signature from standard input",
        "verify-token --public-key 1.pem --product-code 0abc123example < token",
    ),
    Command("openapi", "print the OpenAPI document of the local API", "openapi"),
    Command(
        "completion",
        "print a script that completes this command line in a shell",
        "completion bash",
        "sidecar.completion",
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` is what follows the program's name, by default the process's."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        code = _dispatch(arguments)
    except BadCommand as error:
        sys.stderr.write(f"{error}\n")
        code = ExitCode.BAD_COMMAND
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        code = _READER_GONE
    except OSError as error:
        # The command itself reports an error of a named file.
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        code = _cut_off(error)
    return _flushed(code)


def build_parser(load: Callable[[str], bool], known: Sequence[Command] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Args:
        load: Returns by its name whether to load a command's module, which adds its options.
        known: The commands that it knows, by default all.
    """
    parser = Parser(
        PROGRAM,
        description="Registers, gates and meters a paid AWS Marketplace container product.",
        epilog=f"`{PROGRAM} COMMAND --help` explains a command and shows an example.\n"
        f"example: {PROGRAM} run --config config.yaml",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in known:
        sub = add_parser(commands, command.name, command.help, f"{PROGRAM} {command.example}")
        if load(command.name):
            module = import_module(command.module)
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


class Parser(argparse.ArgumentParser):
    """A parser that accepts a value with a leading `-`, and names the nearest known word for an unknown one.

    An example stays on one line, ready to copy.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, with each option and a value that begins with `-` joined, as in `--nonce=-abc`.

        argparse takes such a value for an option. A nonce, an id or a code begins with `-` in one of 64 cases.
        """
        given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(self._joined(given), namespace)

    def _joined(self, arguments: list[str]) -> list[str]:
        options = {name: action for action in self._actions for name in action.option_strings}
        taking = {name for name, action in options.items() if action.nargs is None and name.startswith("--")}
        joined: list[str] = []
        waiting = iter(arguments)
        for argument in waiting:
            if argument == "--":
                return [*joined, argument, *waiting]
            joined.append(argument)
            if argument not in taking:
                continue
            for value in waiting:
                # An option of this command in place of a value: the value is missing, and argparse reports it.
                if value.startswith("-") and value not in {"-", "--"} and value.partition("=")[0] not in options:
                    joined[-1] = f"{argument}={value}"
                else:
                    joined.append(value)
                break
        return joined

    def error(self, message: str) -> NoReturn:
        """End with the usage, the fault and a suggestion."""
        found = re.fullmatch(r".*invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL)
        if found is not None:
            from difflib import get_close_matches  # noqa: PLC0415 - only when something is wrong already

            near = get_close_matches(found[1], re.findall(r"[\w-]+", found[2]), n=1)
            message += f"; did you mean {near[0]}?" if near else ""
        super().error(message)


def _dispatch(arguments: list[str]) -> int:
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    # A command line that begins with a command has no use for the others' parsers.
    named = [command for command in COMMANDS if command.name in arguments[:1]]
    parser = build_parser(lambda name: name == chosen, named or COMMANDS)
    _start_collector()
    if not arguments:
        parser.print_help(sys.stderr)
        return ExitCode.BAD_COMMAND
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as end:
        # --help and --version end with 0, a bad command line with 2; both have been printed.
        return ExitCode.BAD_COMMAND if end.code else ExitCode.CLEAN
    code: int = parsed.run(parsed)
    return code


def _start_collector() -> None:
    """Turn the garbage collector on, if `sidecar.__main__` turned it off, and let it skip all that is loaded."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _flushed(code: int) -> int:
    """Flush the output and return the code; another code if the output has no room. A reader that left is no error."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter flushes again at its end; the second flush must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno in _NO_ROOM and code != ExitCode.BAD_COMMAND:
            return _cut_off(error)
        if error.errno not in {*_NO_ROOM, errno.EPIPE}:
            raise
    return code


def _cut_off(error: OSError) -> int:
    sys.stderr.write(f"The output cannot be written: {error.strerror}. The output is incomplete.\n")
    return ExitCode.BAD_COMMAND
