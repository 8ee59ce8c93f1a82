"""The Rust client rusoto, which knows the service model of 2022, drives the four metering operations."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.programs import cache_folder
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.emulator.conftest import RunningEmulator

# Debian's cargo is too old for the crates, so the program is built only where a newer one is installed and finds them.
pytestmark = [pytest.mark.process, pytest.mark.machine, pytest.mark.timeout(1800)]

SOURCE = Path(__file__).parent / "rust"
OLDEST = (1, 85)


@pytest.fixture(scope="session")
def metering() -> Path:
    """The program, built once into the user's cache."""
    cargo = shutil.which("cargo", path=f"{os.environ.get('PATH', '')}:{Path.home()}/.cargo/bin")
    if cargo is None:
        pytest.skip("cargo is not installed")
    version = subprocess.run([cargo, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        pytest.skip(f"cargo {version} is too old for the crates")
    manifest = ["--locked", "--quiet", "--manifest-path", str(SOURCE / "Cargo.toml")]
    fetched = subprocess.run([cargo, "fetch", *manifest], capture_output=True, text=True, check=False)
    if fetched.returncode != 0:
        pytest.skip(f"the crates cannot be fetched: {fetched.stderr[-300:]}")
    target = cache_folder() / "rust"
    subprocess.run([cargo, "build", "--offline", *manifest, "--target-dir", str(target)], check=True)
    return target / "debug" / "metering"


def test_rusoto_drives_every_operation(emulator: "RunningEmulator", metering: Path) -> None:
    """Each operation is answered in rusoto's types, and each refusal is its own variant of the error."""
    emulator.freeze("2026-11-23T12:30:00Z")
    token = emulator.post("customers", action="entitle", CustomerIdentifier="buyer")["RegistrationToken"]
    timestamp = 1795433400  # 11:30 of that day
    ran = subprocess.run(
        [metering, emulator.url, token, str(timestamp)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (0, "") == (ran.returncode, ran.stderr)
    answers = [line.split() for line in ran.stdout.splitlines()]
    assert [
        "RegisterUsage",
        "MeterUsage",
        "MeterUsage",
        "BatchMeterUsage",
        "ResolveCustomer",
        "ResolveCustomer",
    ] == [operation for operation, _ in answers]
    signature, record_id, *others = (answer for _, answer in answers)
    assert ["DuplicateRequest", "Success", "buyer", "InvalidToken"] == others
    claims = json.loads(base64.urlsafe_b64decode(f"{signature.split('.')[1]}=="))
    assert ("0abc123example", "nonce") == (claims["productCode"], claims["nonce"])
    held = {record["MeteringRecordId"]: record["UsageQuantity"] for record in emulator.get("records")["records"]}
    assert "7" == held.pop(record_id)
    assert ["9"] == list(held.values())
