"""What is in the image, and what it takes room for."""

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar import __version__
from sidecar.commands.ecs.definition import IMAGE_PROGRAM
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.image.conftest import Image

pytestmark = pytest.mark.machine
"""The first one builds the image if it is not in the cache."""

_MOST = 75 * 2**20
"""Bytes of what is installed, byte code included."""
_UNCHECKED_HASH = 1


def _unpacked_size(packages: Path) -> int:
    """Return the bytes of everything in the installed wheels, by their own records, kept or not."""
    size = 0
    for record in packages.glob("*.dist-info/RECORD"):
        with record.open(encoding="utf-8", newline="") as rows:
            size += sum(int(row[2]) for row in csv.reader(rows) if row[2])
    return size


def _sizes(folder: Path) -> Counter[str]:
    """Return the bytes below a folder by its own entries."""
    sizes: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            sizes[path.relative_to(folder).parts[0]] += path.stat().st_size
    return sizes


def test_installed_size_is_bounded(built: "Image", capsys: pytest.CaptureFixture[str]) -> None:
    """What is installed, byte code included, takes at most 75 MiB."""
    sizes = _sizes(built.packages)
    installed, wheels = sizes.total(), _unpacked_size(built.packages)
    with capsys.disabled():
        largest = ", ".join(f"{name} {size / 2**20:.1f}" for name, size in sizes.most_common(6))
        sys.stdout.write(
            f"\nimage: {installed / 2**20:.1f} MiB installed from {wheels / 2**20:.1f} MiB of wheels: {largest}\n"
        )
    assert installed <= _MOST


def test_byte_code_is_complete(built: "Image") -> None:
    """Every module has byte code that is taken without a look at its source; a read-only root could not keep any."""
    wrong = []
    for source in built.packages.rglob("*.py"):
        compiled = list((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc"))
        flags = [int.from_bytes(path.read_bytes()[4:8], "little") for path in compiled]
        if flags != [_UNCHECKED_HASH]:
            wrong.append(str(source.relative_to(built.packages)))
    assert [] == wrong


def test_only_locked_packages(built: "Image") -> None:
    """The packages are those of the lock file and the sidecar: no build tool stays behind."""
    command = built.command(
        "-c",
        "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))",
        entry=["python"],
    )
    installed = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE).stdout)
    lock = Path(__file__).resolve().parents[2] / "requirements.lock"
    locked = dict(
        line.split()[0].split("==") for line in lock.read_text(encoding="utf-8").splitlines() if line[:1].isalpha()
    )
    assert {**locked, "marketplace-sidecar": __version__} == {
        name.lower().replace("_", "-"): version for name, version in installed.items()
    }


def test_only_callable_services(built: "Image") -> None:
    """Of the SDK's service models only those that the product talks to are kept."""
    data = built.packages / "botocore" / "data"
    assert {"license-manager", "meteringmarketplace", "sts"} == {path.name for path in data.iterdir() if path.is_dir()}


def test_only_messages_of_metrics(built: "Image") -> None:
    """Of OpenTelemetry's messages the image has those that a source `otlp` reads, and they can be loaded."""
    proto = built.packages / "opentelemetry" / "proto"
    assert {"collector", "common", "metrics", "resource", "version"} == {
        path.name for path in proto.iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    script = "import opentelemetry.proto.collector.metrics.v1.metrics_service_pb2, google.protobuf.json_format"
    subprocess.run(built.command("-c", script, entry=["python"]), check=True, timeout=PATIENCE)


def test_nothing_of_the_build(built: "Image") -> None:
    """How the build reached its package index is not in the image."""
    left = [path for path in ("etc/pip.conf", "root/.cache", "root/.config", "build") if (built.root / path).exists()]
    assert [] == left


def test_configuration_is_plain(built: "Image") -> None:
    """A numeric user that is not root, the process itself as entry point, one volume, no health check, labels."""
    config = built.config
    assert "65532:65532" == config["User"]
    assert list(IMAGE_PROGRAM) == config["Entrypoint"]
    assert ["run"] == config["Cmd"]
    assert config.get("Healthcheck") is None
    assert ["/var/lib/marketplace-sidecar"] == list(config["Volumes"])
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    assert (__version__, "Apache-2.0", "marketplace-sidecar") == (
        labels["version"],
        labels["licenses"],
        labels["title"],
    )


def test_recipe_suits_every_processor() -> None:
    """The Dockerfile names no processor, and installs wheels only by their hashes."""
    recipe = (Path(__file__).resolve().parents[2] / "Dockerfile").read_text(encoding="utf-8")
    instructions = "\n".join(line for line in recipe.splitlines() if not line.startswith("#"))
    assert not any(word in instructions for word in ("amd64", "arm64", "x86_64", "aarch64", "HEALTHCHECK"))
    assert instructions.count("pip install") + instructions.count("python install") == instructions.count(
        "--require-hashes"
    ) + instructions.count("wheels/*.whl")
