"""The calls on this pod's own object: the only place that knows the kubernetes package, which loads when first needed.

Speaks to the API server that the pod's environment names, with the pod's own service account, and never through a proxy
or to another cluster. Every call blocks a thread of its own for a few seconds at most, is made once, and ends as a
`ClusterFailed` if it ends badly. It never changes another pod: a condition is set only on the pod with the given UID.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sidecar.adapters.kubernetes.address import CLUSTER_THREADS, PodAddress
from sidecar.adapters.kubernetes.documents import (
    condition_patch,
    event_document,
    read_pod,
    read_review,
    review_document,
)
from sidecar.domain.plaintext import one_line
from sidecar.domain.pod.lifecycle import Access, ClusterFailed, Fault, PodView
from sidecar.domain.pod.reports import Condition, PodEvent
from sidecar.domain.pod.succession import PodPlace

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

T = TypeVar("T")

CALL_WITHIN = timedelta(seconds=2)
"""How long one call may take."""
_CALLS = 2
"""Calls at the same time: the question at shutdown does not wait behind a report that hangs."""
_LONGEST_DETAIL = 300
_FAULTS: Mapping[int, Fault] = {
    HTTPStatus.UNAUTHORIZED: Fault.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: Fault.FORBIDDEN,
    HTTPStatus.NOT_FOUND: Fault.NOT_FOUND,
    HTTPStatus.CONFLICT: Fault.CONFLICT,
}


class KubernetesPod:
    """This pod's own object, for asyncio. Implements `sidecar.services.pod_reporter.PodApi`."""

    def __init__(
        self,
        address: PodAddress,
        call_within: timedelta = CALL_WITHIN,
        on_loaded: Callable[[], object] = lambda: None,
    ) -> None:
        self._address = address
        self._on_loaded = on_loaded
        self._timeout = call_within.total_seconds()
        self._threads = ThreadPoolExecutor(_CALLS, thread_name_prefix=CLUSTER_THREADS)
        self._loading = threading.Lock()
        self._api: CoreV1Api | None = None

    def close(self) -> None:
        """Refuse further calls and close idle connections; a running call ends within its time."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._api is not None:
            self._api.api_client.close()

    async def get_pod(self) -> PodView:
        """Return the pod.

        Raises:
            ClusterFailed: It could not be read, or not understood.
        """
        return await self.find_pod(PodPlace(self._address.namespace, self._address.name))

    async def load(self) -> None:
        """Load the package before the first call: it may take seconds on a busy node, and calls have limits.

        Raises:
            ClusterFailed: It is not there, or the service account's files cannot be used.
        """
        await self._call(lambda _: None)

    async def find_pod(self, place: PodPlace) -> PodView:
        """Return the pod that has that name now, which may be another one than this. Reads only.

        Raises:
            ClusterFailed: It could not be read, or not understood.
        """
        name, namespace = place.name, place.namespace

        def read(api: "CoreV1Api") -> PodView:
            answer = self._send(api.read_namespaced_pod, name, namespace)
            return read_pod(json.loads(answer.data), _date(answer))

        return await self._call(read)

    async def patch_condition(self, condition: Condition, changed_at: datetime) -> None:
        """Set one condition of the pod, with `changed_at` as the time of its last transition; the others stay.

        Raises:
            ClusterFailed: It could not be set.
        """
        name, namespace = self._address.name, self._address.namespace
        # An object, not a list of operations: the package sends it as a strategic merge, which goes by the type.
        patch = condition_patch(self._address, condition, changed_at)
        await self._call(lambda api: self._ask(api.patch_namespaced_pod_status, name, namespace, patch))

    async def create_event(self, event: PodEvent) -> None:
        """Write an event on the pod; the same one again changes nothing.

        Raises:
            ClusterFailed: It could not be written.
        """
        namespace, document = self._address.namespace, event_document(self._address, event)
        try:
            await self._call(lambda api: self._ask(api.create_namespaced_event, namespace, document))
        except ClusterFailed as failed:
            # It is there: an earlier attempt got through, though its answer did not.
            if failed.fault is not Fault.CONFLICT:
                raise

    async def may(self, access: Access) -> bool:
        """Ask whether the pod's service account is allowed something; changes and stores nothing.

        Raises:
            ClusterFailed: The question was not answered.
        """
        document = review_document(self._address, access)

        def ask(api: "CoreV1Api") -> bool:
            from kubernetes.client import AuthorizationV1Api  # noqa: PLC0415 - see _run

            reviews = AuthorizationV1Api(api.api_client)
            return read_review(self._ask(reviews.create_self_subject_access_review, document))

        return await self._call(ask)

    async def _call(self, call: Callable[["CoreV1Api"], T]) -> T:
        try:
            answer = asyncio.get_running_loop().run_in_executor(self._threads, self._run, call)
        except RuntimeError as error:
            # A container has a limit of threads. Metering, and the question at the end, do not fail with it.
            raise ClusterFailed(
                Fault.UNREACHABLE, one_line(f"no thread to call it: {error}", _LONGEST_DETAIL)
            ) from error
        return await answer

    def _run(self, call: Callable[["CoreV1Api"], T]) -> T:
        """Make a call on a thread; the package comes in with the first one, long after the probes answer."""
        try:
            from kubernetes.client import ApiException  # noqa: PLC0415 - half a second that must not delay the probes
            from urllib3.exceptions import HTTPError  # noqa: PLC0415 - what the package does not wrap

            from sidecar.adapters.kubernetes.trust import refused_certificate  # noqa: PLC0415 - loads urllib3
        except ImportError as error:
            raise ClusterFailed(
                Fault.UNREACHABLE, one_line(f"the kubernetes package: {error}", _LONGEST_DETAIL)
            ) from error
        try:
            with self._loading:
                if self._api is None:
                    self._api = _connect(self._address)
                    self._on_loaded()
            return call(self._api)
        except (ApiException, HTTPError, OSError) as error:
            refused = refused_certificate(error)
            if refused is not None:
                words = f"the certificate of {self._address.server} is refused: {refused}"
                failed = ClusterFailed(Fault.UNTRUSTED, one_line(words, _LONGEST_DETAIL))
            elif isinstance(error, ApiException):
                failed = _failure(error.status, error.reason, error.body)
            else:
                failed = ClusterFailed(Fault.UNREACHABLE, one_line(f"{type(error).__name__}: {error}", _LONGEST_DETAIL))
        except (ValueError, RecursionError):
            failed = ClusterFailed(Fault.REFUSED, "the answer makes no sense")
        # Raised outside the handler: an exception of the package may quote the request, and would be its context.
        raise failed

    def _ask(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of the package and return the document that it answers.

        The package's own types are not used: they refuse what a newer API server adds.
        """
        return json.loads(self._send(method, *arguments).data)

    def _send(self, method: Callable[..., Any], *arguments: Any) -> Any:
        return method(*arguments, _preload_content=False, _request_timeout=self._timeout)


