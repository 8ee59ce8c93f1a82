"""The configuration as a whole: file, environment, defaults."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.settings import (
    ApiSettings,
    EntitlementCheck,
    EntitlementSettings,
    KubernetesSettings,
    KubernetesUse,
    LatePolicy,
    LedgerSettings,
    LicenseSettings,
    LogFormat,
    LogLevel,
    LogSettings,
    MarketplaceSettings,
    MeteringSettings,
    Mode,
    OnDenied,
    OnExpired,
    OnFailing,
    OnTaken,
    Pricing,
    ProbeHour,
    ProbeSettings,
    Problem,
    Product,
    QuantityKind,
    RequiredEntitlement,
    Settings,
    SettingsError,
    ShutdownSettings,
    StartProbe,
    explain,
    load,
)

PRODUCT = "product: {code: 0abc123example, public_key_version: 1, public_keys: {1: /keys/1.pem}}\n"
IDENTITY = Product("0abc123example", public_key_version=1, public_keys={1: Path("/keys/1.pem")}, trusted_codes=())

Write = Callable[[str | bytes], str]
NOTHING: Mapping[str, str] = {}


@pytest.fixture(name="write")
def _write(tmp_path: Path) -> Write:
    """Write a configuration file and return its path."""

    def write(text: str | bytes) -> str:
        path = tmp_path / "config.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


def problems_of(path: str | None, environ: Mapping[str, str]) -> tuple[Problem, ...]:
    """Return what is wrong with a configuration."""
    with pytest.raises(SettingsError) as caught:
        load(path, environ)
    return caught.value.problems


def test_defaults_fill_the_rest(write: Write) -> None:
    """The product is enough; every other setting has its documented default."""
    expected = Settings(
        product=IDENTITY,
        entitlement=EntitlementSettings(
            check=EntitlementCheck.AUTO,
            probe=StartProbe.RECORD,
            probe_dimension=None,
            probe_hour=ProbeHour.PREVIOUS,
            on_denied=OnDenied.HOLD,
            retry_for=timedelta(minutes=30),
            remember_for=timedelta(hours=24),
        ),
        metering=MeteringSettings(
            dimensions=(),
            quantity=QuantityKind.DECIMAL,
            settle=timedelta(minutes=2),
            spread=timedelta(minutes=20),
            window=timedelta(hours=6),
            late=LatePolicy.CARRY,
            report_zero=True,
            failing_after=timedelta(hours=2),
            on_failing=OnFailing.WARN,
        ),
        license=LicenseSettings(
            require=(),
            tiers=(),
            refresh=timedelta(minutes=15),
            on_taken=OnTaken.ADMIT,
            on_expired=OnExpired.DENY,
            warn_before=timedelta(days=30),
            region="auto",
        ),
        ledger=LedgerSettings(path=Path("/var/lib/marketplace-sidecar/ledger.db")),
        api=ApiSettings(host="127.0.0.1", port=8787, socket=None, token_file=None),
        probes=ProbeSettings(host="0.0.0.0", port=8788),
        shutdown=ShutdownSettings(timeout=timedelta(seconds=25)),
        marketplace=MarketplaceSettings(region=None, endpoint_url=None, mode=Mode.LIVE),
        kubernetes=KubernetesSettings(enabled=KubernetesUse.AUTO, readiness_gate=None, events=True),
        log=LogSettings(level=LogLevel.INFO, format=LogFormat.AUTO),
    )
    assert expected == load(write(PRODUCT), NOTHING)


def test_every_key_is_read(write: Write) -> None:
    """Each setting takes its value from the file."""
    path = write("""
product:
  code: 0abc123example
  pricing: custom
  id: prod-abcdefghijklm
  public_key_version: 2
  public_keys: {1: /keys/1.pem, "2": /keys/2.pem}
  trusted_codes: [other, 0abc123example]
entitlement:
  check: meter
  probe: dry-run
  probe_dimension: "on"
  probe_hour: current
  on_denied: exit
  retry_for: 90s
  remember_for: 0
license: {refresh: 1h, on_taken: wait, on_expired: warn, warn_before: 7d, region: us-east-1}
metering:
  dimensions: [{name: requests}, {name: "on", aggregation: unique}]
  quantity: integer
  settle: 0s
  spread: 59m
  window: 3h
  late: unbilled
  report_zero: off
  failing_after: 4h
  on_failing: gate
