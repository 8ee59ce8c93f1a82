"""How the proof of a registered pod is kept recent, and that nothing else follows from it."""

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.entitlement.binding import is_bound
from sidecar.domain.entitlement.states import EntitlementSource, State
from sidecar.domain.policy import EntitlementCheck, OnDenied, StartProbe
from sidecar.marketplace.errors import MarketplaceError, NoAnswer
from sidecar.marketplace.service_errors import (
    CustomerNotEntitledException,
    InvalidProductCodeException,
    ThrottlingException,
)
from sidecar.services.registrar import RegistrarSettings

if TYPE_CHECKING:
    from tests.conftest import Signer
    from tests.services.registrar.conftest import Scene

SETTINGS = RegistrarSettings(product_code="0abc123example", public_key_version=1, dimensions=("requests", "seats"))
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


async def test_long_life_survives_outage(scene: "Scene") -> None:
    """A pod that has lived for 26 hours restarts while AWS is away, and is entitled by its newest proof."""
    await scene.start()
    await scene.clock.advance(26 * HOUR)
    proof = scene.shelf.kept
    assert proof is not None
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start()

    found = registrar.entitlement()
    assert (State.ENTITLED, EntitlementSource.REMEMBERED) == (found.state, found.source)
    assert proof.registered_at + DAY == found.until
    assert scene.clock.now() - proof.registered_at < 12 * HOUR


async def test_renewals_are_seldom_and_bound(scene: "Scene") -> None:
    """A registered pod is asked for again between two and four times a day, over a fresh nonce that names it."""
    await scene.start()
    await scene.clock.advance(2 * DAY)

    nonces = [request.nonce or "" for request in scene.marketplace.registrations]
    assert 4 <= len(nonces) - 1 <= 8
    assert len(nonces) == len(set(nonces))
    assert all(is_bound(nonce, scene.pod) for nonce in nonces)


@pytest.mark.parametrize(
    "error",
    [
        NoAnswer(),
        ThrottlingException(),
        CustomerNotEntitledException(),
        InvalidProductCodeException(),
    ],
    ids=["no-answer", "throttled", "not-entitled", "product-code"],
)
async def test_failed_renewal_changes_nothing(scene: "Scene", error: MarketplaceError) -> None:
    """A renewal that fails or is refused leaves entitlement and proof as they are, and is tried again an hour later."""
    registrar = await scene.start(replace(SETTINGS, on_denied=OnDenied.EXIT))
    before, proof = registrar.entitlement(), scene.shelf.kept
    scene.marketplace.says(error)
    await scene.clock.advance(12 * HOUR)
    calls = scene.marketplace.called_at[1:]

    assert before == registrar.entitlement()
    assert proof == scene.shelf.kept
    assert calls
    assert all(HOUR <= late - early for early, late in itertools.pairwise(calls))
    assert "registration.renewal_failed" in scene.events()
    scene.marketplace.says(None)
    await scene.clock.advance(2 * HOUR)
    assert proof != scene.shelf.kept


async def test_wrong_renewal_changes_nothing(scene: "Scene", stranger: "Signer") -> None:
    """A renewal that another key signed neither denies the pod nor replaces its proof."""
    registrar = await scene.start()
    before, proof = registrar.entitlement(), scene.shelf.kept
    scene.marketplace.seller = stranger
    await scene.clock.advance(12 * HOUR)

    assert before == registrar.entitlement()
    assert proof == scene.shelf.kept


async def test_renewal_keeps_suspension(scene: "Scene") -> None:
    """A renewed proof does not lift a suspension: only a record that AWS accepts does."""
    registrar = await scene.start()
    await registrar.on_submission(accepted=False)
    await scene.clock.advance(DAY)

    assert len(scene.marketplace.registrations) > 1
    assert State.SUSPENDED is registrar.entitlement().state
    assert scene.shelf.kept is not None
    assert scene.shelf.kept.suspended_at is not None


@pytest.mark.parametrize(
    "settings",
    [
        replace(SETTINGS, remember_for=timedelta()),
        replace(SETTINGS, remember_for=HOUR),
        replace(SETTINGS, check=EntitlementCheck.NONE),
        replace(SETTINGS, check=EntitlementCheck.METER, probe=StartProbe.DRY_RUN),
    ],
    ids=["never", "short", "no check", "meter"],
)
async def test_nothing_to_renew(scene: "Scene", settings: RegistrarSettings) -> None:
    """Without a memory of two hours or more, and with checks that sign nothing, RegisterUsage is not called again."""
    await scene.start(settings)
    calls = len(scene.marketplace.registrations)
    await scene.clock.advance(3 * DAY)

    assert calls == len(scene.marketplace.registrations)


