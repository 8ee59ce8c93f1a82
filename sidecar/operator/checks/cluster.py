"""What the cluster lets the pod do: read its own object, which tells a pod that ends from a container that restarts.

Changes nothing, so that the right to set the condition and to write events is known only from a running sidecar.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from sidecar.adapters.kubernetes.address import ACCOUNT, NotInCluster, PodAddress, locate_pod
from sidecar.domain.diagnosis import Diagnosis, Subject
from sidecar.domain.podview import Access, ClusterFailed, Fault, PodView
from sidecar.operator.checks.running import RunningSidecar
from sidecar.settings import KubernetesSettings, KubernetesUse

KUBERNETES = Subject(
    "kubernetes", "Read from the API server: whether the pod ends, so that a mere restart does not burn the open hour."
)


def check_kubernetes(
    kubernetes: KubernetesSettings,
    environ: Mapping[str, str],
    running: RunningSidecar | None,
    account: Path = ACCOUNT,
) -> tuple[Diagnosis, PodView | None]:
    """Read the pod's own object as the sidecar does, and repeat what a running sidecar was refused; the pod as well."""
    if kubernetes.enabled is KubernetesUse.NEVER:
        return KUBERNETES.skipped("kubernetes.enabled is false"), None
    try:
        address = locate_pod(environ, account)
    except NotInCluster as absent:
        if kubernetes.enabled is KubernetesUse.ALWAYS or absent.in_pod:
            return KUBERNETES.warn(str(absent), "Add it, or set kubernetes.enabled to false."), None
        return KUBERNETES.skipped(str(absent)), None
    try:
        pod = asyncio.run(_read(address))
    except ClusterFailed as failed:
        return KUBERNETES.warn(f"cannot {Access.GET_POD}: {failed}", _cure(failed.fault)), None
    for found, cure in () if running is None else running.faults("kubernetes-"):
        return KUBERNETES.warn(found, cure), pod
    return _judge(pod, address, kubernetes.readiness_gate), pod


def _judge(pod: PodView, address: PodAddress, gate: str | None) -> Diagnosis:
    shown = f"pod {address.namespace}/{address.name} is readable"
    if address.uid is None:
        return KUBERNETES.warn(f"{shown}, but POD_UID is not set", "Take POD_UID from the downward API: metadata.uid.")
    if address.uid != pod.uid:
        return KUBERNETES.warn(f"{shown}, but is another one than POD_UID names", "Take it from the downward API.")
    if gate is not None and gate not in pod.conditions:
        return KUBERNETES.warn(
            f"{shown}; its condition {gate} was never set",
            f"If the sidecar runs, add this rule to its Role: {Access.PATCH_STATUS.rule}",
        )
    return KUBERNETES.ok(shown)


def _cure(fault: Fault) -> str:
    match fault:
        case Fault.FORBIDDEN:
            return f"Add this rule to the Role of the pod's service account: {Access.GET_POD.rule}"
        case Fault.UNAUTHORIZED:
            return "Let the pod have a valid token of its service account."
        case Fault.NOT_FOUND:
            return "Set POD_NAME and POD_NAMESPACE from the downward API."
        case Fault.CONFLICT | Fault.REFUSED:
            return "Read the API server's words."
        case Fault.UNREACHABLE:
            return "Let the pod reach the API server: look at its network policies."


async def _read(address: PodAddress) -> PodView:
    # Loaded here: the package takes half a second, and only pods need it.
    from sidecar.adapters.kubernetes.pod import KubernetesPod  # noqa: PLC0415

    api = KubernetesPod(address)
    try:
        return await api.get_pod()
    finally:
        api.close()
