"""Runs tests on a second Python: that of Debian 13, in a root that holds Python and make and nothing else.

No registry that this project uses brings a Python interpreter but Debian's, so a second version needs a root of its
own. The tests run there as a user without rights, which also proves what the README promises of `make test`. Charts,
alert rules and documents stay out: helm and promtool judge them, whatever the Python. Needs root and mmdebstrap.
Refuses to install anything on the machine: the root lies in the user's cache, and each run has its own copy of the
sources.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support import image, programs

SUITE = "trixie"
"""Debian 13, whose python3 is 3.13; the machine's own is 3.11 or newer."""
_PACKAGES = "ca-certificates,make,python3,python3-venv"
_USER = 1000
_SKIPPED = (".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "dist", "build", ".coverage*")
_RUN = """
root=$1 work=$2
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
for folder in source tmp home; do mount --bind "$work/$folder" "$root/$folder"; done
shift 2
while [ "$1" != -- ]; do
    if [ -d "${1%%:*}" ]; then mkdir -p "$root${1#*:}"; else mkdir -p "$root$(dirname "${1#*:}")"; fi
    [ -e "$root${1#*:}" ] || : > "$root${1#*:}"
    mount --bind "${1%%:*}" "$root${1#*:}"
    shift
done
shift
exec chroot --userspec=USER:USER --groups= "$root" "$@"
""".replace("USER", str(_USER))


def run(*targets: str) -> int:
    """Run targets of the Makefile in the root; return the exit code of make."""
    cache = image.cache_folder()
    root = _root(cache)
    with image.alone(cache / f"python-{SUITE}.lock"), TemporaryDirectory(prefix="second-python-") as name:
        work = Path(name)
        work.chmod(0o755)
        shutil.copytree(image.REPOSITORY, work / "source", ignore=shutil.ignore_patterns(*_SKIPPED), symlinks=True)
        for folder in ("tmp", "home"):
            (work / folder).mkdir()
        for path in (work / "source").rglob("*"):
            os.chown(path, _USER, _USER, follow_symlinks=False)
        for path in (work / "source", work / "tmp", work / "home"):
            os.chown(path, _USER, _USER)
        mounts = [*image.lend_pip(work), "/etc/resolv.conf:/etc/resolv.conf", "/etc/hosts:/etc/hosts"]
        (work / "pip.conf").chmod(0o644)
        command = [
            # The tests beside these ask a Kubernetes node, whose probes end after seconds.
            *("nice", "-n", "10"),
            *("unshare", "--mount", "--propagation", "private", "sh", "-euc", _RUN, "sh"),
            *(str(root), name, *mounts, "--"),
            *("env", "-i", "PATH=/usr/bin:/bin", "HOME=/home", "LANG=C.UTF-8", "XDG_CACHE_HOME=/cache"),
            *([f"CI={os.environ['CI']}"] if "CI" in os.environ else []),
            *("make", "--no-print-directory", "-C", "/source", "VENV=/environment/venv", *targets),
        ]
        return subprocess.run(command, check=False).returncode


def _root(cache: Path) -> Path:
    """Return the folder of the root, made if it is not in the cache."""
    root = cache / f"python-{SUITE}"
    if not root.is_dir():
        programs.report(f"fetching Debian {SUITE} with its Python")
        with TemporaryDirectory(dir=cache, prefix=f".python-{SUITE}-") as name:
            unfinished = Path(name, "root")
            make = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", SUITE, str(unfinished)]
            subprocess.run(make, check=True)
            for folder in ("cache", "environment", "home", "source", "tmp"):
                (unfinished / folder).mkdir(exist_ok=True)
            for folder in ("environment", "cache"):
                os.chown(unfinished / folder, _USER, _USER)
            unfinished.replace(root)
    return root


if __name__ == "__main__":
    sys.exit(run(*(sys.argv[1:] or ["python"])))
