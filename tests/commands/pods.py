"""A pod with all that a pod depends on, in live mode, and what may be wrong with it: each function breaks one thing."""

import base64
import json
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.adapters.ledger.evidence import read_evidence
from sidecar.adapters.ledger.snapshot import reading
from sidecar.commands.demo.environment import free_port
from tests.support.apiserver import ApiServer
from tests.support.aws import REGION, Aws
from tests.support.identity import KEYS
from tests.support.processes import Emulator, Site, environment

GATE = "example.com/entitled"


@dataclass
class Pod:
    """A pod on a node of its own, with all that a pod depends on; nothing is wrong yet."""

    folder: Path
    aws: Aws
    emulator: Emulator
    cluster: ApiServer
    site: Site
    held: ExitStack
    changes: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def take_port(self) -> int:
        """Return a port that another process listens on."""
        listener = self.held.enter_context(socket.create_server(("127.0.0.1", 0)))
        port: int = listener.getsockname()[1]
        return port

    def doctor(self, *options: str) -> list[str]:
        """Return the command line, with the configuration written."""
        base = {"api": {"port": free_port()}, "probes": {"port": free_port()}, "kubernetes": {"readiness_gate": GATE}}
        config = self.site.write(**{**base, **self.changes})
        return [*self.site.program, "doctor", "--config", str(config), *options]

    def environment(self) -> Mapping[str, str]:
        """Return the pod's environment."""
        return environment(**self.variables)


def break_here(pod: Pod) -> None:
    """Let everything be wrong that needs no network."""
    pod.site.key.unlink()
    token = pod.folder / "token"
    token.write_text(token.read_text().replace(".", ".e30", 1))
    pod.changes = {
        "marketplace": {"region": REGION},
        "metering": {
            "dimensions": [{"name": "vcpu_hours", "source": {"resource": {"what": "cpu", "container": "app"}}}]
        },
        "ledger": {"path": "/proc/ledger/ledger.db"},
        "api": {"port": pod.take_port(), "token_file": str(pod.folder / "absent")},
        "probes": {"port": pod.take_port()},
        "kubernetes": {"enabled": True},
    }
    pod.variables |= {
        **KEYS,
        "AWS_REGION": "us-east-1",
        "AWS_CA_BUNDLE": str(pod.folder / "absent"),
        "HTTPS_PROXY": "socks5://127.0.0.1:1080",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "POD_TERMINATION_GRACE": "20",
        "KUBERNETES_SERVICE_HOST": "",
        "POD_UID": "$(POD_UID)",
    }


def pad_values(pod: Pod) -> None:
    """Let two variables carry what does not belong to them."""
    pod.variables["AWS_ROLE_ARN"] += "\n"
    pod.variables["HTTPS_PROXY"] = '"http://127.0.0.1:9"'


def deny(pod: Pod) -> None:
    """Let a sidecar run here that AWS refuses."""
    pod.site.changes = {"marketplace": {"mode": "emulator", "endpoint_url": pod.emulator.url}}
    pod.emulator.post("customers", action="unsubscribe")
    refused = pod.site.start(variables=pod.variables)
    refused.await_entitlement(state="denied")
    pod.changes |= {"api": {"port": refused.api}, "probes": {"port": refused.probes}}


def break_names(pod: Pod) -> None:
    """Let AWS have no address."""
    pod.aws.name(known=False)


def break_trust(pod: Pod) -> None:
    """Make the role trust another account, the clock be wrong, and the Role lack all."""
    pod.aws.skew = timedelta(minutes=10)
    pod.emulator.order("AssumeRoleWithWebIdentity", "access-denied")
    pod.cluster.refused = {"get pods", "patch pods/status", "create events"}


def break_permission(pod: Pod) -> None:
    """Let the role lack its policy, and the ledger lie in memory."""
    pod.emulator.order("MeterUsage", "access-denied")
    folder = Path("/dev/shm") / f"doctor-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    pod.held.callback(folder.rmdir)
    pod.changes["ledger"] = {"path": str(folder / "ledger.db")}


def lose_license(pod: Pod) -> None:
    """Give the account a license of another product than the configured one."""
    pod.emulator.post("licenses", action="grant", sku="prod-other", entitlements=[{"Name": "users", "Unit": "None"}])
    pod.site.changes = {
        "product": {"pricing": "contract", "id": "prod-abcdefghijklm", "public_keys": {}},
        "metering": {"dimensions": []},
        "marketplace": {"mode": "emulator", "endpoint_url": pod.emulator.url},
    }


def break_key(pod: Pod) -> None:
    """Let another key stand where the registered one was, next to an emulator that was left in the configuration."""
    pod.site.changes = {"marketplace": {"mode": "emulator", "endpoint_url": pod.emulator.url}}
    registered = pod.site.start_entitled(variables=pod.variables)

    def kept() -> bool:
        with reading(pod.site.ledger) as connection:
            return read_evidence(connection) is not None

    registered.await_for("the registration on disk", kept)
    registered.signal()
    assert 0 == registered.await_end()
    other = generate_private_key(65537, 2048).public_key()
    pod.site.key.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def sign_in_as_node(pod: Pod) -> None:
    """Make the node's metadata service the only source of credentials."""
    leave_account(pod)
    server = ThreadingHTTPServer(("127.0.0.1", 0), NodeMetadata)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    pod.held.callback(thread.join)
    pod.held.callback(server.server_close)
    pod.held.callback(server.shutdown)
    pod.variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"


class NodeMetadata(BaseHTTPRequestHandler):
    """The metadata service of a node that has a role."""

    def do_GET(self) -> None:
        """Answer as it does."""
        keys = {"AccessKeyId": "ASIANODE", "SecretAccessKey": "of-the-node", "Token": "of-the-node"}
        document = {"Code": "Success", "Type": "AWS-HMAC", "Expiration": "2999-01-01T00:00:00Z", **keys}
        named = "node-role" if self.path.endswith("/security-credentials/") else json.dumps(document)
        content = b"metadata-token" if self.command == "PUT" else named.encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_PUT = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        """Do nothing."""


def leave_account(pod: Pod) -> None:
    """Let the service account have no role."""
    for name in ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        del pod.variables[name]


def associate_identity(pod: Pod) -> None:
    """Let EKS Pod Identity give the credentials."""
    leave_account(pod)
    pod.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://169.254.170.23/v1/credentials"


def claim(**claims: object) -> Callable[[Pod], None]:
    """Return what lets the web-identity token claim something else."""

    def provoke(pod: Pod) -> None:
        path = Path(pod.variables["AWS_WEB_IDENTITY_TOKEN_FILE"])
        header, middle, signature = path.read_text().split(".")
        known = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        changed = base64.urlsafe_b64encode(json.dumps({**known, **claims}).encode()).decode().rstrip("=")
        path.write_text(f"{header}.{changed}.{signature}")

    return provoke


def move_away(pod: Pod) -> None:
    """Let the pod run where containers are not metered."""
    pod.variables["AWS_REGION"] = "af-south-1"


def trust_others(pod: Pod) -> None:
    """Let AWS's certificate be of an unknown authority."""
    pod.aws.trust(known=False)


def outlive_grace(pod: Pod) -> None:
    """Let the cluster give the pod less time than the drain may take."""
    pod.cluster.pod["spec"]["terminationGracePeriodSeconds"] = 20


def take_other_key(pod: Pod) -> None:
    """Let the product's key be none of RSA."""
    other = Ed25519PrivateKey.generate().public_key()
    pod.site.key.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
