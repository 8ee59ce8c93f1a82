"""What is set for the AWS SDK and has no effect here, because it would lead calls elsewhere. Asks no network."""

from collections.abc import Mapping
from pathlib import Path

from sidecar.checks.identity import read_file
from sidecar.domain.check_result import Check, CheckResult
from sidecar.marketplace import without_effect
from sidecar.settings import Mode

SDK_VARIABLES = Check(
    "sdk variables",
    "Calls go to AWS's own hosts; variables and files that would lead the AWS SDK elsewhere have no effect.",
)


def check_sdk_variables(mode: Mode, environ: Mapping[str, str]) -> CheckResult:
    """Name what is set in vain."""
    if mode is Mode.EMULATOR:
        return SDK_VARIABLES.skipped("calls go to the emulator, whatever is set")
    names = find_ignored(environ)
    if not names:
        return SDK_VARIABLES.ok("nothing is set that would lead the SDK elsewhere")
    return SDK_VARIABLES.warn(
        f"{', '.join(names)}: set, and without effect",
        "Remove it. Calls go to the services' own hosts in the Region, by https.",
    )


def find_ignored(environ: Mapping[str, str]) -> list[str]:
    """Return the names of what is set and has no effect."""
    return without_effect(environ, read=read_file, is_folder=lambda path: Path(path).is_dir())
