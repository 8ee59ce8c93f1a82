"""`ecs policy`: the permissions policies of the task role, and its trust policy.

The documents are files of the package, and the same as those in docs/iam. Placeholders are replaced only with values
that the options name, because a guess could trust a foreign account.
"""

import argparse
import re
import sys
from importlib import resources

from sidecar.commands.tables import refuse
from sidecar.exit_codes import ExitCode
from sidecar.marketplace.regions import SHAPE

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--trust", action="store_true", help="print the trust policy, which names the tasks that may assume the role"
    )
    parser.add_argument(
        "--license-manager",
        action="store_true",
        help="print the permissions policy for License Manager, which a contract price needs",
    )
    parser.add_argument("--account", metavar="ID", type=_account, help="with --trust: the account that runs the tasks")
    parser.add_argument("--region", metavar="R", type=region, help="with --trust: the Region that runs the tasks")


def run(args: argparse.Namespace) -> int:
    """Print the document; 0, or 2 when an option does not fit."""
    if args.trust and args.license_manager:
        return refuse("ecs policy: --trust and --license-manager are two documents; give one of them")
    if not args.trust:
        if args.account or args.region:
            return refuse("ecs policy: --account and --region belong to --trust; add --trust")
        sys.stdout.write(read("license-manager-policy.json" if args.license_manager else "policy.json"))
        return ExitCode.CLEAN
    text = read("ecs-task-trust-policy.json")
    for placeholder, value in (("ACCOUNT_ID", args.account), ("REGION", args.region)):
        if value is not None:
            text = text.replace(placeholder, value)
    sys.stdout.write(text)
    return ExitCode.CLEAN


def read(name: str) -> str:
    """Return a document of the package."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def region(text: str) -> str:
    """Return a Region's name; raises argparse.ArgumentTypeError."""
    if SHAPE.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a Region like eu-west-1")
    return text


def _account(text: str) -> str:
    if _ACCOUNT.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an account id: 12 digits")
    return text
