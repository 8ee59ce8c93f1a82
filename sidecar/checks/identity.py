"""Which identity the SDK would sign with, and whether AWS Marketplace takes it from a container."""

from collections.abc import Callable, Mapping
from pathlib import Path

from sidecar.adapters.kubernetes.account import name_account
from sidecar.domain.check_result import Check, CheckResult
from sidecar.marketplace import Identity, IdentityKind, MarketplaceError, find_identity
from sidecar.settings import Mode

IDENTITY = Check(
    "identity", "AWS Marketplace takes a service account's role (IRSA) on EKS and the task role on ECS, nothing else."
)
_NODE_ROLE = "iam-role"
"""The SDK's name for the instance metadata service."""


def check_identity(
    mode: Mode,
    environ: Mapping[str, str],
    method: Callable[[], str | None] | None = None,
    *,
    meters: bool = True,
) -> CheckResult:
    """Judge the identity that wins in the SDK's order.

    Args:
        mode: An emulator takes any identity.
        environ: The process's environment.
        method: Asks the SDK where it found credentials; called only when the environment names no source, because the
            node's role answers over the network. None makes no call.
        meters: AWS Marketplace Metering is called. License Manager accepts any identity.
    """
    identity = find_identity(environ, read=read_file)
    if mode is Mode.EMULATOR:
        return IDENTITY.ok(f"{identity.kind}: {identity.detail}; an emulator takes any")
    if identity.kind is IdentityKind.NONE and method is not None and _node_role(method):
        identity = find_identity(environ, read=read_file, node_role=True)
    if not meters and identity.kind is not IdentityKind.NONE:
        return IDENTITY.ok(f"{identity.kind}: {identity.detail}; License Manager accepts any")
    return judge_identity(identity, name_account())


def judge_identity(identity: Identity, service_account: str | None = None) -> CheckResult:
    """Judge whether AWS Marketplace accepts the identity; a refused one names the account that the pod runs as."""
    found = f"{identity.kind}: {identity.detail}"
    if identity.accepted:
        return IDENTITY.ok(found)
    hidden = f"; it hides {identity.shadows}, which AWS Marketplace accepts" if identity.shadows else ""
    runs_as = f"; the pod runs as the service account {service_account}" if service_account is not None else ""
    return IDENTITY.fail(f"{found}{hidden}{runs_as}", identity.cure)


def read_file(path: str) -> str | None:
    """Return a file's text, None when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _node_role(method: Callable[[], str | None]) -> bool:
    try:
        return method() == _NODE_ROLE
    except MarketplaceError:
        return False
