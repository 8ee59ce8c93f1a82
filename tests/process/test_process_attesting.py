"""The app's own questions to AWS, and the app's judgment of the answers, over sockets and pipes."""

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Site, Sites

pytestmark = pytest.mark.process


def verify(token: str, *arguments: str) -> tuple[int, str, str]:
    """Judge a token with the command."""
    command = [sys.executable, "-m", "sidecar", "verify-token", *arguments]
    done = subprocess.run(command, input=token, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return done.returncode, done.stdout, done.stderr


def test_app_verifies_attestation(sites: "Sites", own_emulator: "Emulator") -> None:
    """The app gets AWS's token over its own nonce, once in ten seconds, and `verify-token` believes exactly that."""
    site = sites.make(own_emulator)
    sidecar = site.start_entitled()
    reply = sidecar.post("/v1/attestations", {"nonce": "of-the-app"})
    assert 201 == reply.status
    token = reply.document["signature"]
    again = sidecar.post("/v1/attestations", {"nonce": "of-the-app-2"})
    assert (429, True) == (again.status, again.document["type"].endswith("slow-down"))
    assert 1 <= int(again.headers["Retry-After"]) <= 10
    right = ("--public-key", str(site.key), "--product-code", "0abc123example", "--key-version", "1")
    code, claims, _ = verify(token, *right, "--nonce", "of-the-app")
    assert 0 == code
    assert {"productCode": "0abc123example", "publicKeyVersion": 1, "nonce": "of-the-app"}.items() <= json.loads(
        claims
    ).items()
    for faulty, arguments in (
        (token, (*right, "--nonce", "of-another")),
        (token, ("--public-key", str(site.key), "--product-code", "another")),
        (f"{token[:-6]}AAAAAA", right),
    ):
        code, claims, reason = verify(faulty, *arguments)
        assert (1, "", 1) == (code, claims, len(reason.splitlines()))
        assert token[:20] not in reason
    assert token not in sidecar.log
    assert "entitled" == sidecar.get("/v1/entitlement")["state"]


def test_wrong_attestation_is_kept_back(site: "Site", emulator: "Emulator") -> None:
    """A wrong token over the app's nonce is not handed out, and does not close the gate of a registered pod."""
    sidecar = site.start_entitled()
    emulator.order("RegisterUsage", "wrong-signature", 1)
    reply = sidecar.post("/v1/attestations", {"nonce": "of-the-app"})
    assert (503, True) == (reply.status, reply.document["type"].endswith("attestation-failed"))
    assert b"eyJ" not in reply.body
    assert "entitled" == sidecar.get("/v1/entitlement")["state"]
