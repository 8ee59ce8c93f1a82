"""Starts the sidecar and measures its first answer; what a start loads."""

import socket
import subprocess
import sys
import time

from sidecar.commands.demo.environment import Environment

LIBRARIES = (
    "aiohttp.web, structlog, yaml, sqlite3, prometheus_client, cryptography.hazmat.primitives.serialization,"
    " cryptography.hazmat.primitives.asymmetric.padding"
)
"""What is loaded before the first probe is answered."""
SDK = "boto3, botocore.session"
"""What is loaded on a thread while the probes answer."""


def program(*arguments: str) -> list[str]:
    """Return the command line of a subcommand of the sidecar."""
    return [sys.executable, "-m", "sidecar", *arguments]


def first_answer(environment: Environment) -> float:
    """Return the seconds from the start of the process to its first answer to a probe."""
    arguments = program("run", "--config", str(environment.folder / "config.yaml"))
    began = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(environment.probes):
            assert process.poll() is None, "the sidecar ended"
            time.sleep(0.001)
        return time.perf_counter() - began
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return connection.recv(4096).startswith(b"HTTP/1.1 200")
    except ConnectionRefusedError:
        return False
