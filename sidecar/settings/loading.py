"""The configuration as a whole: reads every group, then judges the settings against each other.

Every default stands in `groups`; what a single value may be stands in `values`. Refuses to stop at the first problem,
and compares two settings only when both hold what was configured.
"""

from collections.abc import Mapping
from datetime import timedelta

from sidecar.domain.policy import EntitlementCheck, LatePolicy, OnDenied, OnFailing, QuantityKind
from sidecar.settings import file, values
from sidecar.settings.compatibility import compare
from sidecar.settings.environment import overrides
from sidecar.settings.groups import (
    ApiSettings,
    EntitlementSettings,
    KubernetesSettings,
    KubernetesUse,
    LedgerSettings,
    LogFormat,
    LogLevel,
    LogSettings,
    MarketplaceSettings,
    MeteringSettings,
    Mode,
    ProbeSettings,
    Settings,
    ShutdownSettings,
)
from sidecar.settings.listing import dimensions, product
from sidecar.settings.problems import SettingsError
from sidecar.settings.section import Reading, Section
from sidecar.settings.tree import Entry

_NEVER = timedelta()
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_LEAST_LEDGER = 4 * 2**20
"""Bytes; below it the reserve would leave too little for usage."""
_DAY = timedelta(days=1)


def read(path: str | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings of a file under the environment's overrides.

    Args:
        path: The file; None takes SIDECAR_CONFIG, else the default path.
        environ: The variables of the process.

    Raises:
        SettingsError: With every problem found.
    """
    tree, problems = file.read(*file.locate(path, environ))
    entries, refused = overrides(environ)
    reading = Reading(dict(entries))
    settings = _settings(reading, tree)
    compare(settings, reading)
    reading.report_unknown()
    # Without the file everything looks missing; only what the variables say can be judged.
    problems += refused + [problem for problem in reading.problems if tree is not None or problem.where in environ]
    if problems:
        raise SettingsError(problems, None if tree is None else settings, reading.faulty)
    return settings


def _settings(reading: Reading, tree: Entry | None) -> Settings:
    root = Section(reading, "", tree)
    settings = Settings(
        product=product(reading, root.group("product")),
        entitlement=_entitlement(root.group("entitlement")),
        metering=_metering(reading, root.group("metering")),
        ledger=_ledger(root.group("ledger")),
        api=_api(root.group("api")),
        probes=_probes(root.group("probes")),
        shutdown=_shutdown(root.group("shutdown")),
        marketplace=_marketplace(root.group("marketplace")),
        kubernetes=_kubernetes(root.group("kubernetes")),
        log=_log(root.group("log")),
    )
    root.close()
    return settings


def _entitlement(section: Section) -> EntitlementSettings:
    default = EntitlementSettings()
    settings = EntitlementSettings(
        check=section.read("check", default.check, values.choice(EntitlementCheck)),
        on_denied=section.read("on_denied", default.on_denied, values.choice(OnDenied)),
        retry_for=section.read(
            "retry_for",
            default.retry_for,
            values.duration(_NEVER, _DAY, "a pod that is not registered within hours may not be metered"),
        ),
        remember_for=section.read(
            "remember_for",
            default.remember_for,
            values.duration(_NEVER, 31 * _DAY, "an entitlement may have ended since"),
        ),
    )
    section.close()
    return settings


def _metering(reading: Reading, section: Section) -> MeteringSettings:
    default = MeteringSettings()
    below_an_hour = values.duration(_NEVER, 59 * _MINUTE, "an hour's record must be due before the next one's")
    settings = MeteringSettings(
        dimensions=dimensions(reading, section),
        quantity=section.read("quantity", default.quantity, values.choice(QuantityKind)),
        settle=section.read("settle", default.settle, below_an_hour),
        spread=section.read("spread", default.spread, below_an_hour),
        window=section.read(
            "window",
            default.window,
            values.duration(
                _HOUR, 6 * _HOUR, "AWS refuses usage older than 6h, and hours are reported when they ended"
            ),
        ),
        late=section.read("late", default.late, values.choice(LatePolicy)),
        report_zero=section.read("report_zero", default.report_zero, values.flag),
        failing_after=section.read(
            "failing_after",
            default.failing_after,
            values.duration(_SECOND, 7 * _DAY, "usage is lost to billing 6h after its hour began"),
        ),
        on_failing=section.read("on_failing", default.on_failing, values.choice(OnFailing)),
    )
    section.close()
    return settings


def _ledger(section: Section) -> LedgerSettings:
    default = LedgerSettings()
    settings = LedgerSettings(
        path=section.read("path", default.path, values.ledger_path),
        max_size=section.read("max_size", default.max_size, values.optional(values.size(_LEAST_LEDGER))),
    )
    section.close()
    return settings


def _api(section: Section) -> ApiSettings:
    default = ApiSettings()
    settings = ApiSettings(
        host=section.read("host", default.host, values.loopback_host),
        port=section.read("port", default.port, values.whole(0, 65535)),
        socket=section.read("socket", default.socket, values.optional(values.socket_path)),
        token_file=section.read("token_file", default.token_file, values.optional(values.path)),
    )
    section.close()
    return settings


def _probes(section: Section) -> ProbeSettings:
    default = ProbeSettings()
    settings = ProbeSettings(
        host=section.read("host", default.host, values.host),
        port=section.read("port", default.port, values.whole(0, 65535)),
    )
    section.close()
    return settings


def _shutdown(section: Section) -> ShutdownSettings:
    default = ShutdownSettings()
    because = "a pod's grace period rarely is longer"
    settings = ShutdownSettings(section.read("timeout", default.timeout, values.duration(_NEVER, _HOUR, because)))
    section.close()
    return settings


def _marketplace(section: Section) -> MarketplaceSettings:
    default = MarketplaceSettings()
    settings = MarketplaceSettings(
        region=section.read("region", default.region, values.optional(values.region)),
        endpoint_url=section.read("endpoint_url", default.endpoint_url, values.optional(values.endpoint_url)),
        mode=section.read("mode", default.mode, values.choice(Mode)),
    )
    section.close()
    return settings


def _kubernetes(section: Section) -> KubernetesSettings:
    default = KubernetesSettings()
    settings = KubernetesSettings(
        enabled=section.read("enabled", default.enabled, values.choice(KubernetesUse)),
        readiness_gate=section.read("readiness_gate", default.readiness_gate, values.optional(values.condition)),
        events=section.read("events", default.events, values.flag),
    )
    section.close()
    return settings


def _log(section: Section) -> LogSettings:
    default = LogSettings()
    settings = LogSettings(
        level=section.read("level", default.level, values.choice(LogLevel)),
        format=section.read("format", default.format, values.choice(LogFormat)),
    )
    section.close()
    return settings
