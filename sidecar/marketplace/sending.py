"""Knows of each call whether its first byte was handed to an established connection.

What an SDK's exception is named proves nothing: a lost answer behind an HTTPS proxy is a "proxy error", a silent TLS
handshake a "read time-out". So the connections themselves note the moment: for https it lies after the handshake and
the check of the certificate, and the CONNECT of a tunnel is not part of the call. A byte that is handed to a kept-alive
connection counts, even if the peer has closed it. Where a client cannot be watched, every call counts as sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from sidecar.marketplace.passage import Passage, current, following


@contextmanager
def passage(*, watched: bool) -> Iterator[Passage]:
    """Follow the call that the block makes on this thread: the caller's, if the caller may give it up.

    Args:
        watched: The client's connections note what they send (see `watch`); otherwise the call counts as sent.

    Raises:
        NotSent: The caller has given it up.
    """
    call = current() or Passage()
    if not watched:
        call.leave()
    with following(call):
        yield call


def watch(client: Any) -> bool:
    """Make the connections of an SDK's client note what they send; return whether they will.

    The SDK has no public way to name its connections, so this relies on private members, which
    tests/marketplace/test_marketplace_sending.py pins.
    """
    session: Any = getattr(getattr(client, "_endpoint", None), "http_session", None)
    pools: dict[str, Any] = getattr(session, "_pool_classes_by_scheme", {})
    manager: Any = getattr(session, "_manager", None)
    # The session gives this one dictionary to its managers: to the direct one already, to those of proxies later.
    if getattr(manager, "pool_classes_by_scheme", None) is not pools:
        return False
    pools.update(_POOLS)
    return True


class _Noting:
    """Notes the first byte of a request; a mixin over the SDK's connections."""

    _is_connecting = False

    def connect(self) -> None:
        """Connect, with tunnel and TLS handshake; what is sent meanwhile is not the request."""
        self._is_connecting = True
        try:
            super().connect()  # type: ignore[misc]
        finally:
            self._is_connecting = False

    def send(self, data: Any) -> None:
        """Send a part of the request, or of the tunnel's."""
        if not self._is_connecting:
            # The standard library connects in here for plain http; the byte leaves only after that.
            connection: Any = self
            if connection.sock is None and connection.auto_open:
                self.connect()
            call = current()
            if call is not None:
                call.leave()
        super().send(data)  # type: ignore[misc]


class _Connection(_Noting, AWSHTTPConnection):  # type: ignore[misc]
    """A plain connection."""


class _TlsConnection(_Noting, AWSHTTPSConnection):  # type: ignore[misc]
    """A connection with TLS."""


class _Pool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection


class _TlsPool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}
