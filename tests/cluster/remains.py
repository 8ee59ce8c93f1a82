"""What a node leaves behind: its processes, their children, its mounts and its folder.

Everything of a node is recognized by its folder, which only the holder of the node's number uses. A process is left
alone unless it names that folder in its command line or descends from one that does.
"""

import os
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

_PATIENCE = 20.0


def remove(folder: Path) -> None:
    """End the processes of a node by their own ids, unmount what lies below its folder, and delete it."""
    deadline = time.monotonic() + _PATIENCE
    while (found := _processes(folder)) and time.monotonic() < deadline:
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)
    for mount in _mounts(folder):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


def _processes(folder: Path) -> set[int]:
    """Return the living processes that name the folder, and their descendants: shims are the parents of containers."""
    named: set[int] = set()
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            state, parent = entry.joinpath("stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            if state == "Z":
                continue
            children[int(parent)].append(int(entry.name))
            if f"{folder}/".encode() in entry.joinpath("cmdline").read_bytes():
                named.add(int(entry.name))
    found: set[int] = set()
    reached = list(named)
    while reached:
        process = reached.pop()
        if process not in found:
            found.add(process)
            reached += children[process]
    return found


def _mounts(folder: Path) -> list[str]:
    """Return the mount points below the folder, inner ones first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{folder}/")]