ledger: {path: ledger.db}
api: {host: localhost, port: 0, socket: /run/api.sock, token_file: /run/token}
probes: {host: "::", port: 8787}
shutdown: {timeout: 5s}
marketplace: {region: eu-central-1, endpoint_url: "http://127.0.0.1:8789/", mode: emulator}
kubernetes: {enabled: yes, readiness_gate: example.com/entitled, events: false}
log: {level: debug, format: json}
""")
    expected = Settings(
        product=Product(
            "0abc123example",
            Pricing.CUSTOM,
            "prod-abcdefghijklm",
            2,
            {1: Path("/keys/1.pem"), 2: Path("/keys/2.pem")},
            ("other", "0abc123example"),
        ),
        entitlement=EntitlementSettings(
            check=EntitlementCheck.METER,
            probe=StartProbe.DRY_RUN,
            probe_dimension="on",
            probe_hour=ProbeHour.CURRENT,
            on_denied=OnDenied.EXIT,
            retry_for=timedelta(seconds=90),
            remember_for=timedelta(),
        ),
        license=LicenseSettings(
            refresh=timedelta(hours=1),
            on_taken=OnTaken.WAIT,
            on_expired=OnExpired.WARN,
            warn_before=timedelta(days=7),
            region="us-east-1",
        ),
        metering=MeteringSettings(
            dimensions=(Dimension("requests"), Dimension("on", Aggregation.UNIQUE)),
            quantity=QuantityKind.INTEGER,
            settle=timedelta(),
            spread=timedelta(minutes=59),
            window=timedelta(hours=3),
            late=LatePolicy.UNBILLED,
            report_zero=False,
            failing_after=timedelta(hours=4),
            on_failing=OnFailing.GATE,
        ),
        ledger=LedgerSettings(Path("ledger.db")),
        api=ApiSettings("localhost", 0, Path("/run/api.sock"), Path("/run/token")),
        probes=ProbeSettings("::", 8787),
        shutdown=ShutdownSettings(timedelta(seconds=5)),
        marketplace=MarketplaceSettings("eu-central-1", "http://127.0.0.1:8789", Mode.EMULATOR),
        kubernetes=KubernetesSettings(KubernetesUse.ALWAYS, "example.com/entitled", events=False),
        log=LogSettings(LogLevel.DEBUG, LogFormat.JSON),
    )
    assert expected == load(path, NOTHING)


def test_contract_is_read(write: Write) -> None:
    """What a contract must grant takes its values from the file; without a number of seats nothing is held."""
    contract = "license: {require: [{name: deployment, hold: 1}, {name: users}], tiers: [basic, pro]}\n"
    settings = load(write("product: {code: 0abc123example, pricing: contract, id: prod-abc}\n" + contract), NOTHING)
    assert (RequiredEntitlement("deployment", 1), RequiredEntitlement("users", 0)) == settings.license.require
    assert ("basic", "pro") == settings.license.tiers


CHECKS = [
    ("", "public_keys: {1: /1.pem}", EntitlementCheck.REGISTER),
    ("", "public_keys: {}", EntitlementCheck.METER),
    ("pricing: hourly, ", "public_keys: {1: /1.pem}", EntitlementCheck.REGISTER),
    ("pricing: custom, ", "public_keys: {1: /1.pem}", EntitlementCheck.METER),
    ("pricing: contract, id: prod-abc, ", "public_keys: {1: /1.pem}", EntitlementCheck.LICENSE),
]


@pytest.mark.parametrize(("price", "keys", "expected"), CHECKS)
def test_price_decides_check(write: Write, price: str, keys: str, expected: EntitlementCheck) -> None:
    """`auto`, the default, takes the check of the price, and without a price decides by the public keys."""
    text = f"product: {{code: 0abc123example, {price}{keys}}}\nmetering: {{dimensions: [{{name: requests}}]}}\n"
    assert expected == load(write(text), NOTHING).check


def test_named_check_stays(write: Write) -> None:
    """A check that the file names is in force without a price, whatever keys and dimensions there are."""
    text = f"{PRODUCT}metering: {{dimensions: [{{name: requests}}]}}\nentitlement: {{check: "
    found = [load(write(f"{text}{check}}}\n"), NOTHING).check for check in ("register", "meter", "none")]
    assert [EntitlementCheck.REGISTER, EntitlementCheck.METER, EntitlementCheck.NONE] == found


def test_environment_wins(write: Write) -> None:
    """A variable overrides its key by the key's type, even where the file's value is unfit."""
    environ = {
        "SIDECAR_API__PORT": "9000",
        "SIDECAR_API__SOCKET": "",
        "SIDECAR_KUBERNETES__ENABLED": "true",
        "SIDECAR_KUBERNETES__EVENTS": "False",
        "SIDECAR_MARKETPLACE__REGION": "eu-central-1",
        "SIDECAR_PROBES__HOST": "::1",
        "SIDECAR_SHUTDOWN__TIMEOUT": "0",
        "UNRELATED": "1",
    }
    settings = load(write(PRODUCT + "api: {port: none, socket: /run/a.sock}\n"), environ)
    assert ApiSettings(port=9000) == settings.api
    assert KubernetesSettings(KubernetesUse.ALWAYS, events=False) == settings.kubernetes
    assert "eu-central-1" == settings.marketplace.region
    assert "::1" == settings.probes.host
    assert timedelta() == settings.shutdown.timeout


def test_option_then_variable_then_default(write: Write) -> None:
    """--config names the file before SIDECAR_CONFIG does, and that before the default path."""
    path = write(PRODUCT)
    assert load(path, {"SIDECAR_CONFIG": "/nowhere"}) == load(None, {"SIDECAR_CONFIG": path})
    (problem,) = problems_of(None, {"SIDECAR_CONFIG": ""})
    assert "'/etc/marketplace-sidecar/config.yaml'" == problem.value
    assert "the default path, as neither --config nor SIDECAR_CONFIG names a file" == problem.where


def test_missing_file_is_named() -> None:
    """A file that is not there is reported with its path and with what named it."""
    (problem,) = problems_of("/nowhere/config.yaml", NOTHING)
    assert ("'/nowhere/config.yaml'", "--config") == (problem.value, problem.where)
    assert "cannot be read: No such file or directory" == problem.reason


UNUSABLE = [
    (b"", "is empty"),
    (b"# only a remark\n", "is empty"),
    (b"- a\n", "is not a mapping"),
    (b"words", "is not a mapping"),
    (b"api: {port: 1", "is not valid YAML at line 1, column 14"),
    (b"api:\n\tport: 1\n", "is not valid YAML at line 2, column 1"),
    (b"a: 1\n---\nb: 2\n", "is not valid YAML at line 2, column 1"),
    (b"a: \xff\n", "is not readable text at position 3"),
    (b'a: "\\UFFFFFFFF"\n', "is not valid YAML"),
    (b"a: &x [*x]\n", "holds an alias inside its own anchor at line 1"),
    (b"[" * 5000, "is nested too deeply"),
    (b"#" * 200_000, "is longer than 131072 bytes"),
]


@pytest.mark.parametrize(("text", "reason"), UNUSABLE)
def test_unusable_file_says_why(write: Write, text: bytes, reason: str) -> None:
    """A file that holds no settings is one problem, with line and column where there are some."""
    (problem,) = problems_of(write(text), NOTHING)
    assert "configuration file" == problem.key
    assert problem.reason.startswith(reason)


def test_folder_is_no_file(tmp_path: Path) -> None:
    """A folder in place of the file is reported, not raised."""
    (problem,) = problems_of(str(tmp_path), NOTHING)
    assert "cannot be read: Is a directory" == problem.reason


def test_variables_are_judged_without_file() -> None:
    """A file that cannot be read does not hide what is wrong with the environment."""
    problems = problems_of("/nowhere", {"SIDECAR_API__PORT": "x", "SIDECAR_API__PROT": "1"})
    assert ["configuration file", "api.port", "SIDECAR_API__PROT"] == [problem.key for problem in problems]


UNKNOWN = [
    ("SIDECAR_API_PORT", "did you mean SIDECAR_API__PORT?"),
    ("SIDECAR_API__PROT", "did you mean SIDECAR_API__PORT?"),
    ("SIDECAR_api__port", "did you mean SIDECAR_API__PORT?"),
    ("SIDECAR_LOG", "did you mean SIDECAR_LOG__LEVEL?"),
    ("SIDECAR_XYZZY__QUUX", "remove it"),
]


@pytest.mark.parametrize(("name", "cure"), UNKNOWN)
def test_unknown_variable_is_refused(write: Write, name: str, cure: str) -> None:
    """A variable that overrides nothing is a mistake, and the most alike name is offered."""
    (problem,) = problems_of(write(PRODUCT), {name: "9000"})
    assert (name, "is not a setting", cure) == (problem.key, problem.reason, problem.cure)


@pytest.mark.parametrize(
    ("text", "key", "cure"),
    [
        ("legder: {path: /ledger.db}", "legder", "did you mean ledger?"),
        ("metering: {dimension: []}", "metering.dimension", "did you mean metering.dimensions?"),
        ("xyzzy: {quux: 1}", "xyzzy", "remove it"),
    ],
)
def test_unknown_key_is_refused(write: Write, text: str, key: str, cure: str) -> None:
    """A key that is no setting is a mistake, and the most alike one is offered, a group's name too."""
    (problem,) = problems_of(write(f"{PRODUCT}\n{text}"), NOTHING)
    assert (key, "is not a setting", cure) == (problem.key, problem.reason, problem.cure)


