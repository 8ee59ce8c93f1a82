"""Seconds on a command line: a plain number, or a duration as the configuration has them."""

import argparse
import re

from sidecar.domain import durations

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)


def parse_seconds(text: str) -> float:
    """Return the seconds that a number or a duration names.

    Raises:
        argparse.ArgumentTypeError: It names neither.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    duration = durations.parse(text)
    if duration is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of seconds nor a duration such as 90s or 5m")
    return duration.total_seconds()
