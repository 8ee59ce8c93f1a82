"""Which pod this is, from its environment: the downward API's POD_UID, else the ARN of the ECS task.

AWS deduplicates by this identity, so a guess would be worse than none: where ECS promises an identity and does not give
it, that is an error and not another identity. A process that is neither has none here; its ledger keeps one for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.adapters.task_metadata import NoTaskArn, Pace, task_arn

_METADATA = "ECS_CONTAINER_METADATA_URI_V4"


class PodSource(StrEnum):
    """Where a pod's identity comes from."""

    DOWNWARD_API = "downward-api"
    ECS_TASK = "ecs-task"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The pod or task that AWS meters."""

    uid: str
    source: PodSource


class PodUnknown(Exception):  # noqa: N818 - what is the case, as the operator reads it
    """ECS should have told the task and did not; starting again is the cure."""


def pod_identity(environ: Mapping[str, str], pace: Pace | None = None) -> PodIdentity | None:
    """Return this pod's identity, or None when the ledger has to keep one. Blocks for 22 seconds at most.

    Args:
        environ: The process's environment.
        pace: How the ECS metadata endpoint is asked again; by default for 20 seconds.

    Raises:
        PodUnknown: The ECS metadata endpoint is named and gives no task ARN within that time.
    """
    uid = environ.get("POD_UID", "").strip()
    if uid:
        return PodIdentity(uid, PodSource.DOWNWARD_API)
    base = environ.get(_METADATA, "").strip()
    if base:
        try:
            return PodIdentity(task_arn(base, pace or Pace()), PodSource.ECS_TASK)
        except NoTaskArn as unnamed:
            raise PodUnknown(f"{_METADATA}: {unnamed}") from unnamed
    return None
