"""Each program of the library's document runs as it is, against the real emulator, and prints what is shown."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sidecar.marketplace
from sidecar.marketplace import entitlements, license_manager
from tests.support.processes import Emulator, environment, launch_emulator
from tests.support.reading import ROOT, Block, blocks, pattern, read
from tests.support.tools import PATIENCE

DOCUMENT = "docs/library.md"
ADDRESS = "http://127.0.0.1:8789"
"""The emulator's address in the document, its default."""
BLOCKS = blocks(DOCUMENT)
PROGRAMS = {block.name: block for block in BLOCKS if block.language == "python" and block.name}


def output_of(program: Block) -> str:
    """Return what the document shows as the output of a program: the next block."""
    shown = BLOCKS[BLOCKS.index(program) + 1]
    assert "text" == shown.language
    return shown.text


def body(name: str) -> dict[str, object]:
    """Return a request of the control API out of the document."""
    members: dict[str, object] = json.loads(next(block.text for block in BLOCKS if block.name == name))
    return members


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator on a free port."""
    emulator = launch_emulator(tmp_path_factory.mktemp("emulator") / "log")
    yield emulator
    emulator.kill()


@pytest.fixture
def emulator(running: Emulator) -> Emulator:
    """The emulator as it is after its start."""
    running.post("reset")
    return running


@pytest.mark.process
@pytest.mark.parametrize("name", PROGRAMS)
def test_program_runs(name: str, emulator: Emulator, tmp_path: Path) -> None:
    """Saved under its name and started, it ends well and prints what the document shows."""
    (tmp_path / "1.pem").write_bytes(emulator.public_key())
    arguments: list[str] = []
    if name == "resolve_customer.py":
        arguments = [emulator.post("customers", **body("customer.json"))["RegistrationToken"]]
    if name == "get_entitlements.py":
        emulator.post("customers", **body("customer.json"))
    if name == "licenses.py":
        emulator.post("licenses", **body("license.json"))
    program = PROGRAMS[name]
    assert ADDRESS in program.text
    (tmp_path / name).write_text(program.text.replace(ADDRESS, emulator.url), encoding="utf-8")

    ran = subprocess.run(
        [sys.executable, name, *arguments],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

    assert (0, "") == (ran.returncode, ran.stderr)
    assert pattern(output_of(program)).fullmatch(ran.stdout), ran.stdout


PROTOCOLS = {
    sidecar.marketplace.MarketplaceMetering: "aws-marketplace",
    license_manager.LicenseManager: "license-manager",
    entitlements.EntitlementService: "aws-marketplace",
}
"""Each service of the library, with the name that IAM has for it."""
OPERATIONS = {
    name: prefix for protocol, prefix in PROTOCOLS.items() for name in vars(protocol) if not name.startswith("_")
}


def test_each_operation_has_a_program() -> None:
    """Every operation that the library offers is called by a program of the document."""
    text = "".join(program.text for program in PROGRAMS.values())
    assert set() == {name for name in OPERATIONS.keys() - {"batch_meter_usage"} if f".{name}(" not in text}
    assert "submit_batch(" in text


def test_permission_of_each_call_is_named() -> None:
    """The document names the permission of each call of its programs, by itself or by a policy that it links to."""
    text = read(DOCUMENT)
    named = set(re.findall(r"`([a-z-]+:[A-Z]\w+)`", text))
    for policy in re.findall(r"\(iam/(\S+)\)", text):
        for statement in json.loads(read(f"docs/iam/{policy}"))["Statement"]:
            named.update(statement["Action"])
    needed = {f"{prefix}:{''.join(map(str.capitalize, name.split('_')))}" for name, prefix in OPERATIONS.items()}
    assert set() == needed - named
