"""The image's processes on a read-only root, as its own user and as any other."""

import json
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar import __version__
from tests.image.conftest import CONFIGURATION, LEDGER, Contained
from tests.support.identity import project
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.image.conftest import Image
    from tests.support.processes import Emulator

pytestmark = [pytest.mark.process, pytest.mark.machine]


@pytest.fixture
def volumes(tmp_path: Path, emulator: "Emulator") -> Path:
    """A pod's two volumes: the configuration with the key, and an empty folder that everybody may write to."""
    configuration, ledger = tmp_path / CONFIGURATION, tmp_path / LEDGER
    configuration.mkdir(parents=True)
    ledger.mkdir(parents=True)
    ledger.chmod(0o777)
    (configuration / "1.pem").write_bytes(emulator.public_key())
    (configuration / "config.yaml").write_text(
        json.dumps(
            {
                "product": {"code": "0abc123example", "public_keys": {"1": f"/{CONFIGURATION}/1.pem"}},
                "metering": {"dimensions": [{"name": "requests"}]},
                "api": {"port": 0},
                "probes": {"port": 0},
                "marketplace": {"mode": "emulator", "endpoint_url": emulator.url},
                "log": {"level": "debug", "format": "json"},
            }
        ),
        encoding="utf-8",
    )
    return tmp_path


def test_image_tells_its_version(built: "Image") -> None:
    """The entry point is the product's command."""
    ran = subprocess.run(built.command("--version"), capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (0, f"marketplace-sidecar {__version__}\n") == (ran.returncode, ran.stdout), ran.stderr


@pytest.mark.parametrize("user", ["65532:65532", "1000660000:0"], ids=["own-user", "any-user"])
def test_image_registers_and_meters(
    built: "Image", emulator: "Emulator", volumes: Path, tmp_path: Path, user: str
) -> None:
    """On a read-only root it registers by its service account's role, takes usage, and submits it at SIGTERM."""
    variables = project(volumes / CONFIGURATION, "uid-of-pod")
    variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = f"/{CONFIGURATION}/token"
    command = built.command("run", user=user, volumes=volumes, variables=variables)
    sidecar = Contained(tmp_path / "sidecar.log", command)
    try:
        sidecar.await_start()
        sidecar.await_entitlement(entitled=True)
        assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "2"})
        sidecar.signal(signal.SIGTERM)
        assert 0 == sidecar.await_end(), sidecar.log
    finally:
        sidecar.kill()
    assert ["2"] == list(emulator.held().values())
    owner = (volumes / LEDGER / "ledger.db").stat().st_uid
    assert int(user.partition(":")[0]) == owner


@pytest.mark.parametrize(
    "entry", [None, ["marketplace-sidecar"], ["/opt/marketplace-sidecar/bin/marketplace-sidecar"]], ids=str
)
def test_python_is_isolated(built: "Image", volumes: Path, entry: list[str] | None) -> None:
    """No variable of the interpreter puts other code in the product's place, by the entry point or by the command."""
    folder = volumes / CONFIGURATION
    for name in ("sitecustomize.py", "sidecar.py", "startup.py"):
        (folder / name).write_text("raise SystemExit('taken over')\n", encoding="utf-8")
    variables = {
        "PYTHONPATH": f"/{CONFIGURATION}",
        "PYTHONHOME": "/nowhere",
        "PYTHONSTARTUP": f"/{CONFIGURATION}/startup.py",
        "PYTHONINSPECT": "1",
        "PYTHONWARNINGS": "error",
    }
    command = built.command("--version", volumes=volumes, variables=variables, entry=entry)
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (0, f"marketplace-sidecar {__version__}\n") == (ran.returncode, ran.stdout), ran.stderr


def test_bad_setup_is_told(built: "Image") -> None:
    """Without a configuration it ends with 2 and names the file that it looked for."""
    ran = subprocess.run(built.command("run"), capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert 2 == ran.returncode
    assert "/etc/marketplace-sidecar/config.yaml" in ran.stderr


def test_cluster_client_is_whole(built: "Image") -> None:
    """Nothing that the product loads of the Kubernetes client was left out, and no other part is there."""
    imports = "from sidecar.adapters.kubernetes.package import load_package as load;print(load().client.__name__)"
    ran = subprocess.run(
        built.command("-c", imports, entry=["python"]), capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (0, "RESTClientObject\n") == (ran.returncode, ran.stdout), ran.stderr
    assert not (built.packages / "kubernetes" / "client" / "models").exists()
