"""The `certify` command: sends what AWS requires before a listing goes public, and writes a report.

One RegisterUsage with its signature verified, where the product registers; an examination of its license, where it has
a contract price; and one metering record for each dimension, from the seller's own account. Dry runs come first, and
nothing is sent before a person has confirmed. Refuses to run in the pod of a sidecar.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.adapters.pod import PodRefused, PodUnknown, pod_identity
from sidecar.adapters.signature import PublicKeys, UnusableKeys
from sidecar.commands.arguments import add_config
from sidecar.commands.certify.calls import Certifier
from sidecar.commands.certify.exclusive import PodInUse, exclusive_pod
from sidecar.commands.certify.file import NotKept, ReportFile, Unusable, open_report
from sidecar.commands.certify.output import announce, confirm, summarize
from sidecar.commands.certify.report import Conclusion
from sidecar.commands.certify.target import NotReady, begin, find_caller, read_quantity, require_pod
from sidecar.commands.tables import refuse
from sidecar.domain import durations
from sidecar.exit_codes import ExitCode
from sidecar.marketplace import Endpoint, MarketplaceMeteringClient, UnsupportedRegion
from sidecar.settings import MarketplaceSettings, Settings, load
from sidecar.upstream import clock_of, endpoint_of

_RETRY_FOR = "1m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config(parser)
    parser.add_argument(
        "--report",
        metavar="FILE",
        type=Path,
        default=Path("certify.json"),
        help="report file; an existing one is resumed (default: certify.json)",
    )
    parser.add_argument("--quantity", metavar="Q", default="1", help="quantity of each record (default: 1)")
    parser.add_argument("--dry-run", action="store_true", help="stop after the dry runs, which meter nothing")
    parser.add_argument("--yes", action="store_true", help="send without asking for confirmation")
    parser.add_argument(
        "--retry-for",
        metavar="D",
        type=_duration,
        default=durations.parse(_RETRY_FOR),
        help=f"how long to retry each call that AWS does not answer, such as 90s or 5m (default: {_RETRY_FOR})",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of a summary")


def run(args: argparse.Namespace) -> int:
    """Certify; 0 when all passed, 1 when something failed or is open, 2 for bad options or configuration.

    Raises:
        SettingsError: With every problem of the configuration.
    """
    settings = load(args.config, os.environ)
    amount = read_quantity(args.quantity, settings)
    if not (args.yes or args.dry_run or _on_terminal()):
        return refuse(
            "certify asks for confirmation before it sends anything, and standard input is not a terminal: "
            "give --yes or --dry-run"
        )
    try:
        return _certify(settings, args, amount)
    except (NotReady, NotKept, PodInUse, PodUnknown) as refusal:
        return refuse(str(refusal), ExitCode.FAILED)
    except (PodRefused, Unusable, UnusableKeys, UnsupportedRegion) as refusal:
        return refuse(str(refusal))
    except LedgerUnusable as unusable:
        return refuse(str(unusable), ExitCode.LEDGER_UNUSABLE)


def _certify(settings: Settings, args: argparse.Namespace, amount: str) -> int:
    keys = PublicKeys.load(settings.product.public_keys)
    endpoint = endpoint_of(settings.marketplace, os.environ)
    pod = pod_identity(os.environ)
    uid = None if pod is None else pod.uid
    require_pod(settings, uid)
    with exclusive_pod(settings.api, settings.ledger, uid):
        caller = find_caller(settings, endpoint, os.environ)
        with open_report(args.report, begin(settings, endpoint, caller, uid, amount)) as file:
            well = _work(_Run(settings.marketplace, endpoint, keys, file, args.retry_for), args)
            if args.json:
                sys.stdout.write(f"{json.dumps(file.report.document())}\n")
            else:
                summarize(file)
    return ExitCode.CLEAN if well else ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class _Run:
    """What every call of this run needs."""

    marketplace: MarketplaceSettings
    endpoint: Endpoint
    keys: PublicKeys
    file: ReportFile
    retry_for: timedelta

    async def make(self, calls: Callable[[Certifier], Awaitable[bool]]) -> bool:
        """Make some calls to AWS; return whether all of them succeeded."""
        async with clock_of(self.marketplace) as clock, MarketplaceMeteringClient(self.endpoint) as service:
            return await calls(Certifier(self.endpoint, self.file, service, self.keys, clock, self.retry_for))


def _work(certification: _Run, args: argparse.Namespace) -> bool:
    """Make the open calls of the report; return whether they succeeded."""
    file = certification.file
    if file.report.settled:
        return file.report.verdict is Conclusion.PASSED
    allowed = asyncio.run(certification.make(Certifier.dry_run_all))
    if args.dry_run or not allowed:
        return allowed
    announce(file)
    # Outside of any event loop, where an interrupt ends the question immediately.
    if not (args.yes or confirm()):
        sys.stderr.write("Nothing was sent.\n")
        return False
    return asyncio.run(certification.make(Certifier.send_all))


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _duration(text: str) -> timedelta:
    found = durations.parse(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration like 0s, 90s or 5m")
    return found