def test_service_links_are_ignored(write: Write) -> None:
    """What Kubernetes injects for a Service called sidecar or sidecar-api stops nothing."""
    environ = {
        "SIDECAR_SERVICE_HOST": "10.96.0.7",
        "SIDECAR_SERVICE_PORT": "80",
        "SIDECAR_API_SERVICE_PORT_HTTP": "80",
        "SIDECAR_API_PORT": "tcp://10.96.0.7:80",
        "SIDECAR_PORT_80_TCP": "tcp://10.96.0.7:80",
        "SIDECAR_PORT_80_TCP_PROTO": "tcp",
        "SIDECAR_PRODUCT_SERVICE_HOST": "10.96.0.8",
    }
    assert IDENTITY == load(write(PRODUCT), environ).product


def test_all_problems_at_once(write: Write) -> None:
    """One reading finds every problem, each with its key, value and line."""
    path = write("product: {public_key_version: 0}\napi:\n  port: 99999\n  hots: x\nlog: {level: loud}\nlogs: {}\n")
    expected = [
        ("product.code", None, ""),
        ("product.public_key_version", "0", f"{path}, line 1"),
        ("api.port", "99999", f"{path}, line 3"),
        ("log.level", "'loud'", f"{path}, line 5"),
        ("api.hots", "'x'", f"{path}, line 4"),
        ("logs", "a mapping", f"{path}, line 6"),
        ("SIDECAR_PRODUCT__CODE", "'x'", "SIDECAR_PRODUCT__CODE"),
    ]
    found = [
        (problem.key, problem.value, problem.where) for problem in problems_of(path, {"SIDECAR_PRODUCT__CODE": "x"})
    ]
    assert sorted(expected, key=str) == sorted(found, key=str)


