"""The programs of docs/emulator.md for Go, Node, Java and Rust, run with AWS's own SDKs against the emulator.

The SDKs come from the registry of each language, as the files in the folder `sdks` lock them. A machine without npm,
Maven, or a new go or cargo, skips that program: make test-cluster does not install them, because the Debian packages of
npm and Maven bring some 500 others, and Debian's go and cargo are too old. Python's program runs in
`test_document_plays`. `make soak` compiles Rust's.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.emulator.command import environment
from tests.support.programs import cache_folder
from tests.support.reading import blocks
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.emulator.conftest import RunningEmulator

pytestmark = [pytest.mark.process, pytest.mark.machine, pytest.mark.timeout(1800)]

LOCKED = Path(__file__).parent / "sdks"
OLDEST = {"go": (1, 24), "node": (20, 0), "cargo": (1, 94)}
"""The oldest that the SDKs of the lock files support."""


def find(program: str) -> str:
    """Return the path of a program of a language; skip the test without one that is new enough."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:{Path.home()}/.cargo/bin")
    if found is None:
        pytest.skip(f"{program} is not installed")
    if program in OLDEST:
        said = subprocess.run(
            [found, "version" if program == "go" else "--version"], capture_output=True, text=True, check=True
        ).stdout
        version = re.search(r"(\d+)\.(\d+)", said)
        if version is None or tuple(map(int, version.groups())) < OLDEST[program]:
            pytest.skip(f"{program} is too old for the SDK: {said.strip()}")
    return found


def fetch(command: list[str], folder: Path) -> None:
    """Let a registry's client fetch an SDK; skip the test where the registry cannot be reached."""
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        pytest.skip(f"{command[0]} cannot fetch the SDK: {(ran.stderr or ran.stdout)[-300:]}")


def prepared(sdk: str) -> Path:
    """Return the folder in the user's cache with the lock files of an SDK."""
    folder = cache_folder() / "sdks" / sdk
    shutil.copytree(LOCKED / sdk, folder, dirs_exist_ok=True)
    return folder


def go(program: Path) -> list[str]:
    """Return the program, compiled from Go."""
    compiler, folder = find("go"), prepared("go")
    shutil.copy(program, folder / "main.go")
    fetch([compiler, "mod", "download"], folder)
    subprocess.run([compiler, "build", "-mod=readonly", "-o", "meter", "."], cwd=folder, check=True)
    return [str(folder / "meter")]


def node(program: Path) -> list[str]:
    """Return how to run the program in Node."""
    runtime, folder = find("node"), prepared("node")
    fetch([find("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    (program.parent / "node_modules").symlink_to(folder / "node_modules")
    return [runtime, str(program)]


def java(program: Path) -> list[str]:
    """Return how to run the program in Java, which compiles one source file by itself."""
    folder = prepared("java")
    copy = ["dependency:copy-dependencies", f"-DoutputDirectory={folder / 'jars'}"]
    fetch([find("mvn"), "--quiet", "--batch-mode", *copy], folder)
    return [find("java"), "--class-path", f"{folder / 'jars'}/*", str(program)]


def rust(program: Path) -> list[str]:
    """Return the program, compiled from Rust."""
    cargo, folder = find("cargo"), prepared("rust")
    (folder / "src").mkdir(exist_ok=True)
    shutil.copy(program, folder / "src" / "main.rs")
    fetch([cargo, "fetch", "--locked", "--quiet"], folder)
    subprocess.run([cargo, "build", "--locked", "--offline", "--quiet"], cwd=folder, check=True)
    return [str(folder / "target" / "debug" / "meter")]


@pytest.mark.parametrize(
    ("name", "prepare"),
    [
        pytest.param("meter.go", go, id="go"),
        pytest.param("meter.mjs", node, id="node"),
        pytest.param("Meter.java", java, id="java"),
        # Compiling its 150 crates takes both cores for minutes.
        pytest.param("meter.rs", rust, id="rust", marks=pytest.mark.soak),
    ],
)
def test_program_of_the_document_reports_usage(
    emulator: "RunningEmulator", tmp_path: Path, name: str, prepare: Callable[[Path], list[str]]
) -> None:
    """The program as it is printed reports its usage with the environment of the page, and prints the record's ID."""
    program = tmp_path / name
    program.write_text(next(block.text for block in blocks("docs/emulator.md") if block.name == name), encoding="utf-8")
    command = prepare(program)
    variables = {"PATH": os.environ.get("PATH", ""), "HOME": str(tmp_path), **environment(emulator.url)}
    ran = subprocess.run(
        command, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert 0 == ran.returncode, ran.stderr
    (record,) = emulator.get("records")["records"]
    held = record["MeteringRecordId"], record["UsageQuantity"], record["UsageDimension"], record["ProductCode"]
    assert (ran.stdout.strip(), "3", "requests", "0abc123example") == held
