"""The files that a node's programs read: keys, access, the container runtime, the kubelet and the pod network.

Refuses to decide where anything lies: the node says. Everything is written below the node's folder.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.cluster.images import BUSYBOX
from tests.cluster.network import Network
from tests.cluster.packages import CNI_PROGRAMS


def write_service_account_keys(folder: Path) -> None:
    """Write the key pair that signs the tokens of service accounts: `sa.key` and `sa.pub`."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "sa.key").write_bytes(private)
    (folder / "sa.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def write_access(folder: Path, server: str, token: str) -> None:
    """Write `tokens.csv` for the API server and `kubeconfig` for everybody who calls it as an administrator."""
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n', encoding="utf-8")
    cluster = {"server": server, "certificate-authority": str(folder / "certificates" / "apiserver.crt")}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "node", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "node", "context": {"cluster": "node", "user": "admin"}}],
        "current-context": "node",
    }
    _write(folder / "kubeconfig", kubeconfig)


def write_containerd(folder: Path, network: Network) -> None:
    """Write `containerd.toml` and the pod network that it names."""
    interfaces = folder / "cni"
    interfaces.mkdir()
    _write(interfaces / "10-bridge.conflist", network.interface(folder / "leases"))
    (folder / "containerd.toml").write_text(
        f"""\
version = 2
root = "{folder}/images"
state = "{folder}/state"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{BUSYBOX}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{_snapshotter(folder)}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{interfaces}"
""",
        encoding="utf-8",
    )


def write_kubelet(folder: Path, network: Network, port: int, health_port: int) -> None:
    """Write `kubelet.yaml`: a kubelet that lives next to others and manages no cgroups but its containers'."""
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node_address,
        "port": port,
        "healthzPort": health_port,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
        "cgroupDriver": "cgroupfs",
        # Two kubelets with a tree of pod cgroups would take each other's pods for orphans.
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(folder / "logs"),
        "volumePluginDir": str(folder / "plugins"),
        # A shared machine may be fuller than a node should be.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
    }
    _write(folder / "kubelet.yaml", settings)


def _snapshotter(folder: Path) -> str:
    """Return `overlayfs` where the folder can carry it, else `native`, which copies an image for every container."""
    trial = folder / "trial"
    for name in ("lower", "upper", "work", "merged"):
        (trial / name).mkdir(parents=True)
    layers = f"lowerdir={trial}/lower,upperdir={trial}/upper,workdir={trial}/work"
    mounted = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", layers, str(trial / "merged")], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        subprocess.run(["umount", str(trial / "merged")], check=True)
    shutil.rmtree(trial)
    return "overlayfs" if mounted.returncode == 0 else "native"


def _write(path: Path, document: Any) -> None:
    """Write JSON, which is YAML; for no other user to read, since a token may be in it."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
