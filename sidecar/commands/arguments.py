"""Option types of several commands: a configuration, a whole number within bounds, seconds."""

import argparse
import re
from collections.abc import Callable

from sidecar.domain import durations

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declare `--config`."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="the sidecar's configuration (default: SIDECAR_CONFIG, else /etc/marketplace-sidecar/config.yaml)",
    )


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def parse_seconds(text: str) -> float:
    """Return the seconds of a plain number, or of a duration as in the configuration.

    Raises:
        argparse.ArgumentTypeError: It is neither.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    duration = durations.parse(text)
    if duration is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of seconds nor a duration such as 90s or 5m")
    return duration.total_seconds()
