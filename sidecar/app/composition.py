"""Puts one process together from its configuration: which part gets what.

Starts nothing and makes no call; `sidecar.app.lifecycle` runs the components.
"""

import logging
import platform
import random
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import structlog

from sidecar import __version__
from sidecar.adapters.clock import EmulatorClock
from sidecar.adapters.counter_pages import fetch_page
from sidecar.adapters.http.api import Address, ApiServer, Services
from sidecar.adapters.http.probes import ProbeServer
from sidecar.adapters.kubernetes.account import name_account
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.metrics import expose
from sidecar.adapters.resource_files import ResourceFiles
from sidecar.adapters.signature import PublicKeys
from sidecar.checks.identity import judge_identity, read_file
from sidecar.checks.price import check_price
from sidecar.checks.sdk_variables import find_ignored
from sidecar.domain.check_result import CheckStatus
from sidecar.domain.metering.rules import MeteringPolicy, MeteringRules
from sidecar.domain.metering.sources import CounterSource
from sidecar.domain.policy import StartProbe as StartProbeKind
from sidecar.marketplace import Endpoint, Identity, MarketplaceMeteringClient, find_identity
from sidecar.marketplace.service_clock import ServiceClock
from sidecar.services.counting import Counters
from sidecar.services.faults import FaultLog, FaultRegister
from sidecar.services.health import HealthReport, Setting
from sidecar.services.intake import UsageIntake
from sidecar.services.measuring import Measuring
from sidecar.services.otlp_intake import OtlpIntake
from sidecar.services.ports import Gatekeeper, SubscriptionProbe
from sidecar.services.registrar import Registrar, RegistrarSettings
from sidecar.services.scraping import Scraping
from sidecar.services.start_probe import StartProbe
from sidecar.services.submitter import Submitter
from sidecar.settings import EntitlementCheck, EntitlementSettings, Mode, Settings
from sidecar.system_clock import SystemClock

if TYPE_CHECKING:
    from sidecar.app.license_gate import LicensedStart, LicenseGate

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Components:
    """What one process is made of."""

    client: MarketplaceMeteringClient
    gate: Gatekeeper
    licensed: "LicenseGate | None"
    """The gate of a contract price; None for every other one."""
    licensed_start: "LicensedStart | None"
    """The start probe by license of a custom price; None for every other probe."""
    submitter: Submitter
    intake: UsageIntake
    measuring: Measuring
    counters: Counters
    scraping: Scraping
    health: HealthReport
    api: ApiServer
    probes: ProbeServer


def assemble(
    settings: Settings,
    environ: Mapping[str, str],
    endpoint: Endpoint,
    keys: PublicKeys,
    clock: SystemClock | EmulatorClock,
    ledger: Ledger,
    *,
    faults: FaultRegister,
    running: Callable[[], bool],
) -> Components:
    """Make the components of one process.

    `clock` is the one that goes with the endpoint; `running` returns whether the intake accepts usage.
    """
    # An emulator's answers are dated by its machine, and its own clock may run elsewhere.
    service_clock = ServiceClock(clock.now) if endpoint.endpoint_url is None else None
    client = MarketplaceMeteringClient(endpoint, service_clock)
    refused: Counter[str] = Counter()
    licensed: LicenseGate | None = None
    licensed_start: LicensedStart | None = None
    if settings.asks_license:
        from sidecar.app import license_gate  # noqa: PLC0415 - only where License Manager is called

        if settings.probes_license:
            licensed_start = license_gate.assemble_license_probe(settings, endpoint, service_clock, clock, ledger)
        else:
            licensed = license_gate.assemble_license(settings, endpoint, service_clock, clock, ledger, faults)
    if licensed is None:
        probe = _record_probe(settings, ledger, client, clock) if licensed_start is None else licensed_start.probe
        gate: Gatekeeper = _make_registrar(settings, client, keys, clock, ledger, probe)
    else:
        gate = licensed.keeper
    intake = UsageIntake(store=ledger, gate=gate, clock=clock)
    submitter = Submitter(
        store=ledger,
        client=client,
        gate=gate,
        clock=clock,
        rules=ledger.rules,
        pod=ledger.pod,
        random=random.random,
        faults=faults,
        courses=ledger.courses,
        refusing_since=lambda: ledger.room_watch.refusing_since,
    )
    measuring = Measuring(
        dimensions=settings.metering.dimensions,
        store=ledger,
        clock=clock,
        is_entitled=lambda: gate.entitlement().entitled,
        is_ready=lambda: health.ready().ok,
        read=ResourceFiles(),
        faults=faults,
        run=secrets.token_hex(8),
    )
    counters = Counters(
        origins={
            dimension.name: dimension.source.origin
            for dimension in settings.metering.dimensions
            if isinstance(dimension.source, CounterSource)
        },
        store=ledger,
        clock=clock,
        system=SystemClock(),
    )
    exports = OtlpIntake(
        dimensions=settings.metering.dimensions,
        counters=counters,
        gate=gate,
        clock=clock,
        faults=faults,
        arrived=intake.note_arrival,
    )
    scraping = Scraping(
        dimensions=settings.metering.dimensions,
        counters=counters,
        gate=gate,
        clock=clock,
        fetch=fetch_page,
        faults=faults,
    )
    identity = find_identity(environ, read=read_file)
    _judge_identity(settings, identity, faults, clock.now())
    _name_ignored(settings, environ)
    health = HealthReport(
        setting=Setting(
            settings=settings,
            versions=_versions(),
            region=endpoint.region_name,
            credentials=identity.kind,
            started_at=clock.now(),
        ),
        gate=gate,
        submitter=submitter,
        intake=intake,
        ledger=ledger,
        clock=clock,
        running=running,
        refused=refused,
        clock_skew=lambda: None if service_clock is None else service_clock.skew,
        faults=faults,
        room=lambda: ledger.room_watch.room,
        room_findings=ledger.room_watch.findings,
        sources=lambda: [*measuring.views, *scraping.views, *exports.views],
    )
    return Components(
        client=client,
        gate=gate,
        licensed=licensed,
        licensed_start=licensed_start,
        submitter=submitter,
        intake=intake,
        measuring=measuring,
        counters=counters,
        scraping=scraping,
        health=health,
        api=ApiServer(
            Address(settings.api.host, settings.api.port, settings.api.socket, settings.api.token_file),
            Services(
                clock=clock,
                gate=gate,
                intake=intake,
                books=ledger,
                health=health,
                refused=refused,
                licenses=None if licensed is None else licensed.checkouts,
                exports=exports if exports.views else None,
            ),
            ledger.rules.dimensions,
        ),
        probes=ProbeServer(host=settings.probes.host, port=settings.probes.port, health=health, expose=expose),
    )


