"""The built image, unpacked once, and its processes as a kubelet starts them: another user, a read-only root."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import image
from tests.support.processes import Emulator, Sidecar, launch_emulator
from tests.support.tools import need, need_root

CONFIGURATION = Path("etc/marketplace-sidecar")
LEDGER = Path("var/lib/marketplace-sidecar")
MOUNTED = """
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
for folder in $2; do mount --bind "$3/$folder" "$1/$folder"; done
mount --bind /dev "$1/dev"
shift 3
exec "$@"
"""


@dataclass(frozen=True)
class Image:
    """The image: its files below a folder, and its configuration."""

    root: Path
    config: dict[str, Any]

    @property
    def packages(self) -> Path:
        """The folder of the installed Python packages."""
        (found,) = (self.root / "opt/marketplace-sidecar/lib").glob("python3.*/site-packages")
        return found

    def command(
        self,
        *arguments: str,
        user: str = "65532:65532",
        volumes: Path | None = None,
        variables: Mapping[str, str] | None = None,
        entry: Sequence[str] | None = None,
    ) -> list[str]:
        """Return how to start a process of the image on a read-only root, with nothing but the volumes to write to.

        Args:
            arguments: What stands in the place of the image's command.
            user: Its numbers, as in 65532:65532.
            volumes: A folder that holds the configuration's and the ledger's.
            variables: Its environment next to the image's own.
            entry: What stands in the place of the image's entry point.
        """
        mounts = "" if volumes is None else f"{CONFIGURATION} {LEDGER}"
        return [
            *("unshare", "--mount", "--propagation", "private", "sh", "-euc", MOUNTED, "sh"),
            *(str(self.root), mounts, str(volumes)),
            *("chroot", f"--userspec={user}", "--groups=", str(self.root), "env", "-i", *self.config["Env"]),
            *(f"{name}={value}" for name, value in (variables or {}).items()),
            *(self.config["Entrypoint"] if entry is None else entry),
            *arguments,
        ]


class Contained(Sidecar):
    """The sidecar out of the image."""

    def __init__(self, log: Path, command: Sequence[str]) -> None:
        self.log_file = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


@pytest.fixture(scope="session")
def image_archive() -> Path:
    """The image as an OCI archive."""
    need_root()
    for program in image.PROGRAMS:
        need(program, program)
    return image.archive()


@pytest.fixture(scope="session")
def built(image_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image unpacked, with the folders that an engine makes for its mounts."""
    root = tmp_path_factory.mktemp("image") / "root"
    root.mkdir()
    document = image.unpack(image_archive, root)
    (root / CONFIGURATION).mkdir()
    for parent in root.parents[:2]:
        parent.chmod(0o755)
    return Image(root, document["config"])


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    """An emulator on the host that takes roles for service accounts only."""
    emulator = launch_emulator(tmp_path / "emulator.log", "--identity", "irsa-only")
    yield emulator
    emulator.kill()
