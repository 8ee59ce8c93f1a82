"""What each setting refuses, and combinations that do not go together."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.metering.sources import (
    CountWhile,
    Otlp,
    PodTime,
    Prometheus,
    Resource,
    ResourceBound,
    ResourceKind,
    Source,
)
from sidecar.settings import Problem, SettingsError, load

GOOD = {
    "product.code": "0abc123example",
    "product.public_keys": "{1: /keys/1.pem}",
}


def problems_of(folder: Path, given: dict[str, str]) -> list[Problem]:
    """Return what is wrong with a file of these dotted settings."""
    groups: dict[str, list[str]] = {}
    for key, value in (GOOD | given).items():
        group, name = key.split(".")
        groups.setdefault(group, []).append(f"  {name}: {value}")
    path = folder / "config.yaml"
    path.write_text("".join(f"{group}:\n" + "\n".join(lines) + "\n" for group, lines in groups.items()))
    try:
        load(str(path), {})
    except SettingsError as error:
        return list(error.problems)
    return []


TEXT = "is not text in YAML"
BLANK = "is empty, or has space around it or control characters in it"
NUMBER = "is not a whole number in plain digits"
BOOLEAN = "is neither true nor false"
DURATION = "is not a duration"

UNFIT = [
    ("product.code", "12345", TEXT),
    ("product.code", "1.0", TEXT),
    ("product.code", "yes", TEXT),
    ("product.code", "2026-11-23", TEXT),
    ("product.code", "", "has no value"),
    ("product.code", "''", BLANK),
    ("product.code", "' a'", BLANK),
    ("product.code", r'"a\ud800"', BLANK),
    ("product.code", "[a]", "is not text"),
    ("product.code", "a b", "is not a product code"),
    ("product.code", "'code€'", "is not a product code"),
    ("product.code", "x" * 256, "is not a product code"),
    ("product.code", "!!python/name:os.system x", TEXT),
    ("product.public_key_version", "0", "is out of range"),
    ("product.public_key_version", "2147483648", "is out of range"),
    ("product.public_key_version", "1.0", NUMBER),
    ("product.public_key_version", "true", NUMBER),
    ("product.public_key_version", "'1'", "is text"),
    ("product.public_keys", "[/keys/1.pem]", "is not a mapping"),
    ("product.public_keys", "{1: /keys/1.pem, 02: /keys/2.pem}", NUMBER),
    ("product.public_keys", "{1: /keys/}", "names a folder"),
    ("product.trusted_codes", "0abc123example", "is not a list"),
    ("product.trusted_codes", "[0abc123example, 1]", TEXT),
    ("product.pricing", "monthly", "is not one of hourly, custom, contract"),
    ("product.id", "0abc123example", "is not a product ID"),
    ("product.id", "prod-", "is not a product ID"),
    ("product.id", "6a9b2f1c", "is not a product ID"),
    ("entitlement.check", "registered", "is not one of auto, register, meter, license, none"),
    ("entitlement.check", "null", "is not one of auto, register, meter, license, none"),
    ("entitlement.probe", "dry", "is not one of record, license, dry-run"),
    ("entitlement.probe_hour", "next", "is not one of previous, current"),
    ("entitlement.probe_dimension", "requests", "is not one of metering.dimensions"),
    ("entitlement.probe_dimension", "5", TEXT),
    ("license.refresh", "59s", "is out of range"),
    ("license.refresh", "25h", "is out of range"),
    ("license.warn_before", "366d", "is out of range"),
    ("license.on_taken", "deny", "is not one of admit, wait"),
    ("license.on_expired", "admit", "is not one of deny, warn"),
    ("license.region", "home", "is not the name of an AWS Region"),
    ("license.region", "null", "has no value"),
    ("license.wait", "1", "is not a setting"),
    ("entitlement.on_denied", "off", "is not one of hold, exit"),
    ("entitlement.retry_for", "30", "has no unit"),
    ("entitlement.retry_for", "1:30", DURATION),
    ("entitlement.retry_for", "1h30m", DURATION),
    ("entitlement.retry_for", "-5m", DURATION),
    ("entitlement.retry_for", "25h", "is out of range"),
    ("entitlement.remember_for", "745h", "is out of range"),
    ("entitlement.remember_for", "[]", DURATION),
    ("metering.dimensions", "{name: a}", "is not a list"),
    ("metering.dimensions", "[a]", "is not a mapping"),
    ("metering.dimensions", "[1]", "is not a mapping"),
    ("metering.dimensions", "[{}]", "is missing"),
    ("metering.dimensions", "[{name: no}]", TEXT),
    ("metering.dimensions", f"[{{name: {'x' * 256}}}]", "is longer than 255 characters"),
    ("metering.dimensions", "[{name: a, aggregation: mean}]", "is not one of sum, max, last, unique"),
    ("metering.dimensions", "[{name: a, agregation: sum}]", "is not a setting"),
    ("metering.dimensions", "[{name: a}, {name: a}]", "is given twice"),
    ("metering.dimensions", f"[{', '.join(f'{{name: d{n}}}' for n in range(25))}]", "is more than 24, AWS's limit"),
    ("metering.dimensions", "[{name: a, source: null}]", "is not a mapping with one kind of source"),
    ("metering.dimensions", "[{name: a, source: pod_time}]", "is not a mapping with one kind of source"),
    ("metering.dimensions", "[{name: a, source: {}}]", "is not a mapping with one kind of source"),
    ("metering.dimensions", "[{name: a, source: {pod_time: {}, resource: {}}}]", "is not a mapping with one kind"),
    ("metering.dimensions", "[{name: a, source: {pod-time: {}}}]", "is not a kind of source"),
    ("metering.dimensions", "[{name: a, source: {prometheus: {url: x, metric: a_total}}}]", "is not an http URL"),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://10.0.0.1/m", metric: a_total}}}]',
        "is outside of this pod, and every pod would bill it",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://shop.default.svc:9090/m", metric: a_total}}}]',
        "is outside of this pod",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "https://127.0.0.1/m", metric: a_total}}}]',
        "is not an http URL",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://u:p@127.0.0.1/m", metric: a_total}}}]',
        "is not an http URL",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1:99999/m", metric: a_total}}}]',
        "is not a URL",
    ),
    ("metering.dimensions", '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m"}}}]', "is missing"),
    ("metering.dimensions", "[{name: a, source: {prometheus: {metric: a_total}}}]", "is missing"),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: "a{b}"}}}]',
        "is not the name of a metric",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_bucket}}}]',
        "counts each observation in several buckets",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_total, match: {code: "2("}}}}]',
        "is not a regular expression",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_total, match: {code: 200}}}}]',
        "is not text in YAML",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_total, match: {a-b: "1"}}}}]',
        "is not the name of a label",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_total, match: code}}}]',
        "is not a mapping",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_total, tags: {tenant: "a;b"}}}}]',
        "is not a tag key",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_total, tags: {a: A, b: A}}}}]',
        "uses a tag key twice",
    ),
    (
        "metering.dimensions",
        "[{name: m, source: {prometheus: {metric: m, url: 'http://[::1]', tags: {a: A,b: B,c: C,d: D,e: E,f: F}}}}]",
        "is more than 5 tags, AWS's limit",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_total, scale: 0.001}}}]',
        "is not a positive decimal in quotes",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_total, scale: "0"}}}]',
        "is not a positive decimal in quotes",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_total, every: 0s}}}]',
        "is out of range",
    ),
    (
        "metering.dimensions",
        '[{name: a, source: {prometheus: {url: "http://127.0.0.1/m", metric: a_total, evry: 5s}}}]',
        "is not a setting",
    ),
    ("metering.dimensions", "[{name: a, source: {otlp: {}}}]", "is missing"),
    (
        "metering.dimensions",
        f"[{{name: a, source: {{otlp: {{metric: {'x' * 256}}}}}}}]",
        "is longer than 255 characters",
    ),
    ("metering.dimensions", "[{name: a, source: {otlp: {metric: x, match: {a: b}}}}]", "is not a setting"),
    ("metering.dimensions", "[{name: a, source: {otlp: {metric: x, tags: [tenant]}}}]", "is not a mapping"),
    (
        "metering.dimensions",
        "[{name: a, source: {otlp: {metric: x, tags: {t: 'a&b'}}}}]",
        "is not a tag key",
    ),
    ("metering.dimensions", "[{name: a, source: {otlp: {metric: x, tags: {t: A, u: A}}}}]", "uses a tag key twice"),
    (
        "metering.dimensions",
        "[{name: a, source: {otlp: {metric: x, tags: {a: A, b: B, c: C, d: D, e: E, f: F}}}}]",
        "is more than 5 tags, AWS's limit",
    ),
    ("metering.dimensions", "[{name: a, source: {otlp: {metric: x, scale: '0.0'}}}]", "is not a positive decimal"),
    ("metering.dimensions", "[{name: a, source: {otlp: {metric: x, scale: '-1'}}}]", "is not a positive decimal"),
    ("metering.dimensions", "[{name: a, source: {otlp: {metric: x, scale: 1e3}}}]", "is not a positive decimal"),
    (
        "metering.dimensions",
        "[{name: a, source: {otlp: {metric: x, scale: 0.5}}}]",
        "is not a positive decimal in quotes",
    ),
    ("metering.dimensions", "[{name: a, source: {pod_time: entitled}}]", "is not a mapping"),
    ("metering.dimensions", "[{name: a, source: {pod_time: {while: running}}}]", "is not one of entitled, ready"),
    ("metering.dimensions", "[{name: a, source: {pod_time: {until: ready}}}]", "is not a setting"),
    ("metering.dimensions", "[{name: a, source: {resource: {container: app}}}]", "is missing"),
    ("metering.dimensions", "[{name: a, source: {resource: {what: cpu}}}]", "is missing"),
    ("metering.dimensions", "[{name: a, source: {resource: {what: disk, container: b}}}]", "is not one of cpu, memory"),
    (
        "metering.dimensions",
        "[{name: a, source: {resource: {what: cpu, by: usage, container: b}}}]",
        "is not one of limit, request",
    ),
    (
        "metering.dimensions",
        "[{name: a, source: {resource: {what: cpu, container: ../b}}}]",
        "is not the name of a container",
    ),
    ("metering.dimensions", "[{name: a, aggregation: max, source: {pod_time: {}}}]", "is of a dimension with a source"),
    ("metering.quantity", "float", "is not one of decimal, integer"),
    ("metering.settle", "1h", "is out of range"),
    ("metering.spread", "60m", "is out of range"),
    ("metering.window", "59m", "is out of range"),
    ("metering.window", "7h", "is out of range"),
    ("metering.window", "82m", "closes before every hour is due"),
    ("metering.late", "drop", "is not one of carry, unbilled"),
    ("metering.report_zero", "1", BOOLEAN),
    ("metering.report_zero", "'no'", BOOLEAN),
    ("metering.failing_after", "0", "is out of range"),
    ("metering.on_failing", "warning", "is not one of warn, gate"),
    ("ledger.path", "':memory:'", "is not the path of a file"),
    ("ledger.path", "'file:x?mode=memory'", "is not the path of a file"),
    ("ledger.path", "/var/lib/", "names a folder"),
    ("ledger.path", "null", "has no value"),
    ("ledger.max_size", "900", "has no unit"),
    ("ledger.max_size", "900M", "is not a size"),
    ("ledger.max_size", "4095KiB", "is too small"),
    ("ledger.max_size", "true", "is not a size"),
    ("api.host", "0.0.0.0", "is reachable from other pods"),
    ("api.host", "'::'", "is reachable from other pods"),
    ("api.host", "10.0.0.1", "is reachable from other pods"),
    ("api.host", "example.com", "is reachable from other pods"),
    ("api.port", "65536", "is out of range"),
    ("api.port", "-1", NUMBER),
    ("api.port", "010", NUMBER),
    ("api.port", "0x10", NUMBER),
    ("api.port", "22:10", NUMBER),
    ("api.port", "8_787", NUMBER),
    ("api.port", "'8787'", "is text"),
    ("api.port", "8787.0", NUMBER),
    ("api.port", "null", NUMBER),
    ("api.socket", "/" + "x" * 107, "is longer than 107 bytes"),
    ("api.token_file", "5", TEXT),
    ("probes.host", "999.1.1.1", "is not an IP address or a host name"),
    ("probes.host", "'[::]'", "is not an IP address or a host name"),
    ("probes.host", "a..b", "is not an IP address or a host name"),
    ("probes.port", "8787", "is api.port too"),
    ("shutdown.timeout", "61m", "is out of range"),
    ("marketplace.region", "Frankfurt", "is not the name of an AWS Region"),
    ("marketplace.region", "us-east", "is not the name of an AWS Region"),
    ("marketplace.endpoint_url", "localhost:8789", "is not the URL of an HTTP service"),
    ("marketplace.endpoint_url", "ftp://host", "is not the URL of an HTTP service"),
    ("marketplace.endpoint_url", "http://", "is not the URL of an HTTP service"),
    ("marketplace.endpoint_url", "http://host:99999", "is not a URL"),
    ("marketplace.endpoint_url", "'http://[::1'", "is not a URL"),
    ("marketplace.endpoint_url", "http://host/path", "has more than scheme, host and port"),
    ("marketplace.endpoint_url", "'http://host/?'", "has more than scheme, host and port"),
    ("marketplace.endpoint_url", "http://me:pw@host", "contains a user name or password"),
    ("marketplace.endpoint_url", "http://127.0.0.1:8789", "has an effect only with mode: emulator"),
    ("marketplace.mode", "emulator", "is missing, and mode: emulator needs it"),
    ("marketplace.mode", "test", "is not one of live, emulator"),
    ("kubernetes.enabled", "1", "is not one of auto, true, false"),
    ("kubernetes.readiness_gate", "-x", "is not the type of a pod condition"),
    ("kubernetes.readiness_gate", "a/b/c", "is not the type of a pod condition"),
    ("kubernetes.events", "some", BOOLEAN),
    ("log.level", "warn", "is not one of debug, info, warning, error"),
    ("log.format", "on", "is not one of auto, console, json"),
]


@pytest.mark.parametrize(("key", "value", "reason"), UNFIT)
def test_unfit_value_is_refused(tmp_path: Path, key: str, value: str, reason: str) -> None:
    """A value that cannot work is one problem under its key, with the reason and a cure."""
    (problem,) = problems_of(tmp_path, {key: value})
    assert problem.key.startswith(key.partition(".")[0])
    assert problem.reason.startswith(reason)
    assert problem.cure


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("{pod_time: }", PodTime(CountWhile.ENTITLED)),
        ("{pod_time: {while: ready}}", PodTime(CountWhile.READY)),
        (
            "{resource: {what: cpu, container: app}}",
            Resource(ResourceKind.CPU, ResourceBound.LIMIT, "app"),
        ),
        (
            "{resource: {what: memory, by: request, container: app-1}}",
            Resource(ResourceKind.MEMORY, ResourceBound.REQUEST, "app-1"),
        ),
        ("{otlp: {metric: app.tokens}}", Otlp("app.tokens", (), Decimal(1))),
        (
            "{otlp: {metric: app.tokens, tags: {tenant: Customer, user.plan: Plan}, scale: '0.001'}}",
            Otlp("app.tokens", (("tenant", "Customer"), ("user.plan", "Plan")), Decimal("0.001")),
        ),
        ("{otlp: {metric: app.tokens, scale: 1000}}", Otlp("app.tokens", (), Decimal(1000))),
        (
            '{prometheus: {url: "http://[::1]", metric: a, match: {b: ".."}, tags: {c: C}, scale: "0.1", every: 30s}}',
            Prometheus(
                "http://[::1]",
                "a",
                (("b", ".."),),
                (("c", "C"),),
                Decimal("0.1"),
                timedelta(seconds=30),
            ),
        ),
        (
            '{prometheus: {url: "http://[::1]/metrics?a=1", metric: served_total, scale: 2}}',
            Prometheus("http://[::1]/metrics?a=1", "served_total", scale=Decimal(2)),
        ),
    ],
)
def test_source_is_read(tmp_path: Path, text: str, source: Source) -> None:
    """A source has the members of its kind; its aggregation is sum, named or not."""
    path = tmp_path / "config.yaml"
    for aggregation in ("", "aggregation: sum, "):
        dimensions = f"[{{name: a, {aggregation}source: {text}}}]"
        path.write_text(f"product: {{code: 0abc}}\nmetering: {{dimensions: {dimensions}}}\n")
        assert (Dimension("a", Aggregation.SUM, source),) == load(str(path), {}).metering.dimensions


FIT = [
    ("product.code", "'12345'"),
    ("product.code", "-aZ09/=:_.@"),
    ("product.trusted_codes", "[0abc123example]"),
    ("product.trusted_codes", "null"),
    ("product.pricing", "null"),
    ("product.id", "prod-abcdefghijklm"),
    ("product.id", "6a9b2f1c-0d3e-4f5a-8b7c-9d0e1f2a3b4c"),
    ("entitlement.check", "none"),
    ("license.refresh", "1m"),
    ("license.warn_before", "0"),
    ("license.warn_before", "365d"),
    ("license.region", "auto"),
    ("license.region", "us-gov-west-1"),
    ("entitlement.retry_for", "0s"),
    ("entitlement.remember_for", "744h"),
    ("metering.dimensions", f"[{', '.join(f'{{name: d{n}}}' for n in range(24))}]"),
    ("metering.dimensions", f"[{{name: {'x' * 255}}}]"),
    ("metering.dimensions", "[{name: 'on'}, {name: '1.0'}]"),
    ("metering.settle", "59m"),
    ("metering.window", "83m"),
    ("api.host", "127.8.9.10"),
    ("api.host", "'::1'"),
    ("api.port", "65535"),
    ("api.socket", "null"),
    ("api.socket", "/" + "x" * 106),
    ("probes.host", "pod-7.example.com"),
    ("probes.port", "0"),
    ("shutdown.timeout", "0"),
    ("marketplace.region", "us-gov-west-1"),
    ("kubernetes.enabled", "off"),
    ("kubernetes.enabled", "'true'"),
    ("kubernetes.readiness_gate", "Entitled"),
]


@pytest.mark.parametrize(("key", "value"), FIT)
def test_edge_value_is_taken(tmp_path: Path, key: str, value: str) -> None:
    """A value at the edge of what can work is no problem."""
    assert [] == problems_of(tmp_path, {key: value})


COMBINATIONS = [
    ({"product.public_key_version": "2"}, ["product.public_keys"]),
    ({"product.public_keys": "null"}, ["product.public_keys"]),
    ({"product.public_keys": "null", "entitlement.check": "register"}, ["product.public_keys"]),
    ({"product.public_keys": "null", "metering.dimensions": "[{name: a}]"}, []),
    ({"product.public_keys": "null", "product.pricing": "hourly"}, ["product.public_keys"]),
    ({"product.pricing": "custom"}, ["entitlement.check"]),
    ({"product.pricing": "custom", "metering.dimensions": "[{name: a}]"}, []),
    ({"product.pricing": "contract"}, ["product.id"]),
    ({"product.pricing": "contract", "product.id": "prod-abc"}, []),
    ({"product.pricing": "contract", "product.id": "abc"}, ["product.id"]),
    ({"product.pricing": "contract", "entitlement.check": "none"}, []),
    ({"entitlement.check": "license"}, ["product.id"]),
    ({"entitlement.check": "license", "product.id": "prod-abc"}, []),
    ({"product.pricing": "hourly", "entitlement.check": "register"}, []),
    ({"product.pricing": "hourly", "entitlement.check": "meter"}, ["entitlement.check"]),
    ({"product.pricing": "custom", "entitlement.check": "register"}, ["entitlement.check"]),
    ({"product.pricing": "custom", "entitlement.check": "license"}, ["entitlement.check"]),
    ({"product.pricing": "contract", "entitlement.check": "meter"}, ["entitlement.check", "product.id"]),
    (
        {"entitlement.check": "meter", "entitlement.probe": "license", "metering.dimensions": "[{name: a}]"},
        ["product.id"],
    ),
    (
        {
            "product.pricing": "custom",
            "entitlement.probe": "license",
            "metering.dimensions": "[{name: a, aggregation: foo}]",
        },
        ["metering.dimensions[0].aggregation", "product.id"],
    ),
    ({"entitlement.probe_dimension": "b", "metering.dimensions": "[{name: a}]"}, ["entitlement.probe_dimension"]),
    ({"entitlement.probe_dimension": "a", "metering.dimensions": "[{name: a}]"}, []),
    ({"license.require": "[{name: users}]"}, ["license.require"]),
    ({"license.tiers": "[pro]", "product.pricing": "hourly"}, ["license.tiers"]),
    ({"license.require": "[{name: users}]", "entitlement.check": "none"}, []),
    (
        {
            "product.pricing": "contract",
            "license.require": "[{name: users, hold: -1}, {name: seats, hold: 1.5}, {hold: 1}, {name: users}, users]",
            "license.tiers": "[basic, basic, 5]",
        },
        [
            "license.require[0].hold",
            "license.require[1].hold",
            "license.require[2].name",
            "license.require[3].name",
            "license.require[4]",
            "license.tiers[1]",
            "license.tiers[2]",
            "product.id",
        ],
    ),
    (
        {
            "product.pricing": "contract",
            "product.id": "prod-abc",
            "license.require": "[{name: pro, hold: 1}, {name: basic}]",
            "license.tiers": "[basic, pro]",
        },
        ["license.require[0].hold"],
    ),
    ({"product.public_keys": "null", "entitlement.check": "none"}, []),
    ({"product.trusted_codes": "[other]"}, ["product.code"]),
    ({"entitlement.check": "meter"}, ["entitlement.check"]),
    ({"entitlement.check": "meter", "metering.dimensions": "[{name: a}]"}, []),
    ({"entitlement.check": "meter", "metering.dimensions": "[a]"}, ["metering.dimensions[0]"]),
    ({"api.host": "localhost", "probes.host": "127.0.0.1", "probes.port": "8787"}, ["probes.port"]),
    ({"api.host": "localhost", "probes.host": "'::'", "probes.port": "8787"}, ["probes.port"]),
    ({"probes.host": "10.0.0.1", "probes.port": "8787"}, []),
    ({"probes.host": "'::'", "probes.port": "8787"}, ["probes.port"]),
    ({"api.host": "'::1'", "probes.port": "8787"}, ["probes.port"]),
    ({"api.host": "'::1'", "probes.host": "127.0.0.1", "probes.port": "8787"}, []),
    ({"probes.host": "127.0.0.1", "probes.port": "8787"}, ["probes.port"]),
    ({"probes.host": "localhost", "probes.port": "8787"}, ["probes.port"]),
    ({"probes.host": "pod.local", "probes.port": "8787"}, []),
    ({"api.port": "0", "probes.port": "0"}, []),
    ({"marketplace.mode": "emulator", "marketplace.endpoint_url": "https://emulator_1:8789"}, []),
    ({"metering.window": "2h", "metering.spread": "58m"}, ["metering.window"]),
    ({"metering.window": "2h", "metering.spread": "57m"}, []),
]


@pytest.mark.parametrize(("given", "expected"), COMBINATIONS)
def test_combinations_are_judged(tmp_path: Path, given: dict[str, str], expected: list[str]) -> None:
    """Settings that are right alone are refused where they do not go together, and only then."""
    assert expected == [problem.key for problem in problems_of(tmp_path, given)]


def test_duplicate_key_is_refused(tmp_path: Path) -> None:
    """A key that is given twice would hide one of its values."""
    path = tmp_path / "config.yaml"
    path.write_text("product: {code: a, public_keys: {1: /a.pem, '1': /b.pem}}\napi:\n  port: 1\n  port: 2\n")
    with pytest.raises(SettingsError) as caught:
        load(str(path), {})
    found = [(problem.key, problem.reason) for problem in caught.value.problems]
    expected = [
        ("product.public_keys.1", f"is given twice, first at {path}, line 1"),
        ("api.port", f"is given twice, first at {path}, line 3"),
    ]
    assert expected == found


def test_key_must_be_name(tmp_path: Path) -> None:
    """A list as a key is reported, not raised."""
    path = tmp_path / "config.yaml"
    path.write_text("product: {code: a, public_keys: {1: /a.pem}}\n? [api]\n: 1\n")
    with pytest.raises(SettingsError) as caught:
        load(str(path), {})
    assert ["has a key that is not a name"] == [problem.reason for problem in caught.value.problems]


def test_aliases_are_followed(tmp_path: Path) -> None:
    """An anchor may be used again, and shares that grow without end cost nothing."""
    path = tmp_path / "config.yaml"
    bomb = "".join(f"  - &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 40))
    path.write_text(
        "product: {code: &code abc, public_keys: {1: /a.pem}, trusted_codes: [*code]}\nbomb:\n  - &b0 [x]\n" + bomb
    )
    with pytest.raises(SettingsError) as caught:
        load(str(path), {})
    assert [("bomb", "a list of 40")] == [(problem.key, problem.value) for problem in caught.value.problems]
