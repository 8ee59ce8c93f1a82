"""The command `emulator`: its flags, its start and its end.

Prints its addresses and the environment of an SDK to standard output once it takes connections, and then one line to
standard error for each call. Ends cleanly on SIGTERM and SIGINT.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.emulator.call_log import LoggedCall
from sidecar.emulator.line_writer import LineWriter
from sidecar.emulator.server import serve
from sidecar.emulator.service import Options
from sidecar.emulator.state.journal import StateFileError
from sidecar.emulator.state.seed import NO_SEED, SeedError, read_seed

DOCUMENT = "https://github.com/marketplace-sidecar/marketplace-sidecar/blob/main/docs/emulator.md"

EXIT_CLEAN = 0
EXIT_CONFIGURATION = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_read_port, default=8789, help="port to listen on, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="keep the state in FILE; it holds private keys (default: in memory)"
    )
    parser.add_argument(
        "--seed-config",
        type=Path,
        metavar="FILE",
        help="sidecar configuration with the product, its price and its dimensions; it may also have the lists "
        "`customers` and `licenses` (default: accept any product and dimension)",
    )
    parser.add_argument(
        "--identity",
        choices=("any", "irsa-only"),
        default="any",
        help="irsa-only: refuse every pod that does not use IAM roles for service accounts (default: %(default)s)",
    )
    parser.add_argument(
        "--any-operation",
        action="store_true",
        help="accept every operation (default: an operation that does not belong to the price of the --seed-config "
        "answers InvalidProductCodeException)",
    )
    parser.add_argument(
        "--from-first-call",
        action="store_true",
        help="refuse usage of hours before the pod's first call with TimestampOutOfBoundsException",
    )
    parser.add_argument(
        "--quotas",
        action="store_true",
        help="throttle calls beyond these in an emulated second: 5 RegisterUsage, 10 MeterUsage, 10 BatchMeterUsage, "
        "10 of each License Manager operation",
    )
    parser.add_argument(
        "--license-region",
        choices=("any", "home"),
        default="any",
        help="home: a license exists only in its home Region, and CheckoutLicense elsewhere answers RedirectException "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--log",
        choices=("text", "json"),
        default="text",
        help="how to write each call of an SDK to standard error, one line a call (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the emulator until a signal ends it; returns the exit code."""
    try:
        seed = NO_SEED if args.seed_config is None else read_seed(args.seed_config)
        options = Options(
            host=args.host,
            port=args.port,
            state_file=args.state,
            seed=seed,
            identity=args.identity,
            quotas=args.quotas,
            license_region=args.license_region,
            any_operation=args.any_operation,
            from_first_call=args.from_first_call,
        )
        form = _FORMS[args.log]
        with LineWriter(_standard_error(), form.note) as lines:
            asyncio.run(_serve_until_signal(options, lambda call: lines.write(form.line(call))))
    except SeedError as error:
        return _refuse([f"--seed-config: {problem}" for problem in error.problems])
    except StateFileError as error:
        return _refuse([f"--state: {error}"])
    except OSError as error:
        return _refuse([f"--host {args.host} --port {args.port}: {error.strerror or error}"])
    return EXIT_CLEAN


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command by itself."""
    parser = argparse.ArgumentParser(
        prog="emulator", description="AWS Marketplace Metering and License Manager, local."
    )
    add_arguments(parser)
    return run(parser.parse_args(argv))


async def _serve_until_signal(options: Options, log: Callable[[LoggedCall], object]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(options, announce=_announce, stop=stop, log=log)


def _announce(url: str) -> None:
    near = reachable(url)
    lines = (
        f"emulator listening on {url}",
        f"console: {near}/",
        f"document: {DOCUMENT}",
        "environment of an AWS SDK, or of the AWS CLI:",
        f"  export {' '.join(f'{name}={value}' for name, value in environment(near).items())}",
    )
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def reachable(url: str) -> str:
    """Return the URL with an address of this machine in place of "every address"."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def environment(url: str) -> dict[str, str]:
    """Return the variables that make an AWS SDK call the emulator at `url`. Any key and secret will do."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",  # boto3 does not read AWS_REGION
        "AWS_ACCESS_KEY_ID": "laptop",
        "AWS_SECRET_ACCESS_KEY": "any",
    }


def _standard_error() -> int:
    # A process that was started without standard error may have given its number to another file.
    return os.open(os.devnull, os.O_WRONLY) if sys.__stderr__ is None else sys.__stderr__.fileno()


@dataclass(frozen=True, slots=True)
class _Form:
    """How a call, and a number of calls that were not written, become a line."""

    line: Callable[[LoggedCall], str]
    note: Callable[[int], str]


_FORMS: Mapping[str, _Form] = {
    "text": _Form(LoggedCall.line, lambda dropped: f"{dropped} calls are not shown: standard error was not read"),
    "json": _Form(lambda call: json.dumps(call.document()), lambda dropped: json.dumps({"dropped": dropped})),
}


def _refuse(problems: list[str]) -> int:
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return EXIT_CONFIGURATION


def _read_port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
