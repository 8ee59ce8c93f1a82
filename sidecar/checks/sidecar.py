"""The running sidecar: whether the pod is entitled and metered, and its other faults."""

from sidecar.checks.running import RunningSidecar
from sidecar.domain.check_result import Check, CheckResult

SIDECAR = Check("sidecar", "A pod that is denied, or that AWS takes no usage of, earns nothing.")

_FAILING = ("entitlement-", "metering-", "ledger-", "conservation-", "identity-")
"""How the codes of faults begin that close the gate or cost usage."""
_ELSEWHERE = ("setup-", "kubernetes-", "public-key-rotated")
"""Faults that another check judges by a look of its own."""


def check_sidecar(running: RunningSidecar | None) -> CheckResult:
    """Repeat the faults of the sidecar that runs with this configuration."""
    if running is None:
        return SIDECAR.skipped("no sidecar answers at the configured API")
    faults = [fault for fault in running.all_faults() if not fault[0].startswith(_ELSEWHERE)]
    if not faults:
        return SIDECAR.ok(f"it runs, {running.state or 'in an unknown state'}, without faults")
    found = "; ".join(f"{code}: {detail}" for code, detail, _ in faults)
    cure = " ".join(dict.fromkeys(cure for _, _, cure in faults))
    grave = any(code.startswith(_FAILING) for code, _, _ in faults)
    return SIDECAR.fail(found, cure) if grave else SIDECAR.warn(found, cure)
