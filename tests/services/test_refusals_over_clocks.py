"""Which of AWS's answers came last is known after a restart, whatever the clock was when they came."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sidecar.domain.entitlement.states import EntitlementSource, State
from tests.services.probing import SETTINGS, Pod, lost_before

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


async def accepted_ahead(pod: Pod, starts: int = 1) -> None:
    """Let AWS take a probe at each of some starts while the clock is ahead."""
    pod.clock.step(HOUR)
    for _ in range(starts):
        await pod.start()
        assert State.ENTITLED is pod.state
    pod.clock.step(-HOUR)
    pod.aws.subscribe(entitled=False)


async def test_suspension_after_a_record_from_the_future(pod: Pod) -> None:
    """A record that was settled while the clock was ahead ends no later suspension, also once its time has come."""
    await accepted_ahead(pod)
    await pod.registrar.on_submission(accepted=False)
    pod.aws.always_fault = lost_before
    states = []
    for _ in range(3):
        await pod.start()
        states.append(pod.state)
        await pod.kill()
        await pod.clock.advance(HOUR)

    assert [State.SUSPENDED] * 3 == states


async def test_refusal_after_a_record_from_the_future(pod: Pod) -> None:
    """A record that was settled while the clock was ahead proves nothing after a later refusal."""
    await accepted_ahead(pod)
    await pod.start()
    states = [pod.state]
    for _ in range(2):
        await pod.kill()
        await pod.clock.advance(HOUR)
        pod.aws.always_fault = lost_before
        await pod.start()
        states.append(pod.state)

    assert [State.DENIED, State.PENDING, State.PENDING] == states


async def test_refused_pod_without_a_slot(pod: Pod) -> None:
    """Records that take the slots of a probe prove nothing if AWS refused the pod after them, by whatever clock."""
    pod.settings = replace(SETTINGS, remember_for=timedelta())
    await accepted_ahead(pod, starts=2)
    await pod.start()
    states = [pod.state]
    await pod.kill()
    await pod.clock.advance(50 * MINUTE)
    await pod.start()
    states.append(pod.state)

    assert ([State.DENIED, State.PENDING], "no-probe-slot") == (states, pod.registrar.entitlement().reason)


@pytest.mark.parametrize("suspended", [False, True])
async def test_record_after_an_answer_from_the_future(pod: Pod, *, suspended: bool) -> None:
    """A record lifts what AWS answered before it while the clock was ahead, also if the process stored only that."""
    await pod.start()
    pod.clock.step(HOUR)
    pod.settings = replace(SETTINGS, remember_for=timedelta())  # each start asks
    if suspended:
        await pod.registrar.on_submission(accepted=False)
    else:
        pod.aws.subscribe(entitled=False)
        await pod.start()
        pod.aws.subscribe(entitled=True)
    closed = pod.state
    pod.clock.step(-HOUR)
    pod.cabinet.failing = ["save_evidence"]
    await pod.start()
    opened = pod.state
    pod.settings = SETTINGS
    pod.aws.always_fault = lost_before
    await pod.start()

    assert (State.SUSPENDED if suspended else State.DENIED, State.ENTITLED) == (closed, opened)
    assert (State.ENTITLED, EntitlementSource.REMEMBERED) == (pod.state, pod.registrar.entitlement().source)
