"""How aiohttp is loaded."""

import subprocess
import sys

from tests.support.tools import PATIENCE

LOADED = """
import os, ssl
before = dict(os.environ)
import sidecar.adapters.http
from aiohttp import connector
assert dict(os.environ) == before
assert connector._SSL_CONTEXT_VERIFIED.verify_mode is ssl.CERT_REQUIRED
assert {"x509": 0, "crl": 0, "x509_ca": 0} == connector._SSL_CONTEXT_VERIFIED.cert_store_stats()
"""


def test_unused_client_trusts_nothing() -> None:
    """The client of aiohttp reads no CA files and trusts none; the environment is as it was."""
    ran = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert 0 == ran.returncode, ran.stderr
