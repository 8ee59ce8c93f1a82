"""The `demo` command: the way from a closed gate to accepted metering records, on this machine, in a minute.

Plays seller, buyer and app with real processes: the emulator in place of AWS, the sidecar, and HTTP between them. On
the way an answer is lost and the sidecar is killed; at the end the app's usage is compared with the emulator's records.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from sidecar.commands.demo.environment import Environment, ScenarioError
from sidecar.commands.demo.scenario import Scenario
from sidecar.commands.demo.screen import Screen
from sidecar.exit_codes import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--keep", metavar="FOLDER", type=Path, help="keep the configuration, the ledger and the logs in this folder"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demonstration: 0 if every unit is where it belongs, else 1."""
    with tempfile.TemporaryDirectory(prefix="marketplace-sidecar-demo-") as folder:
        environment, screen = Environment(Path(folder)), Screen()
        try:
            return Scenario(environment, screen).run()
        except ScenarioError as error:
            screen.bad(str(error))
            for name in ("emulator.log", "sidecar.log"):
                log = environment.folder / name
                if log.exists():
                    sys.stdout.write(f"--- {name}\n{log.read_text(encoding='utf-8', errors='replace')}")
            return ExitCode.FAILED
        finally:
            environment.close()
            if args.keep is not None:
                shutil.copytree(folder, args.keep, dirs_exist_ok=True)
