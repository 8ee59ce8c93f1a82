"""Which pod a session of AWS credentials is of.

The charts name each session after the pod's UID, and ECS after the task; CloudTrail shows the name with every call. An
SDK without a name makes one up, which names no pod. A session under which a ledger's own record was charged is no
stranger's, whatever its name looks like; but pods may share it.
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


class Sessions:
    """The sessions of a log, and the pods of the ledgers."""

    def __init__(self, pods: Collection[str], proven: Collection[str | None]) -> None:
        """Take the pods, and the sessions under which a record of theirs was charged."""
        self._pods = pods
        self._proven = proven

    def pod_of(self, session: str | None) -> str | None:
        """Return the pod that a session is named after, None if it is none of the ledgers'."""
        return None if session is None else pod_named(session, self._pods)

    def is_strange(self, session: str | None) -> bool:
        """Return whether a session names a pod, and is of none of ours."""
        if session is None or not names_some_pod(session) or session in self._proven:
            return False
        return self.pod_of(session) is None

    def may_be_of(self, session: str | None, pod: str) -> bool:
        """Return whether a session that is not strange may be of a pod."""
        return self.pod_of(session) in {None, pod}
