"""A namespace of the node in which one test plays: its pods, and everything there is to say about them.

Reads through the API server as anybody could; only what Kubernetes has no words for, such as a signal to one container,
goes through the container runtime.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import yaml
from kubernetes import client, utils

from tests.cluster.asking import await_for
from tests.cluster.node import Node, NodeFailed


class Stage:
    """One namespace."""

    def __init__(self, node: Node, namespace: str) -> None:
        self.node = node
        self.namespace = namespace
        self.core: Any = client.CoreV1Api(node.api)
        self.books = node.folder / "books" / namespace
        self._kept = node.folder / "kept" / namespace

    def open(self) -> None:
        """Make the namespace and the folder of its apps' books."""
        self.books.mkdir(parents=True)
        self.books.chmod(0o777)
        self.core.create_namespace({"metadata": {"name": self.namespace}})
        await_for("the service account", lambda: self.core.read_namespaced_service_account("default", self.namespace))
        await_for("the cluster's certificate", self._has_certificate)

    def close(self) -> None:
        """Delete the namespace and wait until its pods are gone, without a grace period."""
        self.core.delete_namespace(self.namespace)
        for pod in self.pods():
            for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
                if status.state.running is not None:
                    with suppress(NodeFailed):
                        self.signal(pod, status.name, "SIGKILL")
            self.delete(pod, grace=1)
        await_for("the end of all pods", lambda: not self.pods())

    def create(self, manifest: Mapping[str, Any], **options: str) -> None:
        """Create an object in the namespace; the options are the API server's own."""
        placed = {**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}}
        # The package's helper has no types.
        utils.create_from_dict(self.node.api, placed, namespace=self.namespace, **options)  # type: ignore[no-untyped-call]

    def pods(self, selector: str = "") -> list[Any]:
        """Return the pods that a label selector chooses, oldest first."""
        pods = self.core.list_namespaced_pod(self.namespace, label_selector=selector).items
        return sorted(pods, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name))

    def await_pods(self, selector: str, what: str, look: Callable[[Any], object], count: int = 1) -> list[Any]:
        """Return the pods as soon as there are `count` of them, none of them ending, and `look` holds for each."""

        def find() -> list[Any] | None:
            pods = [pod for pod in self.pods(selector) if pod.metadata.deletion_timestamp is None]
            return pods if len(pods) == count and all(look(pod) for pod in pods) else None

        return await_for(f"{count} pods to be {what}", find)

    def await_ready(self, selector: str, count: int = 1) -> list[Any]:
        """Return the pods as soon as there are `count` of them and all are Ready."""
        return self.await_pods(selector, "ready", is_ready, count)

    def read(self, pod: Any) -> Any:
        """Return the pod as it is now."""
        return self.core.read_namespaced_pod(pod.metadata.name, self.namespace)

    def delete(self, pod: Any, grace: int | None = None) -> None:
        """Delete a pod, with its own grace period or another one; what it writes to its end is kept for a failure."""
        self._keep_logs(pod)
        body = client.V1DeleteOptions(grace_period_seconds=grace)
        try:
            self.core.delete_namespaced_pod(pod.metadata.name, self.namespace, body=body)
        except client.ApiException as error:
            if error.status != 404:
                raise

    def await_gone(self, pod: Any) -> None:
        """Return once a pod is no longer there."""
        await_for(f"the end of {pod.metadata.name}", lambda: pod.metadata.uid not in self._uids())

    def signal(self, pod: Any, container: str, name: str) -> None:
        """Send a signal to the main process of a container, as the node's kernel might."""
        self.node.runtime("tasks", "kill", "--signal", name, self._container(pod, container))

    def execute(self, pod: Any, container: str, *command: str) -> tuple[int, str]:
        """Run a command in a container; returns the exit code and all that it wrote."""
        return self.node.execute(self._container(pod, container), *command)

    def logs(self, pod: Any, container: str, *, previous: bool = False) -> str:
        """Return what a container has written."""
        text: str = self.core.read_namespaced_pod_log(
            pod.metadata.name, self.namespace, container=container, previous=previous
        )
        return text

    def events(self, pod: Any) -> list[Any]:
        """Return the Events on a pod, as `kubectl describe` shows them."""
        chosen = f"involvedObject.uid={pod.metadata.uid}"
        events: list[Any] = self.core.list_namespaced_event(self.namespace, field_selector=chosen).items
        return events

    def slices(self) -> list[Any]:
        """Return the endpoint slices of the namespace."""
        slices: list[Any] = client.DiscoveryV1Api(self.node.api).list_namespaced_endpoint_slice(self.namespace).items
        return slices

    def job(self, name: str) -> Any:
        """Return a Job as it is now."""
        return client.BatchV1Api(self.node.api).read_namespaced_job(name, self.namespace)

    def booked(self, pod: Any = None) -> int:
        """Return how many events the app of a pod, or of all pods, has in its books."""
        books = self.books.iterdir() if pod is None else [self.books / pod.metadata.name]
        return sum(len(path.read_bytes().splitlines()) for path in books)

    def describe(self) -> list[tuple[str, str]]:
        """Return a title and a text for everything that one wants to see of a failure."""
        told = []
        for pod in self.pods():
            shown = self.node.api.sanitize_for_serialization(pod)
            shown["metadata"].pop("managedFields", None)
            events = [f"{event.type} {event.reason}: {event.message}" for event in self.events(pod)]
            told.append((f"pod {pod.metadata.name}", yaml.safe_dump(shown)))
            told.append((f"events of {pod.metadata.name}", "\n".join(events)))
            for container in [*(pod.spec.init_containers or []), *pod.spec.containers]:
                for previous in (True, False):
                    title = f"{'earlier ' if previous else ''}log of {pod.metadata.name} {container.name}"
                    told.append((title, self._logs_if_any(pod, container.name, previous=previous)))
        told += [
            (f"log of the deleted {path.relative_to(self._kept)}", path.read_text(encoding="utf-8", errors="replace"))
            for path in sorted(self._kept.rglob("*.log"))
        ]
        return [(title, text) for title, text in told if text]

    def _keep_logs(self, pod: Any) -> None:
        """Link the logs of a pod: the kubelet removes them with the pod, and a test may only then see what is wrong."""
        folder = self.node.folder / "logs" / f"{self.namespace}_{pod.metadata.name}_{pod.metadata.uid}"
        for log in folder.glob("*/*.log"):
            kept = self._kept / pod.metadata.name / log.parent.name / log.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            if not kept.exists():
                kept.hardlink_to(log)

    def _logs_if_any(self, pod: Any, container: str, *, previous: bool) -> str:
        try:
            return self.logs(pod, container, previous=previous)
        except client.ApiException as error:
            return "" if previous else f"no log: {error.reason}"

    def _container(self, pod: Any, name: str) -> str:
        identity: str = status_of(self.read(pod), name).container_id
        return identity.removeprefix("containerd://")

    def _uids(self) -> set[str]:
        return {pod.metadata.uid for pod in self.pods()}

    def _has_certificate(self) -> bool:
        return bool(self.core.read_namespaced_config_map("kube-root-ca.crt", self.namespace))


def is_ready(pod: Any) -> bool:
    """Return whether a pod has the condition Ready."""
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or [])


def status_of(pod: Any, container: str) -> Any:
    """Return the status of a container, ordinary or not."""
    statuses = [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
    return next(status for status in statuses if status.name == container)


def is_running(pod: Any, container: str) -> bool:
    """Return whether a container runs now."""
    statuses = [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
    return any(status.name == container and status.state.running is not None for status in statuses)


def namespace_for(test: str) -> str:
    """Return the namespace of a test: its name as far as Kubernetes takes it."""
    return re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").lower())[:50].strip("-")
