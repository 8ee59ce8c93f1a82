"""The `ecs` commands: what a product needs on Amazon ECS, as documents that the AWS CLI takes.

They print JSON and ask nobody; registering it is the operator's decision. Everything wrong with the options and the
configuration is told at once, with code 2.
"""

import argparse
from dataclasses import dataclass
from types import ModuleType

from sidecar.operator.ecs import policy, task_definition


@dataclass(frozen=True, slots=True)
class _Command:
    """A command and the module that holds its `add_arguments(parser)` and `run(args)`."""

    name: str
    help: str
    module: ModuleType
    example: str


_COMMANDS = (
    _Command(
        "task-definition",
        "print a task definition: the app behind the sidecar",
        task_definition,
        "task-definition --config config.yaml --family shop --app-image acme/shop:2.1"
        " --sidecar-image acme/shop-sidecar:2.1 --task-role-arn arn:aws:iam::111122223333:role/metering",
    ),
    _Command(
        "policy", "print the policy of the task role, or its trust", policy, "policy --trust --account 111122223333"
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands and their options."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            epilog=f"example: {parser.prog} {command.example}",
            allow_abbrev=False,
        )
        command.module.add_arguments(sub)
        sub.set_defaults(act=command.module.run)


def run(args: argparse.Namespace) -> int:
    """Run one command; its exit code."""
    code: int = args.act(args)
    return code
