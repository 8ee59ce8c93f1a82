"""Requests to the cluster's API server, through the HTTP client of the kubernetes package.

Speaks to the API server that the pod's environment names, with the pod's own service account, and never through a proxy
or to another cluster. Each request blocks for a few seconds at most, however slowly the answer comes; it is sent once,
and ends as a `ClusterFailed` if it ends badly. Documents are the API's own JSON: the package's types refuse what a
newer API server adds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from sidecar.adapters.kubernetes.address import PodAddress
from sidecar.adapters.kubernetes.documents import LONGEST_DETAIL
from sidecar.adapters.kubernetes.package import load_package
from sidecar.adapters.kubernetes.trust import accept_without_key_ids, refused_certificate
from sidecar.domain.http_date import read_date
from sidecar.domain.plaintext import one_line
from sidecar.domain.pod.lifecycle import ClusterFailed, Fault

_JSON = "application/json"
_FAULTS: Mapping[int, Fault] = {
    HTTPStatus.UNAUTHORIZED: Fault.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: Fault.FORBIDDEN,
    HTTPStatus.NOT_FOUND: Fault.NOT_FOUND,
    HTTPStatus.CONFLICT: Fault.CONFLICT,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered."""

    document: Any
    answered_at: datetime | None
    """By the API server's clock, None if unknown. Comparing with it needs no trust in the node's own."""


class ClusterClient:
    """The API server, for threads that may block."""

    def __init__(self, address: PodAddress, call_within: timedelta) -> None:
        """Load the package and make its client; sends nothing.

        Raises:
            ImportError: The package is missing.
            ClusterFailed: The service account's files cannot be used.
        """
        self._address = address
        self._timeout = call_within.total_seconds()
        package = load_package()
        configuration = package.configuration()
        configuration.host = address.server
        configuration.ssl_ca_cert = str(address.account / "ca.crt")
        # The API server is inside the cluster, where no proxy of the environment leads.
        configuration.proxy = None
        # The caller retries, at its own pace.
        configuration.retries = False
        self._failure = package.failure
        self._client = package.client(configuration)
        accept_without_key_ids(self._client.pool_manager)

    def send(self, method: str, path: str, document: Any = None, media_type: str = _JSON) -> Answer:
        """Send one request and return its answer.

        Raises:
            ClusterFailed: There is no answer, or it is a refusal.
        """
        try:
            headers = {"Accept": _JSON, "Authorization": f"Bearer {_read_token(self._address.account / 'token')}"}
            if document is not None:
                headers["Content-Type"] = media_type
            url = f"{self._address.server}{path}"
            response = self._client.request(method, url, headers, document, _request_timeout=self._timeout)
            body = response.read()
            if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                failed = _failure(response.status, response.reason, body)
            else:
                return Answer(json.loads(body), read_date(response.headers.get("Date")))
        except (self._failure, HTTPError, OSError) as error:
            refused = refused_certificate(error)
            if refused is not None:
                words = f"the certificate of {self._address.server} is refused: {refused}"
                failed = ClusterFailed(Fault.UNTRUSTED, one_line(words, LONGEST_DETAIL))
            else:
                failed = ClusterFailed(Fault.UNREACHABLE, one_line(f"{type(error).__name__}: {error}", LONGEST_DETAIL))
        except (ValueError, RecursionError):
            failed = ClusterFailed(Fault.REFUSED, "the answer makes no sense")
        # Raised outside the handler: an exception of the package may quote the request, and would be its context.
        raise failed

    def close(self) -> None:
        """Close idle connections."""
        self._client.close()


def _read_token(path: Path) -> str:
    """Return the token as it is now: the kubelet replaces it long before it expires."""
    return path.read_text(encoding="ascii").strip()


def _failure(status: int, reason: str | None, body: bytes) -> ClusterFailed:
    detail = reason or "no reason given"
    try:
        match json.loads(body):
            case {"message": str(message)} if message:
                detail = message
    except (ValueError, RecursionError):
        pass  # not the API server's own words, so the status line has to do
    return ClusterFailed(_FAULTS.get(status, Fault.REFUSED), f"HTTP {status}: {one_line(detail, LONGEST_DETAIL)}")
