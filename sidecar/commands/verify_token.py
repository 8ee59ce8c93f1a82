"""`verify-token`: verifies a RegisterUsage signature from standard input with the seller's public key.

Reads no configuration, makes no calls and never prints a token that is not valid. Loads neither the AWS SDK nor an HTTP
library, so it can be used in a build or an entrypoint.
"""

import argparse
import base64
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from sidecar.adapters.signature import PublicKeys, UnusableKeys
from sidecar.domain.entitlement.token import (
    LARGEST_TOKEN,
    Asked,
    IssueWindow,
    Refusal,
    check_signature,
    read_object,
    verify,
)
from sidecar.exit_codes import ExitCode

_EXPLANATION = """\
Verify a RegisterUsage signature from standard input.

If the token is valid, prints its claims as JSON and exits with 0. A valid token is a compact JWS that the key signed
with PS256; its claims have the right types, iat is within 5 minutes of the clock, and each claim that an option names
has that value. Otherwise exits with 1 and prints one reason on standard error. Exits with 2 if the key cannot be used.

--signature-only verifies only that the key signed the JWS, whatever its age and content, and ignores --product-code,
--key-version and --nonce. A payload that is not a JSON object is printed as
{"payload_base64url": "..."}."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _EXPLANATION
    parser.add_argument(
        "--public-key", metavar="PEM", type=Path, required=True, help="the file with the seller's RSA public key"
    )
    parser.add_argument("--product-code", metavar="C", help="the product code that the token must name")
    parser.add_argument(
        "--key-version", metavar="N", type=_key_version, help="the public key version that the token must name"
    )
    parser.add_argument("--nonce", metavar="N", help="the nonce that the token must hold")
    parser.add_argument("--signature-only", action="store_true", help="verify only the signature, whatever the payload")


def run(args: argparse.Namespace) -> int:
    """Verify the token on standard input; return 0 if it is valid, 1 if it is not, 2 if the key cannot be used."""
    version = args.key_version or 1
    try:
        keys = PublicKeys.load({version: args.public_key})
    except UnusableKeys as unusable:
        for fault in unusable.faults:
            sys.stderr.write(f"--public-key {fault.path}: {fault.reason}. {fault.cure}\n")
        return ExitCode.BAD_COMMAND
    try:
        text = _read_text()
        if args.signature_only:
            shown = _judge_signature(text, keys, version)
        else:
            now = datetime.now(UTC)
            asked = Asked(args.product_code, args.key_version, args.nonce)
            shown = json.dumps(verify(text, keys, version, asked, IssueWindow.between(now, now)))
    except Refusal as refusal:
        hint = " (--signature-only judges the signature of an old token)" if refusal.code == "issue-time" else ""
        sys.stderr.write(f"{refusal}{hint}\n")
        return ExitCode.FAILED
    sys.stdout.write(f"{shown}\n")
    return ExitCode.CLEAN


def _key_version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a key version, which is a whole number from 1")
    return int(text)


def _read_text() -> str:
    # One byte more than a token may have, to detect a longer one.
    data = sys.stdin.buffer.read(LARGEST_TOKEN + len("\r\n") + 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("not-text", "the token is not text") from None


def _judge_signature(text: str, keys: PublicKeys, version: int) -> str:
    token = check_signature(text, keys, version)
    try:
        return json.dumps(read_object(token))
    except Refusal:
        payload = base64.urlsafe_b64encode(token.payload).rstrip(b"=").decode("ascii")
        return json.dumps({"payload_base64url": payload})
