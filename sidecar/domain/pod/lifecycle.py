"""The pod as the cluster shows it, and what follows for its end.

Judges a view and makes no call. A pod ends for good, a container may merely be restarted: `is_ending` claims an end
only on evidence. Some ends leave none while a container still runs: an eviction by the kubelet itself (node pressure,
the node's own shutdown) looks like a restart from here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

_TERMINAL = frozenset({"Succeeded", "Failed"})
_SPARE = timedelta(seconds=3)
"""Of the pod's grace, for what comes after the drain: listeners, connections, the ledger."""


class Access(StrEnum):
    """What this pod's service account must be allowed to do, each for one purpose."""

    GET_POD = "get pods"  # distinguish a terminating pod from a restarted container
    PATCH_STATUS = "patch pods/status"  # set the condition of the readiness gate
    CREATE_EVENT = "create events"  # write events on the pod

    @property
    def rule(self) -> str:
        """The rule of a Role in the pod's namespace that allows it, as YAML."""
        return f'- {{apiGroups: [""], resources: ["{self.resource}"], verbs: ["{self.verb}"]}}'

    @property
    def verb(self) -> str:
        """What is done."""
        return self.value.partition(" ")[0]

    @property
    def resource(self) -> str:
        """To what, a part of it after a slash."""
        return self.value.partition(" ")[2]


class Fault(StrEnum):
    """Why the cluster's API did not do what it was asked."""

    FORBIDDEN = "forbidden"  # no rule allows it
    UNAUTHORIZED = "unauthorized"  # the token is not taken
    NOT_FOUND = "not-found"  # there is no such pod
    CONFLICT = "conflict"  # the object there is another one
    REFUSED = "refused"  # any other answer but success
    UNTRUSTED = "untrusted"  # the API server's certificate is refused
    UNREACHABLE = "unreachable"  # no answer, or nothing to ask with


def cure_of(fault: Fault, access: Access) -> str:  # noqa: PLR0911 - one for each fault
    """Return what to do about a call that failed."""
    match fault:
        case Fault.FORBIDDEN:
            return f"Add this rule to the Role of the pod's service account: {access.rule}"
        case Fault.UNAUTHORIZED:
            return "Give the pod a valid token of its service account. The sidecar reads the token before each call."
        case Fault.NOT_FOUND:
            return "Set POD_NAME and POD_NAMESPACE from the downward API: metadata.name and metadata.namespace."
        case Fault.CONFLICT:
            return "Nothing to do if a pod of the same name replaced this one; else set POD_UID from the downward API."
        case Fault.REFUSED:
            return "Follow the API server's message."
        case Fault.UNTRUSTED:
            return (
                "Put the certificate authority of this cluster into ca.crt of the service account (config map "
                "kube-root-ca.crt), and keep proxies and service meshes between the pod and the API server from "
                "opening TLS."
            )
        case Fault.UNREACHABLE:
            return "Allow the pod to reach the API server: check its network policies."


class ClusterFailed(Exception):
    """The cluster's API did not do what it was asked; trying again later is the cure, once the cause is gone."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


class RestartPolicy(StrEnum):
    """Which containers are started again after they have ended."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One regular container."""

    restart_policy: RestartPolicy
    exit_code: int | None
    """None while it is not terminated."""
    ended_at: datetime | None = None
    """When it terminated, to the second, by the node's clock; None if the cluster does not show it."""

    @property
    def ended(self) -> bool:
        """It is terminated and will not be started again."""
        match self.restart_policy:
            case RestartPolicy.ALWAYS:
                return False
            case RestartPolicy.ON_FAILURE:
                return self.exit_code == 0
            case RestartPolicy.NEVER:
                return self.exit_code is not None


@dataclass(frozen=True, slots=True)
class ConditionView:
    """A condition that the pod has."""

    status: str
    """True | False | Unknown."""
    changed_at: datetime | None
    """When `status` last changed, if the cluster shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """The members of a pod that matter here."""

    uid: str
    phase: str
    deleted: bool
    """Its deletion has been asked for: metadata.deletionTimestamp is set."""
    left: timedelta | None = None
    """Of its grace: from the API server's answer to metadata.deletionTimestamp, both by the cluster's own clock."""
    deadline: datetime | None = None
    """When spec.activeDeadlineSeconds is over."""
    grace: timedelta | None = None
    """spec.terminationGracePeriodSeconds."""
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    native_sidecars: bool = False
    """It has init containers with restartPolicy Always. This process is then taken to be one of them."""
    containers: Sequence[ContainerView] = ()
    """The regular ones, this process's own among them in a pod without native sidecars."""
    conditions: Mapping[str, ConditionView] = field(default_factory=dict)
    """By type."""


@dataclass(frozen=True, slots=True)
class PodEnd:
    """What a container that got SIGTERM knows of its pod."""

    ending: bool
    """The pod itself ends, rather than this container alone."""
    may_lag: bool = False
    """It is not shown to end, and may have run to completion nevertheless: see `may_lag`."""
    left: timedelta | None = None
    """Remaining termination grace period; None if unknown."""


def drain_within(limit: timedelta, left: timedelta | None, least: timedelta) -> timedelta:
    """Return how long the drain may take to end before the pod's grace period does.

    The cluster's answer can only shorten the drain, and never below `least` unless the limit is shorter: a wrong
    instant must not cost the open hour its submission. A kill meanwhile loses no accepted usage.

    `least` is what the open hour's submission is sure of; `left` is the remaining grace period, None if unknown.
    """
    return limit if left is None else min(limit, max(left - _SPARE, least))


def time_for_app(left: timedelta | None, drain: timedelta) -> timedelta:
    """Return how long a sidecar that gets SIGTERM together with the app may wait for it: what the drain does not need.

    `left` is the remaining grace period, None if unknown; `drain` is what the drain may take.
    """
    return timedelta() if left is None else max(left - drain - _SPARE, timedelta())


def app_runs(pod: PodView, since: datetime) -> bool:
    """Return whether the app may still run although this container got SIGTERM: it is a regular container, as the app.

    A container that the view does not show as terminated counts as running, this one among them. `since` is when this
    process started: the view may lag and show a termination of before, also of this container, after which the kubelet
    started it again.
    """
    return not pod.native_sidecars and sum(not _ended(container, since) for container in pod.containers) > 1


def _ended(container: ContainerView, since: datetime) -> bool:
    return container.ended or (container.ended_at is not None and container.ended_at >= since)


def is_ending(pod: PodView, own_uid: str | None, now: datetime) -> bool:
    """Return whether the pod itself ends, as seen by a container that got SIGTERM.

    A pod of the same name with another UID shows that this one is gone. Where the sidecar is a regular container that
    is not restarted after it has ended well, its end is the pod's for metering.
    """
    if pod.deleted or pod.phase in _TERMINAL or (own_uid is not None and own_uid != pod.uid):
        return True
    if pod.deadline is not None and now >= pod.deadline:
        return True
    if not pod.native_sidecars:
        return pod.restart_policy is not RestartPolicy.ALWAYS
    return bool(pod.containers) and all(container.ended for container in pod.containers)


def may_lag(pod: PodView) -> bool:
    """Return whether the pod may have run to completion without the view showing it yet.

    The kubelet ends a native sidecar as soon as the last regular container has ended, and reports that meanwhile.
    """
    if not pod.native_sidecars or not pod.containers:
        return False
    return all(container.restart_policy is not RestartPolicy.ALWAYS for container in pod.containers)
