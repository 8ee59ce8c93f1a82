"""How the entitlement is read, waited for and attested."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.entitlement.states import AttestationFailed, SlowDown, State
from sidecar.domain.policy import EntitlementCheck, StartProbe
from sidecar.marketplace.service_errors import (
    ThrottlingException,
)
from sidecar.services.registrar import RegistrarSettings

if TYPE_CHECKING:
    from tests.services.registrar.conftest import Scene

SETTINGS = RegistrarSettings(product_code="0abc123example", public_key_version=1, dimensions=("requests", "seats"))
MINUTE = timedelta(minutes=1)


async def test_attestation(scene: "Scene") -> None:
    """An app gets AWS's signature over its own nonce, and the pod's own evidence stays what it was."""
    registrar = await scene.start()
    kept = scene.shelf.kept

    signature = await registrar.attest("the app's own")

    assert "the app's own" == scene.marketplace.registrations[-1].nonce
    assert kept == scene.shelf.kept
    assert kept is not None
    assert signature != kept.signature


async def test_attestations_are_spaced(scene: "Scene") -> None:
    """The first attestation comes immediately, the next after 10 real seconds, whatever became of the one before."""
    registrar = await scene.start()
    scene.marketplace.says(ThrottlingException(), None)
    with pytest.raises(AttestationFailed):
        await registrar.attest("1")
    scene.real = 7.2
    await scene.clock.advance(timedelta(hours=1))
    with pytest.raises(SlowDown) as slow:
        await registrar.attest("2")
    scene.real = 10.0
    await registrar.attest("3")

    assert 3 == slow.value.retry_after
    assert ["1", "3"] == [request.nonce for request in scene.marketplace.registrations[1:]]


async def test_attestation_that_is_wrong(scene: "Scene") -> None:
    """A token that is not right is never handed out, and the pod stays entitled."""
    registrar = await scene.start()
    scene.marketplace.claims = {"nonce": "another"}

    with pytest.raises(AttestationFailed, match="the claim nonce is not the one that was asked for"):
        await registrar.attest("the app's own")
    assert registrar.entitlement().entitled


@pytest.mark.parametrize("check", [EntitlementCheck.METER, EntitlementCheck.NONE])
async def test_attestation_without_registration(scene: "Scene", check: EntitlementCheck) -> None:
    """Where nothing is registered nothing is signed, and AWS is not asked."""
    registrar = await scene.start(replace(SETTINGS, check=check, probe=StartProbe.DRY_RUN))

    with pytest.raises(AttestationFailed, match=r"entitlement\.check"):
        await registrar.attest("the app's own")
    assert [] == scene.marketplace.registrations


async def test_waiter_sees_answer(scene: "Scene") -> None:
    """A caller that waits for another state gets it as soon as AWS has answered."""
    scene.marketplace.hold.clear()
    registrar = await scene.start()
    waiters = [asyncio.create_task(registrar.wait_while(State.PENDING, timedelta(minutes=1))) for _ in range(3)]
    await scene.clock.settle()
    assert [] == [waiter for waiter in waiters if waiter.done()]
    scene.marketplace.hold.set()

    assert [State.ENTITLED] * 3 == [entitlement.state for entitlement in await asyncio.gather(*waiters)]


async def test_waiter_sees_time(scene: "Scene") -> None:
    """A caller that waits learns of a change that only time brings, though no call has ended."""
    scene.marketplace.hold.clear()
    registrar = await scene.start()
    waiter = asyncio.create_task(registrar.wait_while(State.PENDING, timedelta(minutes=1)))
    await scene.clock.advance(30 * MINUTE)

    assert State.UNAVAILABLE is (await waiter).state


async def test_waiter_gives_up(scene: "Scene") -> None:
    """A wait ends after its real time with the entitlement as it is, and immediately if the state differs already."""
    registrar = await scene.start()

    unchanged = await registrar.wait_while(State.ENTITLED, timedelta(milliseconds=20))
    different = await registrar.wait_while(State.PENDING, timedelta(days=1))

    assert [State.ENTITLED, State.ENTITLED] == [unchanged.state, different.state]


async def test_cancelled_waiter_leaves_nothing(scene: "Scene") -> None:
    """A client that goes away takes its wait with it."""
    scene.marketplace.hold.clear()
    registrar = await scene.start()
    before = len(asyncio.all_tasks())
    waiter = asyncio.create_task(registrar.wait_while(State.PENDING, timedelta(days=1)))
    await scene.clock.settle()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter

    assert before == len(asyncio.all_tasks())
