"""Which pod this is: the downward API's POD_UID, else the UID in a token from EKS, else the ARN of the ECS task.

AWS deduplicates by this identity, and the ledger keeps proof by it, so a wrong one is worse than none. It is an error
if ECS names a metadata endpoint that gives no identity, if POD_UID is not a UID, if it and the tokens contradict each
other, and if a pod of a cluster has none of them: an identity from the ledger would be the same for every pod on that
volume. A process that is neither pod nor task has no identity here; its ledger keeps one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sidecar.adapters.task_metadata import NoTaskArn, Pace, task_arn
from sidecar.domain.web_identity import POD_IDENTITY_VARIABLE, TOKEN_VARIABLE, pod_of_claims, read_claims

POD_UID = "POD_UID"
POD_UID_CURE = "Take POD_UID from the downward API: fieldRef with fieldPath metadata.uid."
_CLUSTER = "KUBERNETES_SERVICE_HOST"
_METADATA = "ECS_CONTAINER_METADATA_URI_V4"


_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}", re.ASCII)
_PATHS = frozenset({"metadata.uid", "fieldref", "fieldpath", "null", "none", "pod_uid"})
"""What a manifest puts into the variable if the reference is written as a value."""


class PodSource(StrEnum):
    """Where a pod's identity comes from."""

    DOWNWARD_API = "downward-api"
    WEB_IDENTITY = "web-identity"
    POD_IDENTITY = "pod-identity"
    ECS_TASK = "ecs-task"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The pod or task that AWS meters or licenses."""

    uid: str
    source: PodSource


_TOKENS = ((TOKEN_VARIABLE, PodSource.WEB_IDENTITY), (POD_IDENTITY_VARIABLE, PodSource.POD_IDENTITY))


class PodUnknown(Exception):
    """ECS names a metadata endpoint that gave no task ARN; a restart is the cure."""


class PodRefused(Exception):
    """The environment does not name the pod, or contradicts itself; holds the finding and the cure."""

    def __init__(self, detail: str, cure: str) -> None:
        super().__init__(f"{detail}. {cure}")
        self.detail = detail
        self.cure = cure


def pod_identity(environ: Mapping[str, str], pace: Pace | None = None) -> PodIdentity | None:
    """Return this pod's identity, or None if the ledger has to keep one. Blocks for 22 seconds at most.

    Args:
        environ: The process's environment.
        pace: How requests to the ECS metadata endpoint are retried; by default for 20 seconds.

    Raises:
        PodRefused: POD_UID is not a UID; it and the tokens contradict each other; or this is a pod and none names it.
        PodUnknown: The ECS metadata endpoint is named and gives no task ARN within that time.
    """
    named = list(_named(environ))
    if named:
        first, identity = named[0]
        for place, other in named[1:]:
            if other.uid != identity.uid:
                detail = f"{first} {identity.uid}, but {place} {other.uid}; usage and seats count by pod"
                raise PodRefused(detail, POD_UID_CURE)
        return identity
    base = environ.get(_METADATA, "").strip()
    if base:
        try:
            return PodIdentity(task_arn(base, pace or Pace()), PodSource.ECS_TASK)
        except NoTaskArn as unnamed:
            raise PodUnknown(f"{_METADATA}: {unnamed}") from unnamed
    if environ.get(_CLUSTER, "").strip():
        state = "empty" if POD_UID in environ else "not set"
        raise PodRefused(
            f"POD_UID is {state} and no token names the pod, but {_CLUSTER} is set, so this is a pod. "
            "Without its UID the next pod on this ledger would count as the same one, and usage could be billed twice",
            f"{POD_UID_CURE} Or annotate the service account with eks.amazonaws.com/role-arn: EKS then projects "
            "a web-identity token that names the pod.",
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


def _named(environ: Mapping[str, str]) -> Iterator[tuple[str, PodIdentity]]:
    """Yield each identity that is given, with its place in words. A token that cannot be read names no pod."""
    uid = given_uid(environ)
    if uid is not None:
        yield "POD_UID is", PodIdentity(uid, PodSource.DOWNWARD_API)
    for variable, source in _TOKENS:
        path = environ.get(variable, "")
        try:
            claims = read_claims(Path(path).read_text(encoding="utf-8")) if path else None
        except (OSError, ValueError):
            continue
        if claims is not None and (of_token := pod_of_claims(claims)) is not None:
            yield f"the token in {path} is of pod", PodIdentity(of_token, source)
