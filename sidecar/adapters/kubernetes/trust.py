"""TLS to the API server: which certificates the client accepts, and how a refused one is recognized.

Python 3.13 and urllib3 set VERIFY_X509_STRICT, which demands key identifiers in every certificate. The control plane of
an older EKS cluster presents certificates without them. This context clears that flag and nothing else: the chain, the
validity and the host name are still verified, and only the cluster's own authority is trusted. Calls to AWS keep it.
"""

import ssl
from time import monotonic
from typing import Any

from urllib3 import HTTPResponse
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from sidecar.adapters.kubernetes.time_limit import LimitedSocket


class _ClusterConnection(HTTPSConnection):
    """A connection with a context of its own: each one reads the authority's file as it is now.

    The time limit of a request, which urllib3 sets as `timeout` before it sends, holds for the whole answer.
    """

    def connect(self) -> None:
        context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.sslsocket_class = LimitedSocket
        self.ssl_context = context
        super().connect()

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3 replaces the type of http.client
        if isinstance(self.sock, LimitedSocket) and self.timeout is not None:
            self.sock.read_until = monotonic() + self.timeout
        return super().getresponse()


class _ClusterPool(HTTPSConnectionPool):
    ConnectionCls = _ClusterConnection


def accept_without_key_ids(pool_manager: Any) -> None:
    """Make a client's pool manager accept certificates of the cluster's authority that lack key identifiers."""
    pool_manager.pool_classes_by_scheme = {**pool_manager.pool_classes_by_scheme, "https": _ClusterPool}


def refused_certificate(error: BaseException) -> str | None:
    """Return why a certificate was refused, in OpenSSL's words; None where the error has another cause."""
    seen: BaseException | None = error
    while seen is not None:
        for part in (seen, *seen.args):
            if isinstance(part, ssl.SSLCertVerificationError):
                return part.verify_message or str(part)
        # The kubernetes package replaces the error by its own, with the words alone.
        seen = seen.__cause__ or seen.__context__
    return None
