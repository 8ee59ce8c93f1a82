"""The environment's variables as such: values that carry white space, quotes or a line end. No value is shown."""

from collections.abc import Mapping

from sidecar.domain.check_result import Check, CheckResult
from sidecar.marketplace.environment import padded

VARIABLES = Check(
    "variables", "A value with white space, quotes or a line end around it fails later, and something else is blamed."
)


def check_variables(environ: Mapping[str, str]) -> CheckResult:
    """Judge every variable that the sidecar or the AWS SDK reads."""
    faults = [f"{name} {fault}" for name, fault in padded(environ)]
    if not faults:
        return VARIABLES.ok("no value has white space, quotes or a line end around it")
    return VARIABLES.fail(
        "; ".join(faults),
        "Set each of them to the bare value: without quotes in an env file, and with `printf %s` into a secret.",
    )
