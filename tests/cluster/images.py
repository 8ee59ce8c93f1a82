"""The names of the images, and the one that is made here: busybox asleep, which holds the pods' sandboxes."""

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

SIDECAR = "localhost/marketplace-sidecar"
SIDECAR_TAG = "test"
BUSYBOX = "localhost/busybox:test"
_BUSYBOX = Path("/bin/busybox")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_busybox(archive: Path) -> None:
    """Write an OCI archive of an image that sleeps until it is killed, which is how the runtime ends sandboxes."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        program = tarfile.TarInfo("sleep")
        program.mode = 0o755
        _add(tar, program, _BUSYBOX.read_bytes())
    blobs = {}

    def keep(content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    described = keep(layer.getvalue(), "layer.v1.tar")
    config = {
        "architecture": _MACHINES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/sleep", "infinity"], "User": "65534:65534"},
        "rootfs": {"type": "layers", "diff_ids": [described["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": keep(json.dumps(config).encode(), "config.v1+json"),
        "layers": [described],
    }
    listed = keep(json.dumps(manifest).encode(), "manifest.v1+json")
    listed["annotations"] = {"io.containerd.image.name": BUSYBOX, "org.opencontainers.image.ref.name": BUSYBOX}
    index = {"schemaVersion": 2, "manifests": [listed]}
    with tarfile.open(archive, "w") as tar:
        _add(tar, tarfile.TarInfo("oci-layout"), b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, tarfile.TarInfo("index.json"), json.dumps(index).encode())
        for digest, content in blobs.items():
            _add(tar, tarfile.TarInfo(f"blobs/sha256/{digest}"), content)


def _add(tar: tarfile.TarFile, entry: tarfile.TarInfo, content: bytes) -> None:
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
