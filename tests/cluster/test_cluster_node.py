"""The node of these tests leaves nothing behind."""

import subprocess
from pathlib import Path

import pytest

from tests.cluster.node import Node, NodeFailed


def test_failed_start_leaves_nothing(bin_folder: Path, tmp_path: Path) -> None:
    """A node whose API server ends immediately takes its programs, mounts, bridge, rule and folder with it."""
    before = _traces()
    for name in ("etcd", "kube-apiserver"):
        tmp_path.joinpath(name).symlink_to(bin_folder / "etcd" if name == "etcd" else "/bin/false")
    with pytest.raises(NodeFailed, match="kube-apiserver ended with 1"):
        Node.start(tmp_path)
    assert set() == _traces() - before


def _traces() -> set[str]:
    """Return what any node on this machine shows of itself."""
    traces = {str(path) for path in Path("/sys/class/net").glob("mpsnode*")}
    traces |= {line for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines() if "mpsnode" in line}
    rules = subprocess.run(["iptables", "-w", "-t", "nat", "-S"], capture_output=True, text=True, check=True).stdout
    traces |= {rule for rule in rules.splitlines() if "10.96." in rule}
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        if b"/mpsnode" in command:
            traces.add(f"{process.parent.name} {command.decode(errors='replace')}")
    return traces
