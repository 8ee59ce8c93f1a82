"""Where this pod's object is found, by the environment and the files that the kubelet puts into every pod.

Makes no call and loads nothing: outside a cluster the question costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.domain.pod.succession import PodPlace

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts the token, the namespace and the authority of the API server's certificate."""

CLUSTER_THREADS = "kubernetes"
"""How the names of the threads begin that call the cluster's API."""


class NotInCluster(Exception):
    """This process cannot reach its pod's object, and never will: the environment lacks something."""

    cure = "Add it, or set kubernetes.enabled to false."

    def __init__(self, detail: str, *, in_pod: bool) -> None:
        super().__init__(detail)
        self.in_pod = in_pod
        """There is a service account: the rest was forgotten, not left out on purpose."""


@dataclass(frozen=True, slots=True)
class PodAddress:
    """Where this pod's object is found."""

    server: str
    account: Path
    """The folder with the service account's files."""
    namespace: str
    name: str
    uid: str | None
    """None if unknown."""


def locate_pod(environ: Mapping[str, str], account: Path = ACCOUNT) -> PodAddress:
    """Return where this pod's object is found. Reads the environment and the service account's folder, nothing else.

    Raises:
        NotInCluster: Something is missing; names it and how to add it.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise NotInCluster("KUBERNETES_SERVICE_HOST is not set, so this is no pod", in_pod=False)
    if not (account / "token").is_file():
        raise NotInCluster(f"{account}/token is missing: set automountServiceAccountToken on the pod", in_pod=False)
    name = environ.get("POD_NAME", "").strip()
    if not name:
        raise NotInCluster("POD_NAME is not set: take it from the downward API's metadata.name", in_pod=True)
    namespace = environ.get("POD_NAMESPACE", "").strip() or _account_namespace(account)
    if not namespace:
        raise NotInCluster("POD_NAMESPACE is not set: take it from the downward API's metadata.namespace", in_pod=True)
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return PodAddress(server, account, namespace, name, environ.get("POD_UID", "").strip() or None)


def place_of(environ: Mapping[str, str], account: Path = ACCOUNT) -> PodPlace | None:
    """Return namespace and name of this pod, None if unknown. Needs no token."""
    name = environ.get("POD_NAME", "").strip()
    namespace = environ.get("POD_NAMESPACE", "").strip() or _account_namespace(account)
    return PodPlace(namespace, name) if namespace and name else None


def _account_namespace(account: Path) -> str:
    try:
        return (account / "namespace").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
