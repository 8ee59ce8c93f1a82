"""Puts the gate of a contract price together. Loaded for contract prices alone, because it brings more of the SDK."""

import random
from dataclasses import dataclass

import structlog

from sidecar.adapters.clock import EmulatorClock
from sidecar.adapters.kubernetes.account import name_account
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.entitlement.licensing import Terms
from sidecar.domain.entitlement.states import EntitlementSource
from sidecar.marketplace import Endpoint
from sidecar.services.app_checkouts import AppCheckouts
from sidecar.services.checkout_keeper import CheckoutKeeper
from sidecar.services.faults import FaultRegister
from sidecar.services.license_calls import LicenseCalls
from sidecar.services.license_clients import RegionalClients
from sidecar.services.license_keeper import LicenseChoices, LicenseKeeper
from sidecar.services.license_looks import LicenseLooks
from sidecar.settings import Mode, Settings
from sidecar.settings.values import AUTO
from sidecar.system_clock import SystemClock

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LicenseGate:
    """The gate, what the app asks of it, and the clients that it calls by."""

    keeper: LicenseKeeper
    checkouts: AppCheckouts
    clients: RegionalClients


def assemble_license(
    settings: Settings,
    endpoint: Endpoint,
    clock: SystemClock | EmulatorClock,
    ledger: Ledger,
    faults: FaultRegister,
) -> LicenseGate:
    """Make the gate; the arguments are those of `sidecar.app.composition.assemble`."""
    emulated = settings.marketplace.mode is Mode.EMULATOR
    sku = settings.product.id or ""
    policy = settings.license
    clients = RegionalClients(endpoint, None if emulated else clock.now)
    calls = LicenseCalls(clients.connect)
    looks = LicenseLooks(
        lister=calls,
        sku=sku,
        policy=policy,
        region=endpoint.region_name if policy.region == AUTO else policy.region,
        clock=clock,
        any_issuer=emulated,
    )
    checkouts = CheckoutKeeper(
        store=ledger.checkouts,
        service=calls,
        clock=clock,
        random=random.random,
        log=log,
        regions=lambda: looks.checkout_regions,
    )
    keeper = LicenseKeeper(
        choices=LicenseChoices(
            terms=Terms(
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
        looks=looks,
        checkouts=checkouts,
        store=ledger.checkouts,
        clock=clock,
        faults=faults,
        random=random.random,
        log=log,
    )
    app = AppCheckouts(keeper=keeper, store=ledger.checkouts, clock=clock, sku=sku, tiers=policy.tiers)
    return LicenseGate(keeper, app, clients)
