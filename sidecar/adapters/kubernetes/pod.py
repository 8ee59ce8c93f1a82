"""The calls on this pod's own object, for asyncio.

Every call blocks a thread of its own for a few seconds at most. It never changes another pod: a condition is set only
on the pod with the given UID. The kubernetes package loads with the first call, long after the probes answer.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from sidecar.adapters.kubernetes.address import CLUSTER_THREADS, PodAddress
from sidecar.adapters.kubernetes.documents import (
    LONGEST_DETAIL,
    STRATEGIC_MERGE,
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
    from sidecar.adapters.kubernetes.client import ClusterClient

T = TypeVar("T")

CALL_WITHIN = timedelta(seconds=2)
"""How long one call may take."""
_CALLS = 2
"""Calls at the same time: the question at shutdown does not wait behind a report that hangs."""
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class KubernetesPod:
    """This pod's own object, for asyncio. Implements `sidecar.services.pod_reporter.PodApi`."""

    def __init__(self, address: PodAddress, call_within: timedelta = CALL_WITHIN) -> None:
        self._address = address
        self._call_within = call_within
        self._threads = ThreadPoolExecutor(_CALLS, thread_name_prefix=CLUSTER_THREADS)
        self._loading = threading.Lock()
        self._client: ClusterClient | None = None

    def close(self) -> None:
        """Refuse further calls and close idle connections; a running call ends within its time."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    async def get_pod(self) -> PodView:
        """Return the pod; raises ClusterFailed if it could not be read, or not understood."""
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

        def read(client: "ClusterClient") -> PodView:
            answer = client.send("GET", _path_of(place))
            return read_pod(answer.document, answer.answered_at)

        return await self._call(read)

    async def patch_condition(self, condition: Condition, changed_at: datetime) -> None:
        """Set one condition of the pod, with `changed_at` as the time of its last transition; the others stay.

        Raises:
            ClusterFailed: It could not be set.
        """
        path = f"{_path_of(PodPlace(self._address.namespace, self._address.name))}/status"
        patch = condition_patch(self._address, condition, changed_at)
        await self._call(lambda client: client.send("PATCH", path, patch, STRATEGIC_MERGE))

    async def create_event(self, event: PodEvent) -> None:
        """Write an event on the pod; the same one again changes nothing.

        Raises:
            ClusterFailed: It could not be written.
        """
        path = f"/api/v1/namespaces/{_quoted(self._address.namespace)}/events"
        document = event_document(self._address, event)
        try:
            await self._call(lambda client: client.send("POST", path, document))
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
        return await self._call(lambda client: read_review(client.send("POST", _REVIEWS, document).document))

    async def _call(self, call: Callable[["ClusterClient"], T]) -> T:
        try:
            answer = asyncio.get_running_loop().run_in_executor(self._threads, self._run, call)
        except RuntimeError as error:
            # A container has a limit of threads. Metering, and the question at the end, do not fail with it.
            raise _unreachable(f"no thread to call it: {error}") from error
        return await answer

    def _run(self, call: Callable[["ClusterClient"], T]) -> T:
        """Make a call on a thread."""
        try:
            with self._loading:
                if self._client is None:
                    from sidecar.adapters.kubernetes.client import ClusterClient  # noqa: PLC0415 - in a cluster alone

                    self._client = ClusterClient(self._address, self._call_within)
        except ImportError as error:
            raise _unreachable(f"the kubernetes package: {error}") from error
        try:
            return call(self._client)
        except ValueError:
            raise ClusterFailed(Fault.REFUSED, "the answer makes no sense") from None


def _path_of(place: PodPlace) -> str:
    return f"/api/v1/namespaces/{_quoted(place.namespace)}/pods/{_quoted(place.name)}"


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _unreachable(words: str) -> ClusterFailed:
    return ClusterFailed(Fault.UNREACHABLE, one_line(words, LONGEST_DETAIL))