def _make_registrar(
    settings: Settings,
    client: MarketplaceMeteringClient,
    keys: PublicKeys,
    clock: SystemClock | EmulatorClock,
    ledger: Ledger,
    probe: SubscriptionProbe | None,
) -> Registrar:
    product = settings.product
    return Registrar(
        settings=RegistrarSettings(
            product_code=product.code,
            public_key_version=product.public_key_version,
            **_copied(replace(settings.entitlement, check=settings.check), EntitlementSettings),
            dimensions=tuple(dimension.name for dimension in settings.metering.dimensions),
            service_account=name_account(),
            emulator=settings.marketplace.mode is Mode.EMULATOR,
        ),
        client=client,
        signatures=keys,
        clock=clock,
        evidence=ledger,
        pod=ledger.pod,
        probe=probe,
        random=random.random,
        log=log,
        refresh_clock=clock.refresh if isinstance(clock, EmulatorClock) else None,
    )


def _record_probe(
    settings: Settings, ledger: Ledger, client: MarketplaceMeteringClient, clock: SystemClock | EmulatorClock
) -> StartProbe | None:
    """Return the start probe of a custom price, where a record proves the subscription."""
    entitlement = settings.entitlement
    if settings.check is not EntitlementCheck.METER or entitlement.probe is not StartProbeKind.RECORD:
        return None
    first = next((dimension.name for dimension in settings.metering.dimensions), None)
    return StartProbe(
        store=ledger,
        client=client,
        clock=clock,
        dimension=entitlement.probe_dimension or first,
        preferred=entitlement.probe_hour,
    )


def _judge_identity(settings: Settings, identity: Identity, faults: FaultRegister, now: datetime) -> None:
    """Register an identity that AWS Marketplace Metering does not accept."""
    if settings.marketplace.mode is Mode.EMULATOR or identity.accepted or not settings.meters:
        return
    result = judge_identity(identity, name_account())
    report = FaultLog(begins="identity.not_accepted", details={"kind": identity.kind}, level=logging.ERROR)
    faults.observe("identity-not-accepted", result.found, result.cure, now, report=report)


def _name_ignored(settings: Settings, environ: Mapping[str, str]) -> None:
    """Log what is set for the SDK and has no effect: an operator must not rely on it."""
    if settings.marketplace.mode is Mode.EMULATOR:
        return
    names = find_ignored(environ)
    if names:
        log.warning("aws.settings_ignored", names=names, cure="Remove them: calls go to AWS's own hosts by https.")


def name_price(settings: Settings) -> None:
    """Log a price that the configuration leaves in doubt."""
    result = check_price(settings)
    if result.status is CheckStatus.WARN:
        log.warning("product.price_in_doubt", detail=result.found, cure=result.cure)


def _versions() -> dict[str, str]:
    packages = {package: metadata.version(package) for package in ("aiohttp", "boto3")}
    return {"sidecar": __version__, "python": platform.python_version(), **packages}


def rules_of(settings: Settings) -> MeteringRules:
    """Return the rules that the configuration sets for metering."""
    return MeteringRules(
        product_code=settings.product.code,
        dimensions={dimension.name: dimension for dimension in settings.metering.dimensions},
        overage=settings.check is EntitlementCheck.LICENSE,
        **_copied(settings.metering, MeteringPolicy),
    )


def _copied(group: Any, base: type[Any]) -> dict[str, Any]:
    """Return the members of a group that its base class declares, by name."""
    return {member.name: getattr(group, member.name) for member in fields(base)}
