"""`openapi`: prints the OpenAPI 3.1 document of the local API as JSON."""

import argparse
import json
import sys

from sidecar.adapters.http.openapi import describe
from sidecar.exit_codes import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command takes no arguments."""
    parser.epilog = "example: marketplace-sidecar openapi > openapi.json"


def run(_args: argparse.Namespace) -> int:
    """Print the document; return 0."""
    json.dump(describe(), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return ExitCode.CLEAN
