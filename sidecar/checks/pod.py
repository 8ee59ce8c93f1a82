"""Which pod or task the process is, as `run` would find it."""

from collections.abc import Mapping

from sidecar.adapters.pod import PodRefused, PodUnknown, pod_identity
from sidecar.domain.check_result import Check, CheckResult

POD = Check("pod", "AWS counts usage by pod or task; a wrong identity loses records or bills them twice.")


def check_pod(environ: Mapping[str, str]) -> CheckResult:
    """Judge the identity that the environment gives. On ECS it asks the metadata endpoint."""
    try:
        identity = pod_identity(environ)
    except PodRefused as refused:
        return POD.fail(refused.detail, refused.cure)
    except PodUnknown as unknown:
        return POD.fail(str(unknown), "Allow the container to reach the ECS metadata endpoint, and restart it.")
    if identity is None:
        return POD.ok("no pod and no task: the ledger keeps an identity of its own")
    return POD.ok(f"{identity.uid}, from {identity.source}")
