"""Builds the image as its Dockerfile says, on a Debian base made on the spot, and keeps it as an OCI archive.

No registry of images is asked. Packages come from where the machine's own pip takes them; how it gets there is lent to
the build and not left in the image. Invariant: an archive in the cache is whole, and belongs to the inputs that its
name is the digest of.
"""

import ast
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sidecar import __version__

NAME = "localhost/marketplace-sidecar:test"
"""What the archive's image is called."""
REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = ("buildah", "mmdebstrap")
_SUITE = "bookworm"
_PACKAGES = "ca-certificates,python3,python3-venv"
_INPUTS = ("Dockerfile", ".dockerignore", "requirements.lock", "requirements-build.lock", "pyproject.toml", "sidecar")
_LENT = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout", "cert", "find-links")
"""The settings of pip that a build needs; paths among them are mounted where they are."""


def cache_folder() -> Path:
    """Return the folder of what is built once and kept outside the repository."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "marketplace-sidecar"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def archive() -> Path:
    """Return the OCI archive of the image of this source tree, built if it is not in the cache.

    Raises:
        subprocess.CalledProcessError: The build failed; its output has gone to stderr.
    """
    folder = cache_folder()
    kept = folder / f"image-{_digest()}.oci.tar"
    with alone(folder / "image.lock"):
        if not kept.is_file():
            for outdated in folder.glob("image-*.oci.tar"):
                outdated.unlink()
            for interrupted in folder.glob(".image-*"):
                shutil.rmtree(interrupted)
            with TemporaryDirectory(dir=folder, prefix=".image-") as name:
                _build(_base(folder), Path(name), kept)
    return kept


def unpack(source: Path, target: Path) -> dict[str, Any]:
    """Unpack the image's layers into a folder, as a container engine does, and return its configuration."""
    with TemporaryDirectory(dir=target.parent) as name:
        layout = Path(name)
        _run("tar", "--extract", "--file", str(source), "--directory", name)
        index = json.loads((layout / "index.json").read_bytes())
        manifest = _blob(layout, index["manifests"][0])
        for layer in manifest["layers"]:
            path = layout / "blobs" / layer["digest"].replace(":", "/")
            _run("tar", "--extract", "--file", str(path), "--directory", str(target), "--same-owner", "--numeric-owner")
        document: dict[str, Any] = _blob(layout, manifest["config"])
    return document


def _blob(layout: Path, descriptor: dict[str, str]) -> Any:
    return json.loads((layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes())


def _digest() -> str:
    digest = hashlib.sha256(f"{_SUITE} {_PACKAGES}".encode())
    for path in sorted(_input_files()):
        digest.update(f"{path.relative_to(REPOSITORY)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _input_files() -> Iterator[Path]:
    for name in _INPUTS:
        path = REPOSITORY / name
        yield from [path] if path.is_file() else (file for file in path.rglob("*") if file.suffix in {".py", ".typed"})


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Keep others who would build the same away until this is done."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _base(folder: Path) -> Path:
    """Return the base image's files: Debian with Python and its venv module."""
    base = folder / f"base-{_SUITE}.tar"
    if not base.is_file():
        unfinished = base.with_suffix(".unfinished.tar")
        _run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(unfinished))
        unfinished.replace(base)
    return base


def _build(base: Path, work: Path, target: Path) -> None:
    storage = ("--root", str(work / "storage"), "--runroot", str(work / "run"), "--storage-driver", "vfs")

    def buildah(*arguments: str) -> str:
        return _run("buildah", *storage, *arguments)

    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(base), "/")
    buildah("commit", "--quiet", "--rm", container, "localhost/base")
    arguments = {"BASE": "localhost/base", "VERSION": __version__}
    buildah(
        *("bud", "--quiet", "--isolation", "chroot", "--network", "host", "--layers=false", "--tag", NAME),
        *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
        *(word for mount in lend_pip(work) for word in ("--volume", f"{mount}:ro")),
        str(REPOSITORY),
    )
    unfinished = work / "image.tar"
    buildah("push", "--quiet", NAME, f"oci-archive:{unfinished}:{NAME}")
    unfinished.replace(target)


def lend_pip(work: Path) -> list[str]:
    """Write this machine's way to its package index as a file below `work`; return the mounts that a root needs.

    Each mount is the path here, a colon and the path in the root.
    """
    lines, mounts = ["[global]"], []
    for line in _run(sys.executable, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        text = str(ast.literal_eval(value))
        if name not in _LENT or f"{name} = {text}" in lines:
            continue
        if text.startswith("/"):
            if not Path(text).exists():
                continue
            mounts.append(f"{text}:{text}")
        lines.append(f"{name} = {text}")
    file = work / "pip.conf"
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    file.chmod(0o600)
    return [f"{file}:/etc/pip.conf", *mounts]


def _run(program: str, *arguments: str) -> str:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or program
    return subprocess.run([path, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.stdout.write(f"{archive()}\n")
