"""The network of one node: a bridge, an address range for pods, one for Services, and the way to the API server.

Nodes of several runs on one machine never meet: each takes a number of its own, and its names and addresses follow
from it. Refuses to route anything out of the machine. Invariant: `close` leaves neither bridge nor rule; what a killed
run left under its number goes when the number is taken again.
"""

import fcntl
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Self

_MOST = 64
_ENVIRONMENT = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


class NoNumberFree(Exception):
    """As many nodes run on this machine as there are numbers."""


class Network:
    """A bridge with the node's address, and one rule that leads from the Service `kubernetes` to the API server."""

    def __init__(self, number: int, kept: ExitStack) -> None:
        self.number = number
        self.bridge = f"mpsnode{number}"
        self.node_address = f"10.244.{number}.1"
        self.pods = f"10.244.{number}.0/24"
        self.services = f"10.96.{number}.0/24"
        self.first_service = f"10.96.{number}.1"
        self._kept = kept

    @classmethod
    def take(cls) -> Self:
        """Take a number that no other run holds and make its bridge.

        Raises:
            NoNumberFree: All are taken.
        """
        for number in range(_MOST):
            with ExitStack() as kept:
                lock = kept.enter_context(Path(gettempdir(), f"mpsnode{number}.lock").open("w"))
                try:
                    # The kernel gives the lock back however the run ends.
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                network = cls(number, kept)
                network._clear()
                kept.callback(network._clear)
                network._make()
                network._kept = kept.pop_all()
                return network
        raise NoNumberFree(f"{_MOST} nodes run on this machine; remove {gettempdir()}/mpsnode*.lock if they do not")

    def lead_to(self, port: int) -> None:
        """Lead the first Service address, which is that of the API server, to a port of the node."""
        rule = ["-d", f"{self.first_service}/32", "-p", "tcp", "--dport", "443"]
        target = ["-j", "DNAT", "--to-destination", f"{self.node_address}:{port}"]
        _run("iptables", "-w", "-t", "nat", "-A", "PREROUTING", *rule, *target)

    def interface(self, leases: Path) -> dict[str, Any]:
        """Return the network configuration that the container runtime hands to the CNI programs."""
        return {
            "cniVersion": "0.4.0",
            "name": self.bridge,
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": self.bridge,
                    # Not isGateway: the plug-in would switch on forwarding for the whole machine.
                    "isGateway": False,
                    "ipMasq": False,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(leases),
                        "ranges": [[{"subnet": self.pods, "gateway": self.node_address}]],
                        "routes": [{"dst": "0.0.0.0/0", "gw": self.node_address}],
                    },
                },
                {"type": "loopback"},
            ],
        }

    def close(self) -> None:
        """Remove the bridge and the rule, and give the number back."""
        self._kept.close()

    def _make(self) -> None:
        _run("ip", "link", "add", self.bridge, "type", "bridge")
        _run("ip", "address", "add", f"{self.node_address}/24", "dev", self.bridge)
        _run("ip", "link", "set", self.bridge, "up")

    def _clear(self) -> None:
        for rule in _run("iptables", "-w", "-t", "nat", "-S", "PREROUTING").splitlines():
            if f" {self.first_service}/32 " in rule:
                _run("iptables", "-w", "-t", "nat", "-D", *rule.split()[1:])
        if Path("/sys/class/net", self.bridge).exists():
            _run("ip", "link", "delete", self.bridge)


def _run(*command: str) -> str:
    ran = subprocess.run(command, env=_ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True, timeout=30)
    return ran.stdout
