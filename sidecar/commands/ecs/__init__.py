"""The `ecs` commands: what a product needs on Amazon ECS, as documents that the AWS CLI takes.

They print JSON and make no calls; the operator registers it. All problems of the options and the configuration are
reported together, with code 2.
"""

import argparse

from sidecar.commands.ecs import policy, task_definition
from sidecar.commands.subcommands import Subcommand, add_subcommands, run_subcommand

_COMMANDS = (
    Subcommand(
        "task-definition",
        "print a task definition with the sidecar and the app",
        task_definition,
        "task-definition --config config.yaml --family shop --app-image acme/shop:2.1"
        " --sidecar-image acme/shop-sidecar:2.1 --task-role-arn arn:aws:iam::111122223333:role/metering",
    ),
    Subcommand(
        "policy",
        "print the permissions policy of the task role, or its trust policy",
        policy,
        "policy --trust --account 111122223333",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands and their options."""
    add_subcommands(parser, _COMMANDS)


def run(args: argparse.Namespace) -> int:
    """Run one command; its exit code."""
    return run_subcommand(args)