def _connect(address: PodAddress) -> "CoreV1Api":
    """Load the package and make a client; makes no call."""
    from kubernetes.client import ApiClient, Configuration, CoreV1Api  # noqa: PLC0415 - see _run

    from sidecar.adapters.kubernetes.trust import accept_without_key_ids  # noqa: PLC0415 - see _run

    configuration: Any = Configuration()
    configuration.host = address.server
    configuration.ssl_ca_cert = str(address.account / "ca.crt")
    # The API server is inside the cluster, where no proxy of the environment leads.
    configuration.proxy = None
    # The caller retries, at its own pace.
    configuration.retries = False
    configuration.refresh_api_key_hook = partial(_take_token, address.account / "token")
    # Present from the start, for only then does the package ask the hook.
    configuration.api_key["authorization"] = ""
    client = ApiClient(configuration)
    accept_without_key_ids(client.rest_client.pool_manager)
    return CoreV1Api(client)


def _take_token(path: Path, configuration: Any) -> None:
    """Show the token as it is now: the kubelet replaces it long before it expires."""
    configuration.api_key["authorization"] = f"Bearer {path.read_text(encoding='ascii').strip()}"


def _date(answer: Any) -> datetime | None:
    """Return the API server's clock as its answer shows it: comparing with it needs no trust in the node's own."""
    try:
        date = parsedate_to_datetime(answer.headers.get("Date") or "")
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _failure(status: int | None, reason: str | None, body: str | None) -> ClusterFailed:
    detail = reason or "no reason given"
    try:
        match json.loads(body or ""):
            case {"message": str(message)} if message:
                detail = message
    except (ValueError, RecursionError):
        pass  # not the API server's own words, so the status line has to do
    detail = one_line(detail, _LONGEST_DETAIL)
    if not status:
        return ClusterFailed(Fault.UNREACHABLE, detail)
    return ClusterFailed(_FAULTS.get(status, Fault.REFUSED), f"HTTP {status}: {detail}")
