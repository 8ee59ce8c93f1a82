"""Which pod a session of AWS credentials is of.

The charts name each session after the pod's UID, and ECS after the task; CloudTrail shows the name with every call. An
SDK without a name makes one up, which names no pod. A session under which a ledger's own record was charged is of the
record's pod, whatever its name looks like.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable

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
    """The sessions of a log, and the pods of the ledgers.

    A name that looks like no pod's may be shared by pods, so only its own charges are proven by a receipt.
    """

    def __init__(self, pods: Collection[str], proven: Iterable[tuple[str | None, str]]) -> None:
        """Take the pods, and with each session the pod of a record that was charged under it."""
        self._pods = pods
        self._proven: dict[str, set[str]] = defaultdict(set)
        for session, pod in proven:
            if session is not None and names_some_pod(session):
                self._proven[session].add(pod)

    def pod_of(self, session: str | None) -> str | None:
        """Return the one pod that a session is of, None if that is unknown or none of the ledgers'."""
        pods = self._pods_of(session)
        return next(iter(pods)) if len(pods) == 1 else None

    def is_strange(self, session: str | None) -> bool:
        """Return whether a session names a pod, and is of none of ours."""
        return session is not None and names_some_pod(session) and not self._pods_of(session)

    def may_be_of(self, session: str | None, pod: str) -> bool:
        """Return whether a session that is not strange may be of a pod."""
        pods = self._pods_of(session)
        return not pods or pod in pods

    def _pods_of(self, session: str | None) -> Collection[str]:
        if session is None:
            return ()
        named = pod_named(session, self._pods)
        return self._proven.get(session, ()) if named is None else (named,)
