"""The command: its line, its end and its refusals; and the seed that it reads."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sidecar.emulator.command import main
from sidecar.emulator.state.seed import Seed, SeedError, make_seed
from tests.support.tools import PATIENCE

SEED = """
product:
  {code: 0abc123example, pricing: custom, public_key_version: 2, public_keys: {1: /nowhere/1.pem}, trusted_codes: []}
metering: {dimensions: [{name: requests, aggregation: sum}, {name: users}], settle: 2m}
api: {port: 8787}
customers: [{CustomerIdentifier: c-1}, {CustomerAWSAccountId: "123456789012", entitled: false}]
"""


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_announces_and_ends(tmp_path: Path, number: signal.Signals) -> None:
    """It prints its address once it takes connections, and ends with 0 on a signal."""
    seed = tmp_path / "seed.yaml"
    seed.write_text(SEED)
    command = [sys.executable, "-m", "sidecar.emulator.command", "--port", "0", "--seed-config", str(seed)]
    folder = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert ["emulator", "listening", "on"] == words[:3]
        connection = http.client.HTTPConnection(urlsplit(words[3]).netloc, timeout=PATIENCE)
        connection.request("GET", "/_emulator/state")
        state = json.loads(connection.getresponse().read())
        connection.close()
        process.send_signal(number)
        assert 0 == process.wait(PATIENCE)
    assert ("0abc123example", 2) == (state["product_code"], state["public_key_version"])
    assert ["requests", "users"] == state["dimensions"]
    assert ("custom", False) == (state["pricing"], state["from_first_call"])


@pytest.mark.process
def test_unread_standard_error_stops_no_answer(tmp_path: Path) -> None:
    """A parent that reads no line of standard error gets every answer, and the process still ends by SIGTERM."""
    command = [sys.executable, "-m", "sidecar.emulator.command", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[3]
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
        for _ in range(1500):  # a pipe holds 64 KiB
            connection.request("POST", "/", b"{}")
            connection.getresponse().read()
        connection.close()
        process.terminate()
        assert 0 == process.wait(PATIENCE)


def test_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken is named with its flag."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert 2 == main(["--port", port])
    assert f"--port {port}" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--port", "65536"], ["--port", "-1"], ["--port", "x"], ["--identity", "node"]])
def test_bad_flag_is_refused(arguments: list[str]) -> None:
    """A bad flag ends with 2."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert 2 == raised.value.code


def test_bad_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A seed or state file that cannot be used is named with its flag, every fault on its line."""
    seed = tmp_path / "seed.yaml"
    seed.write_text("product: {code: 'a b', pricing: daily, public_key_version: 0}\ncustomers: [{name: x}]\n")
    assert 2 == main(["--seed-config", str(seed)])
    assert [
        "product.code",
        "product.public_key_version",
        "product.pricing",
        "customers[0]",
    ] == [line.split(":")[1].strip() for line in capsys.readouterr().err.splitlines()]
    assert 2 == main(["--seed-config", str(tmp_path / "missing")])
    assert 2 == main(["--port", "0", "--state", str(seed)])
    assert f"--state: {seed}: is not a state file" in capsys.readouterr().err


def test_seed_is_read() -> None:
    """A sidecar configuration gives product and dimensions; customers are named as in the control API."""
    seed = make_seed(
        {
            "product": {"code": "p", "public_key_version": 3},
            "metering": {"dimensions": [{"name": "d"}]},
            "customers": [{"CustomerIdentifier": "c-1"}, {"LicenseArn": "arn:aws:lm::1:l", "entitled": False}],
        }
    )
    assert ("p", frozenset({"d"}), 3) == (seed.product_code, seed.dimensions, seed.public_key_version)
    assert [
        ("c-1", True),
        (None, False),
    ] == [(customer.customer_identifier, customer.entitled) for customer in seed.customers]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, Seed()),
        ({}, Seed()),
        ({"customers": []}, Seed()),
        ({"customers": [{"entitled": False}]}, Seed(entitled=False)),
        ({"product": {"pricing": "contract"}}, Seed(pricing="contract")),
        ({"product": {"pricing": None}}, Seed()),
        ({"metering": {"dimensions": []}}, Seed(dimensions=frozenset())),
    ],
)
def test_seed_defaults(document: object, expected: Seed) -> None:
    """What is left out is not restricted, and the running account is entitled unless the seed has it otherwise."""
    assert expected == make_seed(document)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "the file"),
        ({"product": 1}, "product"),
        ({"product": {"code": 1}}, "product.code"),
        ({"product": {"public_key_version": "1"}}, "product.public_key_version"),
        ({"product": {"public_key_version": 101}}, "product.public_key_version"),
        ({"metering": {"dimensions": "d"}}, "metering.dimensions"),
        ({"metering": {"dimensions": [{"nam": "d"}]}}, "metering.dimensions"),
        ({"customers": {}}, "customers"),
        ({"customers": ["c-1"]}, "customers[0]"),
        ({"customers": [{"LicenseArn": "x"}]}, "customers[0]"),
        ({"customers": [{"CustomerIdentifier": "c", "entitled": "yes"}]}, "customers[0]"),
    ],
)
def test_bad_seed_is_refused(document: object, field: str) -> None:
    """Each fault of the seed is named by its field."""
    with pytest.raises(SeedError) as raised:
        make_seed(document)
    assert [field] == [problem.partition(":")[0] for problem in raised.value.problems]