async def test_clock_back_does_not_delay_renewal(scene: "Scene") -> None:
    """A clock that steps back by days does not put the renewal off by days."""
    scene.recheck_after = timedelta(milliseconds=1)
    await scene.start()
    scene.clock.step(-3 * DAY)
    async with asyncio.timeout(60):
        while (scene.clock.next_instant() or scene.clock.now()) > scene.clock.now() + DAY:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.001)
    await scene.clock.advance(13 * HOUR)

    assert 2 == len(scene.marketplace.registrations)


@pytest.mark.parametrize("step", [3 * HOUR, -3 * HOUR], ids=["forwards", "backwards"])
async def test_clock_stepped_during_renewal(scene: "Scene", step: timedelta) -> None:
    """A proof whose call saw the clock step is good after a restart: it is judged by the time that AWS signed."""
    true = type(scene.clock)(scene.clock.now())
    scene.marketplace.clock = true
    scene.marketplace.script = [lambda: scene.clock.step(step)]
    await scene.start()
    scene.clock.step(-step)
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start()

    assert true.now() + DAY == registrar.entitlement().until


async def test_memory_counts_from_signed_time(scene: "Scene") -> None:
    """The memory counts from the time that AWS signed, not from the time that stands next to the signature."""
    await scene.start()
    assert scene.shelf.kept is not None
    signed_at = scene.shelf.kept.registered_at
    scene.shelf.kept = replace(scene.shelf.kept, registered_at=signed_at + timedelta(minutes=4))
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start()

    assert signed_at + DAY == registrar.entitlement().until


METER = replace(SETTINGS, check=EntitlementCheck.METER, probe=StartProbe.DRY_RUN)


async def test_accepted_record_is_remembered(scene: "Scene") -> None:
    """With check: meter the last record that AWS accepted lets a restarted pod in for `remember_for`."""
    registrar = await scene.start(METER)
    await registrar.on_submission(accepted=True)
    scene.shelf.accepted_at = scene.clock.now()
    await scene.clock.advance(HOUR)
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start(METER)
    found = registrar.entitlement()
    await scene.clock.advance(23 * HOUR)

    assert (State.ENTITLED, EntitlementSource.REMEMBERED) == (found.state, found.source)
    assert scene.shelf.accepted_at + DAY == found.until
    assert State.UNAVAILABLE is registrar.entitlement().state


async def test_dry_run_is_not_remembered(scene: "Scene") -> None:
    """With check: meter a dry run alone leaves nothing to remember."""
    await scene.start(METER)
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start(METER)

    assert State.PENDING is registrar.entitlement().state


async def test_refusal_voids_accepted_record(scene: "Scene") -> None:
    """With check: meter a refusal voids what AWS accepted before it, and a later record counts again."""
    registrar = await scene.start(METER)
    await registrar.on_submission(accepted=True)
    scene.shelf.accept(scene.clock.now())
    scene.marketplace.says(CustomerNotEntitledException())
    await scene.clock.advance(HOUR)
    await scene.start(METER)
    scene.marketplace.says(NoAnswer())
    voided = (await scene.start(METER)).entitlement()
    scene.shelf.accept(scene.clock.now())
    again = (await scene.start(METER)).entitlement()

    assert (State.PENDING, State.ENTITLED) == (voided.state, again.state)


@pytest.mark.parametrize(("after", "state"), [(timedelta(seconds=1), State.ENTITLED), (HOUR, State.PENDING)])
async def test_refusal_of_an_older_version(scene: "Scene", after: timedelta, state: State) -> None:
    """Only times tell there whether AWS has taken a record since; one from the future proves nothing, also later."""
    registrar = await scene.start(METER)
    await registrar.on_submission(accepted=True)
    assert scene.shelf.kept is not None
    scene.shelf.kept = replace(scene.shelf.kept, refused_at=scene.clock.now(), follows_records=False)
    scene.shelf.accepted_at = scene.clock.now() + after
    scene.marketplace.says(NoAnswer())
    await scene.clock.advance(timedelta(minutes=1))
    found = []
    for _ in range(2):
        found.append((await scene.start(METER)).entitlement().state)
        await scene.clock.advance(HOUR)

    assert [state] * 2 == found
