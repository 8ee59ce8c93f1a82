"""Which pod this is: the downward API's POD_UID, else the UID in the web-identity token, else the ARN of the ECS task.

AWS deduplicates by this identity, so a guess would be worse than none: where ECS promises an identity and does not give
it, that is an error and not another identity. So is a POD_UID that is no UID or contradicts the token, and a pod of a
cluster without either: an identity that its ledger kept would be the same for every pod on that volume. A process that
is neither pod nor task has none here; its ledger keeps one for it.
"""

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.domain.web_identity import TOKEN_VARIABLE, pod_of_claims, read_claims

POD_UID = "POD_UID"
POD_UID_CURE = "Take POD_UID from the downward API: fieldRef with fieldPath metadata.uid."
_CLUSTER = "KUBERNETES_SERVICE_HOST"
_METADATA = "ECS_CONTAINER_METADATA_URI_V4"
_TIMEOUT = 2.0
"""Seconds that one connection or one read may take."""
_LARGEST = 1024 * 1024
"""Bytes of the task's description that are read; it lists every container."""


_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}", re.ASCII)
_PATHS = frozenset({"metadata.uid", "fieldref", "fieldpath", "null", "none", "pod_uid"})
"""What a manifest leaves in the variable when the reference is written as a value."""


class PodSource(StrEnum):
    """Where a pod's identity comes from."""

    DOWNWARD_API = "downward-api"
    WEB_IDENTITY = "web-identity"
    ECS_TASK = "ecs-task"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The pod or task that AWS meters."""

    uid: str
    source: PodSource


class PodUnknown(Exception):  # noqa: N818 - what is the case, as the operator reads it
    """ECS should have told the task and did not; starting again is the cure."""


class PodRefused(Exception):  # noqa: N818 - what is the case, as the operator reads it
    """The environment names no pod where it must, or contradicts itself; says what it holds and the cure."""

    def __init__(self, detail: str, cure: str) -> None:
        super().__init__(f"{detail}. {cure}")
        self.detail = detail
        self.cure = cure


def pod_identity(environ: Mapping[str, str]) -> PodIdentity | None:
    """Return this pod's identity, or None when the ledger has to keep one. Blocks for a few seconds at most.

    Raises:
        PodRefused: POD_UID is no UID, or contradicts the web-identity token; or this is a pod and neither names it.
        PodUnknown: The ECS metadata endpoint is named and gives no task ARN.
    """
    uid, of_token = given_uid(environ), _uid_of_token(environ)
    if uid is not None and of_token is not None and uid != of_token:
        raise PodRefused(
            f"POD_UID is {uid}, but the web-identity token in {environ[TOKEN_VARIABLE]} is of pod {of_token}; "
            "AWS counts usage by the pod of the token",
            POD_UID_CURE,
        )
    if uid is not None:
        return PodIdentity(uid, PodSource.DOWNWARD_API)
    if of_token is not None:
        return PodIdentity(of_token, PodSource.WEB_IDENTITY)
    base = environ.get(_METADATA, "").strip()
    if base:
        return PodIdentity(_task_arn(base), PodSource.ECS_TASK)
    if environ.get(_CLUSTER, "").strip():
        state = "empty" if POD_UID in environ else "not set"
        raise PodRefused(
            f"POD_UID is {state} and no web-identity token names the pod, but {_CLUSTER} is set, so this is a pod. "
            "Without its UID the next pod on this ledger would count as the same one, and usage could be billed twice",
            f"{POD_UID_CURE} Or let EKS project a web-identity token (annotate the service account with "
            "eks.amazonaws.com/role-arn), which names the pod.",
        )
    return None


def given_uid(environ: Mapping[str, str]) -> str | None:
    """Return the UID in POD_UID, None where it is missing or empty.

    Raises:
        PodRefused: It is not a UID: it holds white space, or a reference that was not resolved.
    """
    text = environ.get(POD_UID, "").strip()
    if not text:
        return None
    if _UID.fullmatch(text) is None or text.lower() in _PATHS:
        raise PodRefused(
            f"POD_UID is {text[:80]!r}, which is not a UID: it holds white space or a reference that was not resolved; "
            "AWS counts usage by pod",
            POD_UID_CURE,
        )
    return text


def _uid_of_token(environ: Mapping[str, str]) -> str | None:
    """Return the pod that the web-identity token names; None without a token, or where it cannot be read."""
    path = environ.get(TOKEN_VARIABLE, "")
    try:
        claims = read_claims(Path(path).read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError):
        return None
    return None if claims is None else pod_of_claims(claims)


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
