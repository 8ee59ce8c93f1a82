"""The configuration itself: sound, and meant for AWS."""

from collections.abc import Iterable, Mapping

from sidecar.domain.check_result import Check, CheckResult
from sidecar.settings import Mode, Problem, Settings
from sidecar.settings.file import locate

CONFIGURATION = Check("configuration", "The sidecar does not start with a faulty configuration.")


def check_configuration(settings: Settings, path: str | None, environ: Mapping[str, str]) -> CheckResult:
    """Name the file that was read, and warn if it leads to an emulator."""
    file, named_by = locate(path, environ)
    if settings.marketplace.mode is Mode.EMULATOR:
        return CONFIGURATION.warn(
            f"{file} is sound, but marketplace.mode is emulator: no usage is billed",
            "For a real product remove marketplace.mode and marketplace.endpoint_url.",
        )
    return CONFIGURATION.ok(f"{file} is sound (named by {named_by})")


def refuse_configuration(problems: Iterable[Problem]) -> list[CheckResult]:
    """Return one failure for each problem."""
    return [
        CONFIGURATION.fail(
            f"{problem.key}{'' if problem.value is None else f' = {problem.value}'}: {problem.reason}"
            f"{f' ({problem.where})' if problem.where else ''}",
            f"{problem.cure[0].upper()}{problem.cure[1:]}.",
        )
        for problem in problems
    ]
