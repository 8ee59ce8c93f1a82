"""What a sidecar refuses at its start: the exit code, and the words that name the fault."""

import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from tests.support.processes import Site

pytestmark = pytest.mark.process

LEDGER = 0x4D505343


def make_folder(path: Path) -> None:
    """Put a folder where the ledger should be."""
    path.mkdir()


def make_text(path: Path) -> None:
    """Put a text where the ledger should be."""
    path.write_text("this is a letter to somebody, and no database at all\n" * 100)


def make_database(path: Path, *, application: int, version: int) -> None:
    """Put a database where the ledger should be."""
    connection = sqlite3.connect(path)
    connection.executescript(
        f"CREATE TABLE orders (id INTEGER); PRAGMA application_id = {application}; PRAGMA user_version = {version};"
    )
    connection.close()


def make_newer(path: Path) -> None:
    """Put a ledger of a later version there."""
    make_database(path, application=LEDGER, version=999)


def make_foreign(path: Path) -> None:
    """Put another program's database there."""
    make_database(path, application=7, version=1)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_folder, "unable to open database file"),
        (make_text, "file is not a database"),
        (make_foreign, "the file is a database of another program"),
        (make_newer, "written by a newer version (schema 999"),
    ],
)
def test_unusable_ledger_is_4(site: "Site", make: Callable[[Path], None], reason: str) -> None:
    """A ledger that cannot be used ends the process with 4, the path and the reason; the file stays as it was."""
    make(site.ledger)
    before = site.ledger.read_bytes() if site.ledger.is_file() else None
    code, said = site.refuse()
    assert 4 == code
    assert f"ledger {site.ledger}: " in said
    assert reason in said
    assert before == (site.ledger.read_bytes() if site.ledger.is_file() else None)


def test_unreadable_row_is_4(site: "Site") -> None:
    """A quantity that cannot be read ends the start with 4 and names its row, without a traceback; the row stays."""
    sidecar = site.start_entitled()
    assert (1, 0) == sidecar.report({"dimension": "requests"})
    sidecar.kill()
    connection = sqlite3.connect(site.ledger)
    connection.execute("UPDATE bucket SET own = 'many'")
    connection.commit()
    for _ in range(2):
        code, said = site.refuse()
        assert 4 == code
        assert f"ledger {site.ledger}: bucket pod 1, dimension 1, hour " in said
        assert "own 'many' is not a quantity" in said
        assert "Traceback" not in said
    assert ("many",) == connection.execute("SELECT own FROM bucket").fetchone()
    connection.close()


def test_faults_are_listed_together(site: "Site") -> None:
    """Every fault of the configuration is reported in one answer, with its field and value."""
    config = site.write(
        product={"code": "not a code"},
        entitlement={"retry_for": "half an hour", "color": "red"},
        api={"port": 99999, "host": "0.0.0.0"},
        marketplace={"mode": "emulation"},
    )
    code, said = site.refuse(config, SIDECAR_SHUTDOWN__TIMEOUT="2h", SIDECAR_PRODUCT__CODE="mine")
    assert 2 == code
    for part in (
        "product.code = 'not a code'",
        "entitlement.retry_for = 'half an hour'",
        "entitlement.color = 'red'",
        "api.port = 99999",
        "api.host = '0.0.0.0'",
        "marketplace.mode = 'emulation'",
        "shutdown.timeout = '2h'",
        "SIDECAR_PRODUCT__CODE = 'mine'",
    ):
        assert part in said
    assert not site.ledger.exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"SIDECAR_ENTITLEMENT__CHECK": "none"},
        {
            "SIDECAR_ENTITLEMENT__CHECK": "meter",
            "SIDECAR_MARKETPLACE__MODE": "emulator",
            "SIDECAR_MARKETPLACE__ENDPOINT_URL": "http://127.0.0.1:8789",
        },
        {"SIDECAR_METERING__DIMENSIONS": "[{name: requests, aggregation: max}]"},
        {"SIDECAR_PRODUCT__CODE": "mine", "SIDECAR_PRODUCT.CODE": "mine", "SIDECAR_PRODUCT": "mine"},
        {
            "SIDECAR_ENTITLEMENT.CHECK": "none",
            "sidecar_entitlement__check": "none",
            "SIDECAR_ENTITLEMENT_CHECK": "none",
        },
    ],
    ids=["no-check", "own-emulator", "dimensions", "product", "spellings"],
)
def test_sellers_keys_are_not_overridden(site: "Site", variables: dict[str, str]) -> None:
    """No variable changes what the seller fixed: each one that tries is refused by its name, with the reason."""
    code, said = site.refuse(**variables)
    assert 2 == code
    refused = [f"{name} = {value!r}: would change " in said for name, value in variables.items()]
    assert refused == [True] * len(variables)
    assert not site.ledger.exists()


@pytest.mark.ending
def test_probe_address_is_text(site: "Site") -> None:
    """A variable's value is the text that it is: the address `::` is no fault of a configuration."""
    sidecar = site.launch(site.write(), SIDECAR_PROBES__HOST="::")
    sidecar.await_start()
    sidecar.signal()
    assert 0 == sidecar.await_end()


def test_untrusted_code_is_refused(site: "Site") -> None:
    """A product code outside `trusted_codes` is refused."""
    code, said = site.refuse(site.write(product={"trusted_codes": ["another"]}))
    assert (2, True) == (code, "product.trusted_codes" in said)


def test_missing_file_is_refused(site: "Site") -> None:
    """A configuration that is not there is named."""
    missing = site.folder / "missing.yaml"
    code, said = site.refuse(missing)
    assert (2, True) == (code, str(missing) in said)


@pytest.mark.parametrize("key", ["api", "probes"])
def test_port_in_use_is_named(site: "Site", key: str) -> None:
    """A port that another process has is named with the key of the configuration."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        changes: dict[str, Any] = {key: {"port": port}}
        code, said = site.refuse(site.write(**changes))
    assert 2 == code
    assert f"{key}.port: port {port} of 127.0.0.1 is in use" in said


@pytest.mark.parametrize("kind", ["missing", "text", "elliptic"])
def test_unusable_key_is_named(site: "Site", kind: str) -> None:
    """A public key that is missing, no key, or no RSA key is named by its file."""
    match kind:
        case "missing":
            site.key.unlink()
        case "text":
            site.key.write_text("no key")
        case _:
            public = ec.generate_private_key(ec.SECP256R1()).public_key()
            site.key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    code, said = site.refuse()
    assert (2, True) == (code, str(site.key) in said)


def test_refusal_loses_nothing(site: "Site") -> None:
    """What an earlier process accepted survives starts that were refused."""
    sidecar = site.start_entitled()
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "9"})
    sidecar.kill()
    assert 2 == site.refuse(site.write(api={"port": "x"}))[0]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert 2 == site.refuse(site.write(probes={"port": taken.getsockname()[1]}))[0]
    (bucket,) = site.start().get("/v1/usage")["buckets"]
    assert "9" == bucket["quantity"]
