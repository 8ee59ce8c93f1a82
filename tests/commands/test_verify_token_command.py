"""The verify-token command as a process: what it takes from standard input, prints and returns."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.domain.entitlement.token import LARGEST_TOKEN
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.conftest import Signer

CLAIMS = {"productCode": "0abc123example", "publicKeyVersion": 2, "nonce": "the nonce"}
EXPECTED = ("--product-code", "0abc123example", "--key-version", "2", "--nonce", "the nonce")


def verify_token(token: str | bytes, *arguments: object) -> tuple[int, str, str]:
    """Run the command and return its exit code and what it printed to both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "verify-token", *map(str, arguments)],
        input=token.encode() if isinstance(token, str) else token,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def fresh(**changes: object) -> dict[str, Any]:
    """Return claims issued now, with some changed."""
    return CLAIMS | {"iat": int(time.time())} | changes


@pytest.fixture
def key(seller: "Signer", tmp_path: Path) -> Path:
    """The seller's public key as a file."""
    return seller.write(tmp_path)


@pytest.mark.parametrize("options", [(), EXPECTED, EXPECTED[:2]], ids=["none", "all", "product"])
def test_right_token(options: tuple[str, ...], seller: "Signer", key: Path) -> None:
    """A right token gives its claims and 0; what no option names is judged by its type alone."""
    claims = fresh(extra="\N{SNOWMAN}")

    code, out, err = verify_token(f"{seller.token(claims)}\n", "--public-key", key, *options)

    assert (code, json.loads(out), err) == (0, claims, "")


@pytest.mark.parametrize("nonce", ["-9vX", "--9vX", "-"])
def test_nonce_may_begin_with_a_dash(nonce: str, seller: "Signer", key: Path) -> None:
    """A nonce in URL-safe base64 begins with `-` in one of 64 cases, and is taken as it is."""
    claims = fresh(nonce=nonce)

    code, out, err = verify_token(seller.token(claims), "--public-key", key, "--nonce", nonce)

    assert (code, json.loads(out), err) == (0, claims, "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"productCode": "0other"}, "the claim productCode is not the product that was asked for"),
        ({"publicKeyVersion": 1}, "the claim publicKeyVersion is not the version that was asked for"),
        ({"nonce": "secret"}, "the claim nonce is not the one that was asked for"),
        (
            {"iat": 1},
            (
                "the claim iat is more than 5 minutes away from this machine's clock "
                "(--signature-only judges the signature of an old token)"
            ),
        ),
    ],
    ids=["product", "version", "nonce", "time"],
)
def test_wrong_claim(changes: dict[str, object], reason: str, seller: "Signer", key: Path) -> None:
    """A wrong claim gives 1 and one line that names the rule and shows nothing of the token."""
    done = verify_token(seller.token(fresh(**changes)), "--public-key", key, *EXPECTED)

    assert done == (1, "", f"{reason}\n")


def test_wrong_type_without_options(seller: "Signer", key: Path) -> None:
    """The claims' types are judged though no option names a value."""
    done = verify_token(seller.token(fresh(publicKeyVersion="2")), "--public-key", key)

    assert (1, "", "the claim publicKeyVersion is not an integer\n") == done


def test_wrong_signature(stranger: "Signer", key: Path) -> None:
    """A foreign token gives 1, with all checks and with the signature's alone."""
    for options in ((), ("--signature-only",)):
        done = verify_token(stranger.token(fresh()), "--public-key", key, *options)

        assert (1, "", "the signature is not that of the public key\n") == done


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"foo", {"payload_base64url": "Zm9v"}),
        (b"", {"payload_base64url": ""}),
        (b'{"a":1,"a":2}', {"payload_base64url": "eyJhIjoxLCJhIjoyfQ"}),
        (b'{"iat":1}', {"iat": 1}),
    ],
    ids=["text", "nothing", "duplicate members", "old claims"],
)
def test_signature_only(payload: bytes, shown: object, seller: "Signer", key: Path) -> None:
    """With --signature-only the key's signature is enough, whatever the payload, its age and the other options."""
    token = seller.token(payload, {"alg": "PS256", "kid": "any"})

    code, out, err = verify_token(token, "--public-key", key, "--signature-only", *EXPECTED)

    assert (code, json.loads(out), err) == (0, shown, "")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (b"", "there is no token"),
        (b"\xff\xfe", "the token is not text"),
        (b"A" * 1_000_000, f"the token is longer than {LARGEST_TOKEN} characters"),
        (b"A" * (LARGEST_TOKEN + 2), f"the token is longer than {LARGEST_TOKEN} characters"),
        (b"e30.e30.e30", "the header's alg is not PS256"),
    ],
    ids=["empty", "no text", "a megabyte", "just too long", "no alg"],
)
def test_unreadable_input(token: bytes, reason: str, key: Path) -> None:
    """Input that is no token gives 1 and one line, however long it is."""
    assert verify_token(token, "--public-key", key) == (1, "", f"{reason}\n")


def test_unusable_key(seller: "Signer", tmp_path: Path) -> None:
    """A key that cannot be used is a bad command line: 2, with the file, the reason and the cure."""
    missing = tmp_path / "missing.pem"

    code, out, err = verify_token(seller.token(fresh()), "--public-key", missing)

    assert (2, "") == (code, out)
    assert f"--public-key {missing}: the file cannot be read: No such file or directory. Mount" in err


@pytest.mark.parametrize("version", ["0", "-1", "1.0", "one", "\N{SUPERSCRIPT TWO}", "9" * 5000])
def test_bad_key_version(version: str, key: Path) -> None:
    """A key version that is no whole number from 1 on is a bad command line."""
    code, out, _ = verify_token("", "--public-key", key, f"--key-version={version}")

    assert (2, "") == (code, out)


def test_loads_no_sdk(seller: "Signer", key: Path) -> None:
    """The command loads neither the AWS SDK nor an HTTP server, and no logging either."""
    program = (
        "import sys; from sidecar.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or sorted({'boto3', 'botocore', 'aiohttp', 'structlog', 'kubernetes'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "verify-token", "--public-key", key],
        input=seller.token(fresh()).encode(),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )

    assert (0, b"") == (done.returncode, done.stderr)
