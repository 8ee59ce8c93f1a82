"""Puts together what asks License Manager: the gate of a contract price, and the start probe by license.

Loaded where one of them is configured, because it brings more of the SDK.
"""

import random
from dataclasses import dataclass

import structlog

from sidecar.adapters.clock import EmulatorClock
from sidecar.adapters.kubernetes.account import name_account
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.entitlement.licensing import LicenseTerms
from sidecar.domain.entitlement.states import EntitlementSource
from sidecar.marketplace import Endpoint
from sidecar.marketplace.service_clock import ServiceClock
from sidecar.services.app_checkouts import AppCheckouts
from sidecar.services.checkout_keeper import CheckoutKeeper
from sidecar.services.faults import FaultRegister
from sidecar.services.license_calls import LicenseCalls
from sidecar.services.license_clients import RegionalClients
from sidecar.services.license_finder import LicenseFinder
from sidecar.services.license_keeper import LicenseChoices, LicenseKeeper
from sidecar.services.license_probe import LicenseProbe
from sidecar.settings import Mode, Settings
from sidecar.system_clock import SystemClock

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LicenseGate:
    """The gate, what the app asks of it, and the clients that it calls by."""

    keeper: LicenseKeeper
    checkouts: AppCheckouts
    clients: RegionalClients


@dataclass(frozen=True, slots=True)
class LicensedStart:
    """The start probe by license, and the clients that it calls by."""

    probe: LicenseProbe
    clients: RegionalClients


def assemble_license(
    settings: Settings,
    endpoint: Endpoint,
    service_clock: ServiceClock | None,
    clock: SystemClock | EmulatorClock,
    ledger: Ledger,
    faults: FaultRegister,
) -> LicenseGate:
    """Make the gate; the arguments are those of `sidecar.app.composition.assemble`."""
    emulated = settings.marketplace.mode is Mode.EMULATOR
    sku = settings.product.id or ""
    policy = settings.license
    clients = RegionalClients(endpoint, service_clock)
    finder, checkouts = _make_calls(settings, endpoint, clients, clock, ledger)
    keeper = LicenseKeeper(
        choices=LicenseChoices(
            terms=LicenseTerms(
                pod=ledger.pod,
                product_code=settings.product.code,
                public_key_version=settings.product.public_key_version,
                sku=sku,
                policy=policy,
                source=EntitlementSource.EMULATOR if emulated else EntitlementSource.LIVE,
                retry_for=settings.entitlement.retry_for,
                remember_for=settings.entitlement.remember_for,
            ),
            on_denied=settings.entitlement.on_denied,
            service_account=name_account(),
        ),
        finder=finder,
        checkouts=checkouts,
        store=ledger.checkouts,
        clock=clock,
        faults=faults,
        random=random.random,
        log=log,
    )
    app = AppCheckouts(keeper=keeper, store=ledger.checkouts, clock=clock, tiers=policy.tiers)
    return LicenseGate(keeper, app, clients)


def assemble_license_probe(
    settings: Settings,
    endpoint: Endpoint,
    service_clock: ServiceClock | None,
    clock: SystemClock | EmulatorClock,
    ledger: Ledger,
) -> LicensedStart:
    """Make the start probe of a custom price; the arguments are those of `sidecar.app.composition.assemble`."""
    clients = RegionalClients(endpoint, service_clock)
    finder, checkouts = _make_calls(settings, endpoint, clients, clock, ledger)
    sku, policy = settings.product.id or "", settings.license
    probe = LicenseProbe(finder=finder, checkouts=checkouts, sku=sku, policy=policy, clock=clock)
    return LicensedStart(probe, clients)


def _make_calls(
    settings: Settings, endpoint: Endpoint, clients: RegionalClients, clock: SystemClock | EmulatorClock, ledger: Ledger
) -> tuple[LicenseFinder, CheckoutKeeper]:
    calls = LicenseCalls(clients.connect)
    finder = LicenseFinder.configured(settings, calls, endpoint.region_name, clock)
    checkouts = CheckoutKeeper(
        sku=settings.product.id or "",
        store=ledger.checkouts,
        service=calls,
        clock=clock,
        random=random.random,
        log=log,
        regions=lambda: finder.checkout_regions,
    )
    return finder, checkouts
