"""Puts one process together from its configuration: which part gets what.

Starts nothing and asks nobody; `sidecar.app.lifecycle` leads the parts through their life.
"""

import platform
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import structlog

from sidecar import __version__
from sidecar.adapters.clock import EmulatorClock, SystemClock
from sidecar.adapters.http.api import Address, ApiServer, Services
from sidecar.adapters.http.probes import ProbeServer
from sidecar.adapters.kubernetes.account import name_account
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.adapters.metrics import expose
from sidecar.adapters.signature import PublicKeys
from sidecar.domain.metering.rules import MeteringPolicy, MeteringRules
from sidecar.domain.status import Finding
from sidecar.marketplace import Endpoint, Identity, MarketplaceMeteringClient, find_identity, without_effect
from sidecar.services.health import HealthReport, Setting
from sidecar.services.intake import UsageIntake
from sidecar.services.registrar import Registrar, RegistrarSettings
from sidecar.services.submitter import Submitter
from sidecar.settings import EntitlementSettings, Mode, Settings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """What one process is made of."""

    client: MarketplaceMeteringClient
    registrar: Registrar
    submitter: Submitter
    intake: UsageIntake
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
    passing: Callable[[], Sequence[Finding]],
    running: Callable[[], bool],
) -> Parts:
    """Make the parts of one process.

    Args:
        settings: The configuration.
        environ: The environment, which tells the process's identity.
        endpoint: Where AWS is.
        keys: The product's public keys.
        clock: The clock that goes with the endpoint.
        ledger: The open ledger.
        passing: Returns what is wrong at an instant beyond what the parts know.
        running: Tells whether the intake takes usage.
    """
    # An emulator's answers are dated by its machine, and its own clock may run elsewhere.
    client = MarketplaceMeteringClient(endpoint, clock.now if endpoint.emulator_url is None else None)
    refused: Counter[str] = Counter()
    product = settings.product
    registrar = Registrar(
        settings=RegistrarSettings(
            product_code=product.code,
            public_key_version=product.public_key_version,
            **_copied(settings.entitlement, EntitlementSettings),
            dimensions=tuple(dimension.name for dimension in settings.metering.dimensions),
            service_account=name_account(),
            emulator=settings.marketplace.mode is Mode.EMULATOR,
        ),
        client=client,
        signatures=keys,
        clock=clock,
        evidence=ledger,
        pod=ledger.pod,
        draw=random.random,
        log=log,
        refresh_clock=clock.refresh if isinstance(clock, EmulatorClock) else None,
    )
    intake = UsageIntake(store=ledger, gate=registrar, clock=clock)
    submitter = Submitter(
        store=ledger,
        client=client,
        gate=registrar,
        clock=clock,
        rules=ledger.rules,
        pod=ledger.pod,
        draw=random.random,
        courses=ledger.courses,
        refusing_since=lambda: ledger.room_watch.refusing_since,
    )
    identity = find_identity(environ, read=_read)
    _name_ignored(settings, environ)
    health = HealthReport(
        setting=Setting(
            settings=settings,
            versions=_versions(),
            region=endpoint.region,
            credentials=identity.kind,
            started_at=clock.now(),
        ),
        registrar=registrar,
        submitter=submitter,
        intake=intake,
        ledger=ledger,
        clock=clock,
        running=running,
        refused=refused,
        clock_skew=lambda: client.clock_skew,
        lasting=_findings(settings, identity, clock),
        passing=passing,
        room=lambda: ledger.room_watch.room,
    )
    return Parts(
        client=client,
        registrar=registrar,
        submitter=submitter,
        intake=intake,
        health=health,
        api=ApiServer(
            Address(settings.api.host, settings.api.port, settings.api.socket, settings.api.token_file),
            Services(clock=clock, gate=registrar, intake=intake, books=ledger, health=health, refused=refused),
            ledger.rules.dimensions,
        ),
        probes=ProbeServer(host=settings.probes.host, port=settings.probes.port, health=health, expose=expose),
    )


def _findings(settings: Settings, identity: Identity, clock: SystemClock | EmulatorClock) -> list[Finding]:
    """Return what Marketplace will not take about this process's identity, also told in the log."""
    if settings.marketplace.mode is Mode.EMULATOR or identity.accepted:
        return []
    shadowed = f"; it hides {identity.shadows}" if identity.shadows else ""
    account = name_account()
    runs_as = f"; the pod runs as the service account {account}" if account is not None else ""
    finding = Finding("identity-not-accepted", identity.detail + shadowed + runs_as, identity.cure, clock.now())
    log.error("identity.not_accepted", kind=identity.kind, detail=finding.detail, cure=finding.cure)
    return [finding]


def _name_ignored(settings: Settings, environ: Mapping[str, str]) -> None:
    """Log what is set for the SDK and has no effect, so that an operator does not rely on it."""
    if settings.marketplace.mode is Mode.EMULATOR:
        return
    names = without_effect(environ, read=_read, is_folder=lambda path: Path(path).is_dir())
    if names:
        log.warning("aws.settings_ignored", names=names, cure="Remove them: calls go to AWS's own hosts by https.")


def _versions() -> dict[str, str]:
    packages = {package: metadata.version(package) for package in ("aiohttp", "boto3")}
    return {"sidecar": __version__, "python": platform.python_version(), **packages}


def rules_of(settings: Settings) -> MeteringRules:
    """Return the rules that the configuration sets for metering."""
    return MeteringRules(
        product_code=settings.product.code,
        dimensions={dimension.name: dimension for dimension in settings.metering.dimensions},
        **_copied(settings.metering, MeteringPolicy),
    )


def _copied(group: Any, base: type[Any]) -> dict[str, Any]:
    """Return the members of a group that its base class declares, by name."""
    return {member.name: getattr(group, member.name) for member in fields(base)}


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
