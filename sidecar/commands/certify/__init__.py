"""The `certify` command: sends what AWS asks for before a listing goes public, and writes a report.

One RegisterUsage whose signature is verified, where the product registers, and one metering record for each dimension,
from the seller's own account. Dry runs come first, and nothing is sent before somebody said yes. Never works in the
pod of a sidecar.
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
from sidecar.commands.certify.output import announce, ask, summarize
from sidecar.commands.certify.report import Conclusion
from sidecar.commands.certify.target import NotReady, begin, find_caller, read_quantity, require_pod
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
        help="the report; one that is there is gone on with (default: certify.json)",
    )
    parser.add_argument("--quantity", metavar="Q", default="1", help="of each record (default: 1)")
    parser.add_argument("--dry-run", action="store_true", help="end after the dry runs; nothing is metered")
    parser.add_argument("--yes", action="store_true", help="do not ask before sending")
    parser.add_argument(
        "--retry-for",
        metavar="D",
        type=_duration,
        default=durations.parse(_RETRY_FOR),
        help=f"how long each call is tried again while AWS gives no answer (default: {_RETRY_FOR})",
    )
    parser.add_argument("--json", action="store_true", help="print the report itself instead of a summary")


def run(args: argparse.Namespace) -> int:
    """Certify; 0 when all is done, 1 when something is not, 2 for what cannot be begun so.

    Raises:
        SettingsError: With every problem of the configuration.
    """
    settings = load(args.config, os.environ)
    amount = read_quantity(args.quantity, settings)
    if not (args.yes or args.dry_run or _on_terminal()):
        return _refuse(
            "certify asks before it sends anything, and nobody can answer here: give --yes or --dry-run",
            ExitCode.BAD_COMMAND,
        )
    try:
        return _certify(settings, args, amount)
    except (NotReady, NotKept, PodInUse, PodUnknown) as refusal:
        return _refuse(str(refusal), ExitCode.FAILED)
    except (PodRefused, Unusable, UnusableKeys, UnsupportedRegion) as refusal:
        return _refuse(str(refusal), ExitCode.BAD_COMMAND)
    except LedgerUnusable as unusable:
        return _refuse(str(unusable), ExitCode.LEDGER_UNUSABLE)


def _certify(settings: Settings, args: argparse.Namespace, amount: str) -> int:
    keys = PublicKeys.load(settings.product.public_keys)
    endpoint = endpoint_of(settings.marketplace, os.environ)
    pod = pod_identity(os.environ)
    uid = None if pod is None else pod.uid
    require_pod(settings.marketplace.mode, uid)
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
    """What every call of this run is asked with."""

    marketplace: MarketplaceSettings
    endpoint: Endpoint
    keys: PublicKeys
    file: ReportFile
    retry_for: timedelta

    async def ask(self, calls: Callable[[Certifier], Awaitable[bool]]) -> bool:
        """Ask some calls of AWS; whether all was well."""
        async with clock_of(self.marketplace) as clock, MarketplaceMeteringClient(self.endpoint) as service:
            return await calls(Certifier(self.file, service, self.keys, clock, self.retry_for))


def _work(certification: _Run, args: argparse.Namespace) -> bool:
    """Do what is open in the report; whether that went well."""
    file = certification.file
    if file.report.settled:
        return file.report.verdict is Conclusion.PASSED
    allowed = asyncio.run(certification.ask(Certifier.dry_run_all))
    if args.dry_run or not allowed:
        return allowed
    announce(file)
    # Asked outside of any event loop, so that an interrupt ends the question at once.
    if not (args.yes or ask()):
        sys.stderr.write("Nothing was sent.\n")
        return False
    return asyncio.run(certification.ask(Certifier.send_all))


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _duration(text: str) -> timedelta:
    found = durations.parse(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration like 0s, 90s or 5m")
    return found


def _refuse(sentence: str, code: ExitCode) -> ExitCode:
    sys.stderr.write(f"{sentence}\n")
    return code
