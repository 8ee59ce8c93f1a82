"""Commands below a command, such as `ledger status`."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A command and the module that holds its `add_arguments(parser)` and `run(args)`, which returns the exit code."""

    name: str
    help: str
    module: ModuleType
    example: str
    """Name and arguments of one good call, for its --help."""


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
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=f"example: {parser.prog} {command.example}",
            allow_abbrev=False,
        )
        add_shared(sub)
        command.module.add_arguments(sub)
        sub.set_defaults(act=command.module.run)


def run_subcommand(args: argparse.Namespace) -> int:
    """Run the command that was chosen; its exit code."""
    code: int = args.act(args)
    return code
