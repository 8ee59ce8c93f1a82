"""The API's documents: what is read out of a pod's, and what is written into a condition and an event.

Reads leniently what it does not need and refuses what contradicts itself; a newer API server adds members at will.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sidecar.adapters.kubernetes.address import PodAddress
from sidecar.domain.pod.lifecycle import Access, ConditionView, ContainerView, PodView, RestartPolicy
from sidecar.domain.pod.reports import Condition, PodEvent

COMPONENT = "marketplace-sidecar"
"""Who reports the events."""
STRATEGIC_MERGE = "application/strategic-merge-patch+json"
"""The type of a patch that finds the members of a list by their type or name."""
LONGEST_DETAIL = 300
"""Characters of a failure's words."""
_LONGEST_NAME = 220
"""Characters of the pod's name that an event's name takes up; the whole may have 253."""


def condition_patch(address: PodAddress, condition: Condition, changed_at: datetime) -> Mapping[str, Any]:
    """Return what sets a condition on the pod's status and leaves the others as they are."""
    wanted = {
        "type": condition.type,
        "status": str(condition.status),
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": _instant(changed_at),
    }
    # The UID is a precondition: another pod of the same name is left alone.
    metadata = {} if address.uid is None else {"metadata": {"uid": address.uid}}
    return {**metadata, "status": {"conditions": [wanted]}}


def event_document(address: PodAddress, event: PodEvent) -> Mapping[str, Any]:
    """Return the event as core/v1 has it, under a name that the same event always gets."""
    seed = f"{address.uid} {event.reason} {event.first_at.isoformat()}"
    suffix = hashlib.sha256(seed.encode()).hexdigest()[:16]
    pod = {"apiVersion": "v1", "kind": "Pod", "namespace": address.namespace, "name": address.name}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{address.name[:_LONGEST_NAME].rstrip('.-')}.{suffix}", "namespace": address.namespace},
        "involvedObject": pod if address.uid is None else {**pod, "uid": address.uid},
        "type": "Warning" if event.reason.warning else "Normal",
        "reason": event.reason.value,
        "message": event.message,
        "firstTimestamp": _instant(event.first_at),
        "lastTimestamp": _instant(event.last_at),
        "count": event.count,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": address.name,
    }


def review_document(address: PodAddress, access: Access) -> Mapping[str, Any]:
    """Return what asks the API server whether this pod's service account may do something. Nothing is stored."""
    resource, _, part = access.resource.partition("/")
    attributes = {"namespace": address.namespace, "verb": access.verb, "group": "", "resource": resource}
    if part:
        attributes["subresource"] = part
    if access is not Access.CREATE_EVENT:
        # A Role may name the pod; what is created has no name yet.
        attributes["name"] = address.name
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }


def read_review(document: Any) -> bool:
    """Read the answer to such a question; raises ValueError."""
    match document:
        case {"status": {"allowed": bool(allowed)}}:
            return allowed
        case _:
            pass
    raise ValueError("the answer is no review")


def _instant(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_pod(document: Any, answered_at: datetime | None = None) -> PodView:
    """Read a pod's document.

    `answered_at` is when the API server answered, by its own clock; None if unknown.

    Raises:
        ValueError: It is not a pod as the API describes it.
    """
    try:
        return _read(document, answered_at)
    except (AttributeError, KeyError, TypeError, OverflowError) as error:
        raise ValueError("the answer is no pod") from error


def _read(document: Any, answered_at: datetime | None) -> PodView:
    metadata, spec, status = document["metadata"], document["spec"], document.get("status") or {}
    policy = RestartPolicy(spec.get("restartPolicy", RestartPolicy.ALWAYS))
    started, seconds = status.get("startTime"), spec.get("activeDeadlineSeconds")
    grace = spec.get("terminationGracePeriodSeconds")
    deleted_at = metadata.get("deletionTimestamp")
    return PodView(
        uid=str(metadata["uid"]),
        phase=str(status.get("phase", "")),
        deleted=deleted_at is not None,
        left=_parse(deleted_at) - answered_at if deleted_at is not None and answered_at is not None else None,
        deadline=_parse(started) + timedelta(seconds=seconds) if started and seconds else None,
        grace=None if grace is None else timedelta(seconds=grace),
        restart_policy=policy,
        native_sidecars=any(
            container.get("restartPolicy") == RestartPolicy.ALWAYS for container in spec.get("initContainers") or ()
        ),
        containers=_containers(spec["containers"], status.get("containerStatuses") or (), policy),
        conditions={
            shown["type"]: ConditionView(
                shown["status"], _parse(shown["lastTransitionTime"]) if shown.get("lastTransitionTime") else None
            )
            for shown in status.get("conditions") or ()
        },
    )


def _containers(
    specs: Sequence[Mapping[str, Any]], statuses: Sequence[Mapping[str, Any]], policy: RestartPolicy
) -> list[ContainerView]:
    states = {status["name"]: status.get("state") or {} for status in statuses}
    ends = {
        name: (end["exitCode"], _parse(end["finishedAt"]) if end.get("finishedAt") else None)
        for name, state in states.items()
        if (end := state.get("terminated"))
    }
    return [
        ContainerView(RestartPolicy(container.get("restartPolicy", policy)), *ends.get(container["name"], (None, None)))
        for container in specs
    ]


def _parse(instant: str) -> datetime:
    parsed = datetime.fromisoformat(instant)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
