"""Makes sure that nobody else meters in this pod: AWS takes one record per pod, dimension and hour, for ever.

A certification beside a sidecar, or in the pod of one, would take the slot of the app's own usage. So it refuses where
a sidecar answers, where the ledger is in use, and where this pod's usage lies on it; and it holds the ledger's lock as
long as it works. Changes nothing on the ledger.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sidecar.adapters.ledger.file import LedgerLock, LedgerUnusable, lock_of
from sidecar.adapters.ledger.queries import Overview, overview
from sidecar.adapters.ledger.snapshot import reading
from sidecar.settings import ApiSettings, LedgerSettings

_WITHIN = 2.0
_ALONE = "Run the certification as a pod or task of its own (docs/seller.md, section 7)."


class PodInUse(Exception):  # noqa: N818 - what is the case, as the seller reads it
    """Somebody else meters in this pod, or did; says who and what to do."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{found}. AWS takes one record per pod, dimension and hour, for ever. {_ALONE}")


@contextmanager
def exclusive_pod(api: ApiSettings, ledger: LedgerSettings, pod: str | None) -> Iterator[None]:
    """Run the block while no sidecar is, or was, at work in this pod.

    Args:
        api: Where its sidecar would listen.
        ledger: Where it would keep its usage.
        pod: This pod's identity; None when only a ledger could tell.

    Raises:
        PodInUse: One is, or was.
        LedgerUnusable: There is a ledger that cannot be read, so that nobody can tell.
    """
    where = _listening(api)
    if where is not None:
        raise PodInUse(f"A sidecar answers at {where}")
    if not (ledger.path.exists() or lock_of(ledger.path).exists()):
        yield
        return
    try:
        lock = LedgerLock(ledger.path)
    except LedgerUnusable as unusable:
        raise PodInUse(f"The ledger {ledger.path} cannot be had: {unusable.reason}") from unusable
    try:
        if ledger.path.exists():
            with reading(ledger.path, older=True) as connection:
                _judge(overview(connection), ledger.path, pod)
        yield
    finally:
        lock.release()


def _judge(found: Overview, path: Path, pod: str | None) -> None:
    if pod is not None and found.pod == pod:
        raise PodInUse(f"A sidecar has run in this pod: the ledger {path} is that of pod {pod}")
    if pod is None and (found.open_hours or found.waiting):
        raise PodInUse(f"The ledger {path} holds usage that is not submitted yet")


def _listening(api: ApiSettings) -> str | None:
    """Return where somebody takes connections that the sidecar of this pod would take."""
    if api.socket is not None:
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.settimeout(_WITHIN)
            connection.connect(str(api.socket))
            return str(api.socket)
    if api.port:
        with suppress(OSError), socket.create_connection((api.host, api.port), timeout=_WITHIN):
            return f"{api.host}:{api.port}"
    return None
