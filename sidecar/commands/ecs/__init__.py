"""The `ecs` commands: what a product needs on Amazon ECS, as documents that the AWS CLI takes.

They print JSON and ask nobody; registering it is the operator's decision. Everything wrong with the options and the
configuration is told at once, with code 2.
"""

import argparse

from sidecar.commands.ecs import policy, task_definition
from sidecar.commands.subcommands import Subcommand, add_subcommands, run_subcommand

_COMMANDS = (
    Subcommand(
        "task-definition",
        "print a task definition: the app behind the sidecar",
        task_definition,
        "task-definition --config config.yaml --family shop --app-image acme/shop:2.1"
        " --sidecar-image acme/shop-sidecar:2.1 --task-role-arn arn:aws:iam::111122223333:role/metering",
    ),
    Subcommand(
        "policy", "print the policy of the task role, or its trust", policy, "policy --trust --account 111122223333"
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands and their options."""
    add_subcommands(parser, _COMMANDS)


def run(args: argparse.Namespace) -> int:
    """Run one command; its exit code."""
    return run_subcommand(args)
