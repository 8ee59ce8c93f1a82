"""Which pod a session of AWS credentials names.

The charts name each session after the pod's UID, and ECS after the task; CloudTrail shows the name with every call. An
SDK without a name makes one up, which names no pod.
"""

import re
from collections.abc import Collection

_POD_OR_TASK = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", re.ASCII | re.IGNORECASE)


def pod_named(session: str, pods: Collection[str]) -> str | None:
    """Return the pod of `pods` that a session's name names; a task's ARN ends with its name."""
    if session in pods:
        return session
    return next((pod for pod in pods if pod.endswith(f"/{session}")), None)


def names_some_pod(session: str) -> bool:
    """Return whether a session's name is that of some pod or task."""
    return _POD_OR_TASK.fullmatch(session) is not None
