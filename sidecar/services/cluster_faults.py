"""What keeps the cluster's API from doing its part: said once in the log, shown in the status until it is over.

Nothing here stops anything. Each access is judged by itself, for a Role may allow one and not another.
"""

from datetime import datetime

import structlog

from sidecar.domain.pod.lifecycle import UNTRUSTED_CURE, Access, ClusterFailed, Fault
from sidecar.domain.status import Finding

log = structlog.get_logger()


class ClusterFaults:
    """The faults that there are now, by what they keep from being done."""

    def __init__(self) -> None:
        self._findings: dict[Access, Finding] = {}

    @property
    def findings(self) -> list[Finding]:
        """What an operator should know at this instant."""
        return list(self._findings.values())

    def note(self, access: Access, failed: ClusterFailed, now: datetime) -> None:
        """Take note of a failed call; a fault that is known already is not told again."""
        code = f"kubernetes-{failed.fault}"
        known = self._findings.get(access)
        if known is not None and known.code == code:
            return
        finding = Finding(code, f"cannot {access}: {failed}", _cure(access, failed.fault), now)
        self._findings[access] = finding
        log.warning("kubernetes.failed", access=access, fault=failed.fault, detail=str(failed), cure=finding.cure)

    def recovered(self, access: Access, now: datetime) -> None:
        """Take note of a call that went well."""
        known = self._findings.pop(access, None)
        if known is not None:
            log.info("kubernetes.recovered", access=access, lasted=now - known.since)


def _cure(access: Access, fault: Fault) -> str:  # noqa: PLR0911 - one for each fault
    match fault:
        case Fault.FORBIDDEN:
            return f"Add this rule to the Role of the pod's service account: {access.rule}"
        case Fault.UNAUTHORIZED:
            return "Let the pod have a valid token of its service account; it is read anew for each call."
        case Fault.NOT_FOUND:
            return "Set POD_NAME and POD_NAMESPACE from the downward API: metadata.name and metadata.namespace."
        case Fault.CONFLICT:
            return "None if the pod was replaced by one of its name; else set POD_UID from the downward API."
        case Fault.REFUSED:
            return "Read the API's words. It is tried again until it goes well."
        case Fault.UNTRUSTED:
            return f"{UNTRUSTED_CURE} The sidecar retries until the certificate is accepted."
        case Fault.UNREACHABLE:
            return "Let the pod reach the API server: look at its network policies. It is tried again until it answers."
