"""The Debian packages that a node, its images and the tests with the mark `machine` need, and their installation.

Refuses to install on anything but Debian and its descendants, and without root; the reason names what is missing.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

_PROGRAMS = {
    "buildah": "buildah",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "containerd": "containerd",
    "ctr": "containerd",
    "curl": "curl",
    "fish": "fish",
    "ip": "iproute2",
    "iptables": "iptables",
    "javac": "default-jdk-headless",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "node": "nodejs",
    "runc": "runc",
    "zsh": "zsh",
}
_FILES = {
    Path("/usr/lib/cni/bridge"): "containernetworking-plugins",
    Path("/bin/busybox"): "busybox-static",
}
CNI_PROGRAMS = Path("/usr/lib/cni")


def missing() -> list[str]:
    """Return the Debian packages that are not installed."""
    absent = {package for program, package in _PROGRAMS.items() if _which(program) is None}
    absent |= {package for path, package in _FILES.items() if not path.exists()}
    return sorted(absent)


def install(say: Callable[[str], object]) -> str | None:
    """Install what is missing; None when all is there, else what is missing and how to get it."""
    packages = missing()
    if os.geteuid() != 0:
        rest = f", which installs the Debian packages {' '.join(packages)}" if packages else ""
        return f"make test-cluster builds an image and runs a Kubernetes node. It needs root: run it as root{rest}."
    if not packages:
        return None
    words = f"make test-cluster needs the Debian packages {' '.join(packages)}"
    if _which("apt-get") is None:
        return f"{words}, and there is no apt-get here. Run it on Debian or Ubuntu, or install the programs yourself."
    say(f"installing {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        ran = subprocess.run(["apt-get", "--quiet", *command], env=environment, capture_output=True, check=False)
        if ran.returncode != 0:
            return f"{words}; apt-get {command[0]} said: {ran.stderr.decode(errors='replace').strip()}"
    return None


def _which(program: str) -> str | None:
    """Find a program as root would, whose folders are not in everybody's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
