"""One real Kubernetes node on this machine: control plane, container runtime, kubelet and pod network.

Nothing is imitated and nothing outside the node's folder, bridge and one firewall rule is changed. Invariant: `stop`
removes all of it, and so does a start that fails; several nodes on one machine never meet.
"""

import os
import secrets
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Self

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from sidecar.commands.demo.environment import free_port
from tests.cluster import configuration, remains
from tests.cluster.images import write_busybox
from tests.cluster.network import Network
from tests.support import tools

PATIENCE = tools.PATIENCE
"""Real seconds within which every step of the start must succeed; the machine may be busy with other things."""

_END = 30.0
"""Seconds that a program may take to end on SIGTERM: the API server waits for its callers."""


class NodeFailed(Exception):
    """The node did not start; the message holds the last lines of its programs."""


class Node:
    """A started node.

    Attributes:
        folder: Holds everything that the node writes.
        kubeconfig: The file by which an administrator calls the API server.
        api: The client of an administrator.
    """

    def __init__(self, programs: Path, network: Network) -> None:
        self.folder = Path(gettempdir(), f"mpsnode{network.number}")
        self.network = network
        self.name = network.bridge
        self.kubeconfig = self.folder / "kubeconfig"
        self.api: Any = client.ApiClient(client.Configuration())
        self._programs = programs
        self._port = free_port(network.node_address)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def start(cls, programs: Path) -> Self:
        """Start a node and return it when it takes pods.

        Raises:
            NodeFailed: A program ended or did not come up in time; nothing is left of the node.
        """
        with ExitStack() as failed:
            network = Network.take()
            failed.callback(network.close)
            node = cls(programs, network)
            remains.remove(node.folder)
            failed.callback(node._end)
            node._start()
            failed.pop_all()
            return node

    def stop(self) -> None:
        """End the pods, then the programs, and remove everything."""
        try:
            self._delete_pods()
        finally:
            self._end()
            self.network.close()

    def load(self, archive: Path) -> None:
        """Bring an image from an OCI archive into the node."""
        self.runtime("images", "import", str(archive))

    def runtime(self, *arguments: str) -> str:
        """Ask the container runtime something, as root of the node may.

        Raises:
            NodeFailed: It refuses.
        """
        ran = self._ask_runtime(*arguments)
        if ran.returncode != 0:
            raise NodeFailed(f"ctr {' '.join(arguments)}: {ran.stderr.strip()}")
        return ran.stdout

    def execute(self, container: str, *command: str) -> tuple[int, str]:
        """Run a command in a container, by its id; returns the exit code and all that it wrote."""
        ran = self._ask_runtime("tasks", "exec", "--exec-id", secrets.token_hex(8), container, *command)
        return ran.returncode, ran.stdout + ran.stderr

    def _ask_runtime(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["ctr", "--address", f"{self.folder}/containerd.sock", "--namespace", "k8s.io", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

    def _start(self) -> None:
        folder, network = self.folder, self.network
        folder.mkdir(mode=0o755)
        token = secrets.token_urlsafe(24)
        configuration.write_service_account_keys(folder)
        configuration.write_access(folder, f"https://{network.node_address}:{self._port}", token)
        configuration.write_containerd(folder, network)
        kubelet_port, health_port = free_port(network.node_address), free_port("127.0.0.1")
        configuration.write_kubelet(folder, network, kubelet_port, health_port)
        self._launch("containerd", "containerd", "--config", f"{folder}/containerd.toml")
        self._start_control_plane()
        write_busybox(folder / "busybox.tar")
        self._await("the container runtime", lambda: "TYPE" in self.runtime("plugins", "list"))
        self.load(folder / "busybox.tar")
        network.lead_to(self._port)
        self._launch(
            "kubelet",
            str(self._programs / "kubelet"),
            f"--config={folder}/kubelet.yaml",
            f"--kubeconfig={self.kubeconfig}",
            f"--root-dir={folder}/kubelet",
            f"--cert-dir={folder}/certificates",
            f"--hostname-override={self.name}",
            f"--node-ip={network.node_address}",
        )
        self._await("the node to be ready", self._is_ready)

    def _start_control_plane(self) -> None:
        folder, network = self.folder, self.network
        clients, peers = (f"http://127.0.0.1:{free_port('127.0.0.1')}" for _ in range(2))
        self._launch(
            "etcd",
            str(self._programs / "etcd"),
            f"--data-dir={folder}/etcd",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        self._launch(
            "kube-apiserver",
            str(self._programs / "kube-apiserver"),
            f"--etcd-servers={clients}",
            f"--bind-address={network.node_address}",
            f"--secure-port={self._port}",
            f"--cert-dir={folder}/certificates",
            f"--service-cluster-ip-range={network.services}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder}/sa.pub",
            f"--service-account-signing-key-file={folder}/sa.key",
            f"--token-auth-file={folder}/tokens.csv",
            "--authorization-mode=Node,RBAC",
            "--kubelet-preferred-address-types=InternalIP",
            "--allow-privileged=true",
        )
        self._await("the API server", self._is_serving)
        self._launch(
            "kube-controller-manager",
            str(self._programs / "kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={folder}/sa.key",
            f"--root-ca-file={folder}/certificates/apiserver.crt",
            "--controllers=*,-nodeipam",
            "--leader-elect=false",
            "--secure-port=0",
        )
        self._launch(
            "kube-scheduler",
            str(self._programs / "kube-scheduler"),
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
            "--secure-port=0",
        )

    def _launch(self, name: str, *command: str) -> None:
        # Each names the node's folder in its command line: that is how a left-over one is told later.
        environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
        with Path(self.folder, f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    def _await(self, what: str, look: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        fault: Exception | None = None
        while time.monotonic() < deadline:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise NodeFailed(f"{name} ended with {process.returncode} before {what}\n{self.logs()}")
            try:
                if look():
                    return
            except (OSError, NodeFailed, HTTPError, client.ApiException, config.ConfigException) as error:
                fault = error
            time.sleep(0.1)
        raise NodeFailed(f"{what} did not come within {PATIENCE:.0f} s: {fault}\n{self.logs()}")

    def _is_serving(self) -> bool:
        """Return whether the API server is ready; its certificate exists only from some moment on."""
        if not (self.folder / "certificates" / "apiserver.crt").exists():
            return False
        self.api = config.new_client_from_config(str(self.kubeconfig))  # type: ignore[no-untyped-call] # it has no types
        client.CoreV1Api(self.api).read_namespace("kube-system", _request_timeout=5)
        return True

    def _is_ready(self) -> bool:
        core: Any = client.CoreV1Api(self.api)
        node = core.read_node(self.name, _request_timeout=5)
        core.read_namespaced_service_account("default", "default", _request_timeout=5)
        return any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)

    def _delete_pods(self) -> None:
        """Delete all pods and wait until the kubelet has taken them down, so their mounts and networks go."""
        core: Any = client.CoreV1Api(self.api)
        deadline = time.monotonic() + _END
        while time.monotonic() < deadline:
            pods = core.list_pod_for_all_namespaces(_request_timeout=10).items
            if not pods:
                return
            for pod in pods:
                if pod.metadata.deletion_grace_period_seconds != 1:
                    core.delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace, grace_period_seconds=1)
            time.sleep(0.5)

    def logs(self) -> str:
        """Return the last lines of each program."""
        found = []
        for path in sorted(self.folder.glob("*.log")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            found.append("\n".join([f"== {path.name}", *lines]))
        return "\n".join(found)

    def _end(self) -> None:
        self.api.close()
        for name in ("kubelet", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd", "containerd"):
            process = self._running.get(name)
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        remains.remove(self.folder)