def test_problems_are_told_in_lines() -> None:
    """The explanation has a heading and one line for each problem."""
    problems = [
        Problem("api.port", "99999", "is out of range", "give a whole number from 0 to 65535", "c.yaml, line 3"),
        Problem("product.code", None, "is missing", "set it"),
    ]
    assert (
        "2 problems in the configuration:\n"
        "  api.port = 99999: is out of range; give a whole number from 0 to 65535 (c.yaml, line 3)\n"
        "  product.code: is missing; set it" == explain(problems)
    )
    assert explain(problems[:1]).startswith("1 problem in the configuration:\n")


def test_credentials_are_not_shown(write: Write) -> None:
    """Neither an address with a password nor the value of an unknown key that names a secret is repeated."""
    text = "marketplace: {endpoint_url: 'http://me:hunter2@host', mode: emulator, secret_access_key: hunter2}\n"
    environ = {"SIDECAR_MARKETPLACE__SESSION_TOKEN": "hunter2", "SIDECAR_X": "[http://me:hunter2@host"}
    problems = problems_of(write(PRODUCT + text), environ)
    assert 4 == len(problems)
    assert "hunter2" not in explain(problems)


def test_groups_are_equal_by_their_fields() -> None:
    """Two groups are equal and hash alike if they are of one kind and hold the same; `repr` names the fields."""
    assert ApiSettings() == ApiSettings()
    assert hash(ApiSettings()) == hash(ApiSettings())
    assert ApiSettings() != ApiSettings(port=1)
    assert LedgerSettings() != ProbeSettings()
    assert "ProbeSettings(host='0.0.0.0', port=8788)" == repr(ProbeSettings())
