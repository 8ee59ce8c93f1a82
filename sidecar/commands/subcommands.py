"""Commands of the command line and below a command, such as `ledger status`.

Every command loads this module: no dataclasses.
"""

import argparse
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NamedTuple


class Subcommand(NamedTuple):
    """A command and the module that holds its `add_arguments(parser)` and `run(args)`, which returns the exit code."""

    name: str
    help: str
    module: ModuleType
    example: str
    """Name and arguments of one good call, for its --help."""


def add_parser(commands: Any, name: str, words: str, example: str) -> argparse.ArgumentParser:
    """Add one command to those of a parser; its help ends with an example of a valid call."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=words,
        description=f"{words[0].upper()}{words[1:]}.",
        epilog=f"example: {example}",
        allow_abbrev=False,
    )
    return parser


def add_subcommands(
    parser: argparse.ArgumentParser,
    subcommands: Iterable[Subcommand],
    add_shared: Callable[[argparse.ArgumentParser], None] = lambda _: None,
) -> None:
    """Declare each command with its options.

    `add_shared` declares the options that all of them have.
    """
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in subcommands:
        sub = add_parser(commands, command.name, command.help, f"{parser.prog} {command.example}")
        add_shared(sub)
        command.module.add_arguments(sub)
        sub.set_defaults(act=command.module.run)


def run_subcommand(args: argparse.Namespace) -> int:
    """Run the command that was chosen; its exit code."""
    code: int = args.act(args)
    return code
