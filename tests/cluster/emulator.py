"""AWS's side inside the cluster: the emulator as a pod, and its control API."""

from typing import Any

from tests.cluster.asking import ask, await_for
from tests.cluster.stage import Stage, is_ready

NOON = "2026-11-23T10:20:00Z"
"""What the emulated clock shows when a test begins: far from the ends of its hour."""
PORT = 8789


class Emulator:
    """An emulator in a pod of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def launch(cls, stage: Stage, name: str, image: str, *arguments: str) -> "Emulator":
        """Start an emulator and return it when it answers."""
        container = {
            "name": "emulator",
            "image": image,
            "imagePullPolicy": "Never",
            "args": ["emulator", "--host", "0.0.0.0", "--port", str(PORT), *arguments],
            "ports": [{"containerPort": PORT}],
            "readinessProbe": {"httpGet": {"path": "/_emulator/clock", "port": PORT}, "periodSeconds": 1},
            "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
        }
        metadata = {"name": name, "labels": {"app": name}}
        stage.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
        (pod,) = stage.await_pods(f"app={name}", "ready", is_ready)
        emulator = cls(f"http://{pod.status.pod_ip}:{PORT}")
        await_for("the emulator", lambda: emulator.get("clock"))
        return emulator

    def get(self, path: str) -> Any:
        """Ask the control API."""
        return ask(f"{self.url}/_emulator/{path}").document

    def post(self, path: str, **members: object) -> Any:
        """Send a command to the control API."""
        reply = ask(f"{self.url}/_emulator/{path}", members)
        assert 200 == reply.status, reply.body
        return reply.document

    def begin(self) -> None:
        """Forget everything but the keys, and stand at `NOON`."""
        self.post("reset")
        self.entitle()
        self.post("clock", now=NOON, speed=1)

    def entitle(self) -> None:
        """Let the account that the pods run in subscribe."""
        self.post("customers", action="entitle")

    def unsubscribe(self) -> None:
        """Let the account that the pods run in cancel."""
        self.post("customers", action="unsubscribe")

    def advance(self, by: str) -> None:
        """Let emulated time pass."""
        self.post("clock", advance=by)

    def order(self, operation: str, fault: str, count: int = 1_000_000) -> None:
        """Let the next calls of an operation go wrong; 0 withdraws the fault."""
        self.post("faults", operation=operation, fault=fault, count=count)

    def public_key(self) -> str:
        """Return the key that a seller finds in the listing."""
        return ask(f"{self.url}/_emulator/public-keys/1.pem").body.decode()

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """Return the calls of an operation that were processed, refused ones included."""
        return [event for event in self.get("events")["Records"] if event["eventName"] == operation]

    def records(self) -> list[dict[str, Any]]:
        """Return the metering records that AWS's side holds."""
        records: list[dict[str, Any]] = self.get("records")["records"]
        return records

    def registered(self) -> list[str]:
        """Return the identities that were admitted."""
        return [registration["Identity"] for registration in self.get("state")["registrations"]]
