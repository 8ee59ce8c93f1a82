"""What the cluster allows the pod: read its own object, set its condition, write events.

Reads the pod, and asks the API server for the rest by access reviews, which store nothing: the check sets no condition
and writes no event.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.adapters.kubernetes.address import ACCOUNT, NotInCluster, PodAddress, locate_pod
from sidecar.checks.running import RunningSidecar
from sidecar.domain.check_result import Check, CheckResult
from sidecar.domain.pod.lifecycle import Access, ClusterFailed, Fault, PodView, cure_of
from sidecar.settings import KubernetesSettings, KubernetesUse

if TYPE_CHECKING:
    from sidecar.adapters.kubernetes.pod import KubernetesPod

KUBERNETES = Check(
    "kubernetes", "The API server shows whether the pod ends; without it a mere restart burns the open hour."
)
ROLE = Check(
    "kubernetes role",
    "A gate that cannot be set keeps the pod unready; without the rest the cluster gets fewer reports.",
)


def check_kubernetes(
    kubernetes: KubernetesSettings,
    environ: Mapping[str, str],
    running: RunningSidecar | None,
    account: Path = ACCOUNT,
) -> tuple[CheckResult, CheckResult, PodView | None]:
    """Read the pod's own object as the sidecar does, and repeat what a running sidecar was refused.

    Returns:
        The result of the cluster, the one of the Role, and the pod if it was read.
    """
    if kubernetes.enabled is KubernetesUse.NEVER:
        return *_unasked("kubernetes.enabled is false"), None
    try:
        address = locate_pod(environ, account)
    except NotInCluster as absent:
        if kubernetes.enabled is KubernetesUse.ALWAYS or absent.in_pod:
            return KUBERNETES.warn(str(absent), absent.cure), ROLE.skipped("there is no pod to ask for"), None
        return *_unasked(str(absent)), None
    pod, failed, role = asyncio.run(_ask(address, _wanted(kubernetes)))
    if pod is None:
        fault = failed.fault if failed is not None else Fault.UNREACHABLE
        return KUBERNETES.warn(f"cannot {Access.GET_POD}: {failed}", cure_of(fault, Access.GET_POD)), role, None
    for found, cure in () if running is None else running.faults("kubernetes-"):
        return KUBERNETES.warn(found, cure), role, pod
    return _judge(pod, address, kubernetes.readiness_gate), role, pod


def judge_role(allowed: Mapping[Access, bool]) -> CheckResult:
    """Judge what the Role allows of what the configuration needs."""
    refused = [access for access, may in allowed.items() if not may]
    if not refused:
        return ROLE.ok(f"the service account may {', '.join(allowed)}")
    found = f"the service account may not {', '.join(refused)}"
    rules = " ".join(access.rule for access in refused)
    cure = f"Add to the Role of the pod's service account: {rules}"
    return ROLE.fail(found, cure) if Access.PATCH_STATUS in refused else ROLE.warn(found, cure)


def _unasked(words: str) -> tuple[CheckResult, CheckResult]:
    return KUBERNETES.skipped(words), ROLE.skipped(words)


def _wanted(kubernetes: KubernetesSettings) -> list[Access]:
    """Return what this configuration needs, as the charts' Role has it."""
    gate = [Access.PATCH_STATUS] if kubernetes.readiness_gate is not None else []
    return [Access.GET_POD, *gate, *([Access.CREATE_EVENT] if kubernetes.events else [])]


def _judge(pod: PodView, address: PodAddress, gate: str | None) -> CheckResult:
    shown = f"pod {address.namespace}/{address.name} is readable"
    if address.uid is None:
        return KUBERNETES.warn(f"{shown}, but POD_UID is not set", "Take POD_UID from the downward API: metadata.uid.")
    if address.uid != pod.uid:
        return KUBERNETES.warn(f"{shown}, but is another one than POD_UID names", "Take it from the downward API.")
    if gate is not None and gate not in pod.conditions:
        return KUBERNETES.warn(
            f"{shown}; its condition {gate} was never set",
            "Start the sidecar, which sets it; if it runs, see the check of the Role and the sidecar's log.",
        )
    return KUBERNETES.ok(shown)


async def _ask(
    address: PodAddress, wanted: Iterable[Access]
) -> tuple[PodView | None, ClusterFailed | None, CheckResult]:
    """Return the pod, or why it was not read, and the result of the Role."""
    async with _opened(address) as api:
        pod, failure = None, None
        try:
            pod = await api.get_pod()
        except ClusterFailed as failed:
            if failed.fault in {Fault.UNREACHABLE, Fault.UNTRUSTED, Fault.UNAUTHORIZED}:
                return None, failed, ROLE.skipped("the API server does not answer this pod")
            failure = failed
        try:
            return pod, failure, judge_role({access: await api.may(access) for access in wanted})
        except ClusterFailed as failed:
            return pod, failure, ROLE.skipped(f"the API server does not answer what is allowed: {failed}")


@asynccontextmanager
async def _opened(address: PodAddress) -> AsyncIterator["KubernetesPod"]:
    # Loaded here: the package takes half a second, and only pods need it.
    from sidecar.adapters.kubernetes.pod import KubernetesPod  # noqa: PLC0415

    api = KubernetesPod(address)
    try:
        yield api
    finally:
        api.close()
