"""Which pod this is, from its environment: the downward API's POD_UID, else the ARN of the ECS task.

AWS deduplicates by this identity, so a guess would be worse than none: where ECS promises an identity and does not give
it, that is an error and not another identity. A process that is neither has none here; its ledger keeps one for it.
"""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

_METADATA = "ECS_CONTAINER_METADATA_URI_V4"
_TIMEOUT = 2.0
"""Seconds that one connection or one read may take."""
_LARGEST = 1024 * 1024
"""Bytes of the task's description that are read; it lists every container."""


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


def pod_identity(environ: Mapping[str, str]) -> PodIdentity | None:
    """Return this pod's identity, or None when the ledger has to keep one. Blocks for a few seconds at most.

    Raises:
        PodUnknown: The ECS metadata endpoint is named and gives no task ARN.
    """
    uid = environ.get("POD_UID", "").strip()
    if uid:
        return PodIdentity(uid, PodSource.DOWNWARD_API)
    base = environ.get(_METADATA, "").strip()
    if base:
        return PodIdentity(_task_arn(base), PodSource.ECS_TASK)
    return None


def _task_arn(base: str) -> str:
    url = f"{base.rstrip('/')}/task"
    try:
        status, body = _fetch(url)
        task = json.loads(body) if status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise PodUnknown(f"{_METADATA}: {url} cannot be read: {type(error).__name__}: {error}") from error
    match task:
        case {"TaskARN": str(arn)} if arn.startswith("arn:"):
            return arn
        case _:
            raise PodUnknown(f"{_METADATA}: {url} gave status {status} and no TaskARN")


def _fetch(url: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("not an http URL")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status, response.read(_LARGEST)
    finally:
        connection.close()
