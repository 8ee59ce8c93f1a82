"""The time for the end: what the drain may take against what the pod or task is given."""

from collections.abc import Mapping
from datetime import timedelta

from sidecar.domain import durations
from sidecar.domain.check_result import Check, CheckResult

SHUTDOWN = Check("shutdown", "The open hour is submitted while the pod ends; a killed sidecar leaves it unsubmitted.")

_VARIABLE = "POD_TERMINATION_GRACE"
SPARE = timedelta(seconds=5)
"""For what comes before and after the drain."""
_USUAL = timedelta(seconds=30)
"""The default grace period of Kubernetes and ECS."""
FARGATE_LONGEST = timedelta(seconds=120)
"""The longest stopTimeout that Fargate grants, whatever the task definition sets."""


def check_shutdown(timeout: timedelta, environ: Mapping[str, str], grace: timedelta | None = None) -> CheckResult:
    """Compare the drain's limit with the pod's grace period.

    Args:
        timeout: How long the drain may take.
        environ: Names the grace period in POD_TERMINATION_GRACE, in seconds or as `30s`, where the cluster does not;
            and in AWS_EXECUTION_ENV that this is Fargate, which has a limit of its own.
        grace: The grace period as the cluster shows it.
    """
    if grace is not None:
        return judge_shutdown(timeout, grace)
    if environ.get("AWS_EXECUTION_ENV") == "AWS_ECS_FARGATE" and timeout + SPARE > FARGATE_LONGEST:
        return SHUTDOWN.fail(
            f"shutdown.timeout is {durations.render(timeout)}, and Fargate kills a container after "
            f"{FARGATE_LONGEST.seconds}s, whatever stopTimeout is",
            f"Set shutdown.timeout to {durations.render(FARGATE_LONGEST - SPARE)} or less, and stopTimeout "
            f"{durations.render(SPARE)} longer.",
        )
    text = environ.get(_VARIABLE, "").strip()
    if not text:
        return judge_shutdown(timeout, None)
    named = durations.parse(f"{text}s" if text.isdigit() else text)
    if named is None:
        return SHUTDOWN.warn(f"{_VARIABLE} is no duration", f"Set {_VARIABLE} to the pod's grace period, such as 60s.")
    return judge_shutdown(timeout, named)


def judge_shutdown(timeout: timedelta, grace: timedelta | None) -> CheckResult:
    """Judge the drain's limit against the grace period; None where that is not known."""
    drain, needed = durations.render(timeout), timeout + SPARE
    cure = (
        f"Set terminationGracePeriodSeconds (on ECS stopTimeout) to {durations.render(needed)} or more, "
        "or shorten shutdown.timeout."
    )
    if grace is None:
        if needed > _USUAL:
            found = f"shutdown.timeout is {drain}, and the pod's grace period is not known; 30s is usual"
            return SHUTDOWN.warn(found, cure)
        return SHUTDOWN.ok(f"shutdown.timeout is {drain}, which fits the usual grace period of 30s")
    found = f"shutdown.timeout is {drain}, and the pod's grace period {durations.render(grace)}"
    if grace <= timeout:
        return SHUTDOWN.fail(found, cure)
    return SHUTDOWN.warn(found, cure) if grace < needed else SHUTDOWN.ok(found)
