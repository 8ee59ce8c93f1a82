"""Ensures that no other process meters in this pod: AWS takes one record per pod, dimension and hour.

A certification in the pod of a sidecar would take the slot of the app's own usage. It is refused if a sidecar answers,
if the ledger is in use, and if the ledger holds usage of this pod. The certification holds the ledger's lock while it
runs. Changes nothing in the ledger.
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


class PodInUse(Exception):
    """Another process meters in this pod, or has metered; the message names it and the cure."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{found}. AWS takes only one record per pod, dimension and hour. {_ALONE}")


@contextmanager
def exclusive_pod(api: ApiSettings, ledger: LedgerSettings, pod: str | None) -> Iterator[None]:
    """Run the block if no sidecar runs, or has run, in this pod.

    `pod` is this pod's identity, None if only the ledger knows it.

    Raises:
        PodInUse: A sidecar runs, or has run.
        LedgerUnusable: The ledger exists and cannot be read.
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
        raise PodInUse(f"The ledger {ledger.path} cannot be locked: {unusable.reason}") from unusable
    try:
        if ledger.path.exists():
            with reading(ledger.path, older=True) as connection:
                _judge(overview(connection), ledger.path, pod)
        yield
    finally:
        lock.release()


def _judge(found: Overview, path: Path, pod: str | None) -> None:
    if pod is not None and found.pod == pod:
        raise PodInUse(f"A sidecar has run in this pod: the ledger {path} belongs to pod {pod}")
    if pod is None and (found.open_hours or found.waiting):
        raise PodInUse(f"The ledger {path} holds usage that has not been submitted yet")


def _listening(api: ApiSettings) -> str | None:
    """Return the address of this pod's sidecar if a process accepts connections there."""
    if api.socket is not None:
        with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
            connection.settimeout(_WITHIN)
            connection.connect(str(api.socket))
            return str(api.socket)
    if api.port:
        with suppress(OSError), socket.create_connection((api.host, api.port), timeout=_WITHIN):
            return f"{api.host}:{api.port}"
    return None
