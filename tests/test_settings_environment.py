"""Which variables override a setting, which are refused, and how their values are read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.settings import Problem, Settings, SettingsError, load
from sidecar.settings.environment import overrides
from sidecar.settings.names import is_sellers, key_named, variable

FILE = "product: {code: 0abc123example, public_keys: {1: /a.pem}}\nmetering: {dimensions: [{name: requests}]}\n"
Read = Callable[[dict[str, str]], Settings]


@pytest.fixture(name="read")
def _read(tmp_path: Path) -> Read:
    """Reads a sound file under some variables."""
    path = tmp_path / "config.yaml"
    path.write_text(FILE)
    return lambda environ: load(str(path), environ)


def problems_of(read: Read, environ: dict[str, str]) -> tuple[Problem, ...]:
    """Return what is wrong with the file under these variables."""
    with pytest.raises(SettingsError) as caught:
        read(environ)
    return caught.value.problems


SELLERS = [
    ("SIDECAR_ENTITLEMENT__CHECK", "none", "entitlement"),
    ("SIDECAR_ENTITLEMENT__REMEMBER_FOR", "744h", "entitlement"),
    ("SIDECAR_METERING__DIMENSIONS", "[{name: requests, aggregation: max}]", "metering"),
    ("SIDECAR_METERING__SETTLE", "5m", "metering"),
    ("SIDECAR_MARKETPLACE__MODE", "emulator", "marketplace.mode"),
    ("SIDECAR_MARKETPLACE__ENDPOINT_URL", "http://127.0.0.1:8789", "marketplace.endpoint_url"),
    ("SIDECAR_LICENSE__REQUIRE", "[]", "license"),
    ("SIDECAR_LICENSE", "{}", "license"),
    ("SIDECAR_PRODUCT__CODE", "0abc123example", "product"),
    ("SIDECAR_PRODUCT__TRUSTED_CODES", "[]", "product"),
    ("SIDECAR_PRODUCT", "{}", "product"),
]


@pytest.mark.parametrize(("name", "value", "share"), SELLERS, ids=lambda value: str(value)[:32])
def test_sellers_key_is_refused(read: Read, name: str, value: str, share: str) -> None:
    """A variable for a key that decides whether and how usage is paid for is a problem with its name and the reason."""
    (problem,) = problems_of(read, {name: value})
    assert name == problem.key
    assert problem.reason.startswith(f"would change {'the product' if share == 'product' else share}, which the seller")


SPELLINGS = [
    "SIDECAR_ENTITLEMENT.CHECK",
    "SIDECAR_ENTITLEMENT____CHECK",
    "SIDECAR_ENTITLEMENT_CHECK",
    "SIDECAR_ENTITLEMENT-CHECK",
    "SIDECAR_ENTITLEMENT/CHECK",
    "SIDECAR_entitlement__check",
    "sidecar_entitlement__check",
    "Sidecar.Entitlement.Check",
    "SIDECAR__ENTITLEMENT__CHECK",
    "SIDECAR_ENTITLEMENT__CHEC\u212a",  # the Kelvin sign, whose lower case is k
    "SIDECAR_\uff25NTITLEMENT__CHECK",  # a full-width E
    "SIDECAR_ENTITLE__MENT__CHECK",
    "SIDECARENTITLEMENTCHECK",
    "SIDECAR_PRODUCT.CODE",
    "SIDECAR_PRODUCT.TRUSTED_CODES",
    "SIDECAR_MARKETPLACE.MODE",
    "SIDECAR_MARKETPLACE__ENDPOINT__URL",
    "SIDECAR_MARKETPLACE__ENDPOINTURL",
    "SIDECAR_METERING.DIMENSIONS",
]


@pytest.mark.parametrize("name", SPELLINGS)
def test_any_spelling_is_refused(read: Read, name: str) -> None:
    """A name is judged by what it normalizes to: separators, case and compatibility forms change nothing."""
    (problem,) = problems_of(read, {name: "none"})
    assert (name, True) == (problem.key, "which the seller fixed" in problem.reason)


def test_reader_and_lock_agree() -> None:
    """Each setting of the documents is found by its variable, and either overridden by it or protected from it."""
    lines = Path("docs/configuration.md").read_text(encoding="utf-8").splitlines()
    keys = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert [key_named(variable(key)) for key in keys] == keys
    entries, problems = overrides({variable(key): "1" for key in keys})
    assert sorted(entries) == sorted(key for key in keys if not is_sellers(key))
    assert len(keys) == len(entries) + len(problems)


def test_all_refused_at_once(read: Read) -> None:
    """Every variable that may not be set is listed, next to what else is wrong."""
    environ = {"SIDECAR_ENTITLEMENT__CHECK": "none", "SIDECAR_MARKETPLACE__MODE": "emulator", "SIDECAR_API__PORT": "x"}
    assert [
        "SIDECAR_ENTITLEMENT__CHECK",
        "SIDECAR_MARKETPLACE__MODE",
        "api.port",
    ] == sorted(problem.key for problem in problems_of(read, environ))


@pytest.mark.parametrize("name", ["SIDECAR_METERING_PORT", "SIDECAR_LICENSE_PORT", "SIDECAR__X_PORT"])
def test_service_links_come_first(read: Read, name: str) -> None:
    """A Service called sidecar-metering, sidecar-license or sidecar--x stops nothing and changes nothing."""
    link = name.removesuffix("_PORT")
    environ = {name: "tcp://10.96.0.7:80", f"{link}_SERVICE_HOST": "10.96.0.7", f"{link}_PORT_80_TCP_ADDR": "10.96.0.7"}
    assert read({}) == read(environ)


TEXTS = [
    ("api.socket", "/run/a: b"),
    ("api.socket", "/run/s.sock # x"),
    ("api.socket", "null"),
    ("api.token_file", "[/run/token"),
    ("api.token_file", "!!binary x"),
    ("probes.host", "::"),
]


@pytest.mark.parametrize(("key", "value"), TEXTS)
def test_text_is_taken_as_it_stands(read: Read, key: str, value: str) -> None:
    """A value is the text that it is: no character of it has a meaning to YAML."""
    group, _, name = key.partition(".")
    assert value == str(getattr(getattr(read({variable(key): value}), group), name))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("probes.host", "@x", "is not an IP address or a host name"),
        ("probes.host", "{x}", "is not an IP address or a host name"),
        ("probes.host", "", "is empty, or has space around it"),
        ("api.port", "0x10", "is not a whole number in plain digits"),
        ("api.port", " 9000", "is not a whole number in plain digits"),
        ("shutdown.timeout", "90", "has no unit"),
        ("kubernetes.events", "maybe", "is neither true nor false"),
        ("log.level", "[info]", "is not one of"),
    ],
)
def test_unfit_text_is_named(read: Read, key: str, value: str, reason: str) -> None:
    """A value that its key cannot take is one problem with key, value and variable."""
    (problem,) = problems_of(read, {variable(key): value})
    assert (key, repr(value), variable(key)) == (problem.key, problem.value, problem.where)
    assert problem.reason.startswith(reason)


def test_blank_means_none_where_there_may_be_none(read: Read) -> None:
    """An empty variable clears a key that may have no value."""
    assert read({"SIDECAR_API__SOCKET": ""}).api.socket is None
