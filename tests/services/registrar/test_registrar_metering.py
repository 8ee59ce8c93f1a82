"""What MeterUsage's answers do to the entitlement."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from sidecar.domain.entitlement.states import State
from sidecar.domain.policy import EntitlementCheck, OnDenied, StartProbe
from sidecar.marketplace.errors import NoAnswer
from sidecar.marketplace.service_errors import (
    CustomerNotEntitledException,
)
from sidecar.services.registrar import DeniedExit, RegistrarSettings

if TYPE_CHECKING:
    from tests.services.registrar.conftest import Scene

SETTINGS = RegistrarSettings(product_code="0abc123example", public_key_version=1, dimensions=("requests", "seats"))
MINUTE = timedelta(minutes=1)


async def test_suspension(scene: "Scene") -> None:
    """MeterUsage's refusal closes a running pod's gate, over restarts, until MeterUsage takes a record."""
    registrar = await scene.start()
    await registrar.on_submission(accepted=False)
    suspended = registrar.entitlement()
    restarted = await scene.start()
    registered_again = restarted.entitlement()
    await restarted.on_submission(accepted=True)
    lifted = restarted.entitlement()

    assert [State.SUSPENDED, State.SUSPENDED, State.ENTITLED] == [
        suspended.state,
        registered_again.state,
        lifted.state,
    ]
    assert scene.shelf.kept is not None
    assert scene.shelf.kept.suspended_at is None
    assert [
        "registration.entitled",
        "registration.suspended",
        "registration.suspended",
        "registration.entitled",
    ] == scene.events()


async def test_suspension_without_aws(scene: "Scene") -> None:
    """A suspended pod that restarts without reaching AWS is not remembered as entitled."""
    registrar = await scene.start()
    await registrar.on_submission(accepted=False)
    scene.marketplace.says(NoAnswer())
    restarted = await scene.start()

    assert State.SUSPENDED is restarted.entitlement().state


async def test_metering_does_not_register(scene: "Scene") -> None:
    """A record that MeterUsage takes says nothing about a pod that AWS has not registered."""
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start()
    await registrar.on_submission(accepted=True)

    assert State.PENDING is registrar.entitlement().state


async def test_usage_refused_before_registration(scene: "Scene") -> None:
    """MeterUsage's refusal of a pod that never was entitled is a refusal like any other."""
    scene.marketplace.says(NoAnswer())
    registrar = await scene.start()
    await registrar.on_submission(accepted=False)

    assert (State.DENIED, "customer-not-entitled") == (registrar.entitlement().state, registrar.entitlement().reason)


async def test_usage_refused_ends_process(scene: "Scene") -> None:
    """With on_denied: exit that refusal ends the run too, without waiting for the next call."""
    scene.marketplace.says(NoAnswer())
    registrar = scene.make(replace(SETTINGS, on_denied=OnDenied.EXIT))
    run = scene.run(registrar)
    await scene.clock.settle()
    await registrar.on_submission(accepted=False)

    with pytest.raises(DeniedExit):
        await run


async def test_check_meter(scene: "Scene") -> None:
    """With check: meter a dry run for every dimension proves the entitlement, and nothing is registered."""
    registrar = await scene.start(replace(SETTINGS, check=EntitlementCheck.METER, probe=StartProbe.DRY_RUN))

    asked = [(request.usage_dimension, request.dry_run, request.timestamp) for request in scene.marketplace.metered]
    assert [("requests", True, scene.clock.now()), ("seats", True, scene.clock.now())] == asked
    assert [] == scene.marketplace.registrations
    entitlement = registrar.entitlement()
    assert (State.ENTITLED, "metered", None) == (entitlement.state, entitlement.reason, entitlement.signature)


async def test_check_meter_follows_answers(scene: "Scene") -> None:
    """With check: meter a refused dry run denies, a record that is taken entitles, a refused one suspends."""
    scene.marketplace.says(None, CustomerNotEntitledException())
    registrar = await scene.start(replace(SETTINGS, check=EntitlementCheck.METER, probe=StartProbe.DRY_RUN))
    states = [registrar.entitlement().state]
    for accepted in (True, False, True):
        await registrar.on_submission(accepted=accepted)
        states.append(registrar.entitlement().state)

    assert [State.DENIED, State.ENTITLED, State.SUSPENDED, State.ENTITLED] == states
    calls = len(scene.marketplace.metered)
    await scene.clock.advance(10 * MINUTE)
    assert calls == len(scene.marketplace.metered)


async def test_dry_run_does_not_lift_suspension(scene: "Scene") -> None:
    """A dry run checks the permission only: after a restart the pod stays suspended until a record is taken."""
    settings = replace(SETTINGS, check=EntitlementCheck.METER, probe=StartProbe.DRY_RUN)
    registrar = await scene.start(settings)
    await registrar.on_submission(accepted=False)
    restarted = await scene.start(settings)

    assert State.SUSPENDED is restarted.entitlement().state


async def test_check_none_after_a_suspension(scene: "Scene") -> None:
    """A suspension that an earlier process of the pod has kept closes no gate with check: none, and is kept."""
    await (await scene.start()).on_submission(accepted=False)
    registrar = await scene.start(replace(SETTINGS, check=EntitlementCheck.NONE))
    assert State.ENTITLED is registrar.entitlement().state
    await registrar.on_submission(accepted=True)
    assert State.SUSPENDED is (await scene.start()).entitlement().state


async def test_check_none(scene: "Scene") -> None:
    """With check: none the gate is open immediately, no call is made, and no answer closes it."""
    registrar = await scene.start(replace(SETTINGS, check=EntitlementCheck.NONE))
    await registrar.on_submission(accepted=False)
    await scene.clock.advance(timedelta(hours=1))

    entitlement = registrar.entitlement()
    assert (State.ENTITLED, "not-checked") == (entitlement.state, entitlement.reason)
    assert [] == scene.marketplace.called_at
