"""The start probe: a gate that opens by a real record of nothing, and books that hold exactly what the app reported."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.adapters.ledger.evidence import read_evidence, write_evidence
from sidecar.domain.entitlement.states import EntitlementSource, Evidence, State
from sidecar.domain.metering.quantity import MILLION
from sidecar.domain.policy import OnDenied
from sidecar.marketplace.service_errors import (
    DuplicateRequestException,
    InvalidProductCodeException,
    InvalidUsageDimensionException,
)
from tests.services.probing import (
    CURRENT,
    SETTINGS,
    Fault,
    Pod,
    lost_after,
    lost_before,
    out_of_bounds,
    throttled,
)

if TYPE_CHECKING:
    from tests.conftest import ManualClock

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
NO_REFUSAL = {State.PENDING, State.UNAVAILABLE}


def probes(pod: Pod) -> list[tuple[int, str]]:
    """Return hour of the day and status of each probe in the ledger."""
    return [(record.hour.hour, record.status) for record in pod.books.records() if record.kind == "probe"]


async def test_record_opens_gate(pod: Pod) -> None:
    """One record of quantity 0 for the previous hour opens the gate, and no dry run is asked."""
    await pod.start()

    entitlement = pod.registrar.entitlement()
    assert (State.ENTITLED, "metered", EntitlementSource.LIVE) == (
        entitlement.state,
        entitlement.reason,
        entitlement.source,
    )
    (request,) = pod.aws.requests
    assert ("0", None, 9) == (request.usage_quantity_as_decimal, request.dry_run, request.timestamp.hour)
    assert [(9, "accepted")] == probes(pod)


async def test_refusal_closes_gate_until_subscribed(pod: Pod) -> None:
    """CustomerNotEntitled denies; a buyer who subscribes a day later gets in without a restart."""
    pod.aws.subscribe(entitled=False)
    await pod.start()
    await pod.pass_time(24 * HOUR)
    denied = pod.state
    pod.aws.subscribe(entitled=True)
    await pod.pass_time(6 * MINUTE)

    assert (State.DENIED, State.ENTITLED, []) == (denied, pod.state, pod.openings[1:])
    assert [(9, "accepted")] == probes(pod)


async def test_denied_may_exit(pod: Pod) -> None:
    """With on_denied: exit a refused probe ends the process."""
    pod.settings = replace(SETTINGS, on_denied=OnDenied.EXIT)
    pod.aws.subscribe(entitled=False)
    await pod.start()

    assert State.DENIED is pod.state


ERRORS: list[Fault] = [
    throttled,
    lost_before,
    lambda _, __: InvalidProductCodeException("unknown"),
    lambda _, __: InvalidUsageDimensionException("unknown"),
]


@pytest.mark.parametrize("fault", ERRORS)
async def test_other_answers_leave_pending(pod: Pod, fault: Fault) -> None:
    """Every answer but one about the subscription leaves the pod pending, then unavailable, and is asked again."""
    pod.aws.always_fault = fault
    await pod.start()
    states = [pod.state]
    await pod.pass_time(31 * MINUTE)
    states.append(pod.state)
    pod.aws.always_fault = None
    await pod.pass_time(2 * MINUTE)

    assert [State.PENDING, State.UNAVAILABLE, State.ENTITLED] == [*states, pod.state]


async def test_duplicate_opens_gate(pod: Pod) -> None:
    """DuplicateRequest shows that AWS holds a record of this pod; a restart does not ask again."""
    pod.aws.faults = [lambda _, __: DuplicateRequestException("another quantity")]
    await pod.start()
    opened = pod.state
    await pod.start()

    assert (State.ENTITLED, State.ENTITLED, 1) == (opened, pod.state, len(pod.aws.requests))


async def test_fallback_to_current_hour(pod: Pod) -> None:
    """Where AWS takes no usage of the previous hour, the probe lies in the current one, and its rest is carried."""
    pod.aws.always_fault = out_of_bounds
    await pod.start()
    pod.use(3)
    assert (State.ENTITLED, [(10, "accepted")]) == (pod.state, probes(pod))
    pod.aws.always_fault = None
    await pod.pass_time(3 * HOUR)

    assert [10] == pod.aws.zeros
    await pod.end()
    assert pod.reported == pod.aws.held


async def test_current_hour_by_choice(pod: Pod) -> None:
    """With probe_hour: current AWS is asked about the current hour alone."""
    pod.settings = CURRENT
    await pod.start()

    assert [(10, "accepted")] == probes(pod)


async def test_restart_does_not_probe_again(pod: Pod) -> None:
    """After a success a restarted container is entitled from the ledger, and the next record makes it live again."""
    await pod.start()
    await pod.start()
    remembered = pod.registrar.entitlement()
    asked = len(pod.aws.requests)
    await pod.pass_time(2 * HOUR)

    assert (State.ENTITLED, EntitlementSource.REMEMBERED) == (remembered.state, remembered.source)
    assert (1, EntitlementSource.LIVE) == (asked, pod.registrar.entitlement().source)


async def test_refusal_voids_the_memory_of_records(pod: Pod) -> None:
    """What AWS accepted before it refused the pod outright opens nothing after a restart without an answer."""
    await pod.start()
    evidence = read_evidence(pod.books.store.connection)
    assert evidence is not None
    with pod.books.store.transaction():
        write_evidence(pod.books.store, replace(evidence, refused_at=pod.clock.now()))
    pod.aws.always_fault = lost_before
    await pod.start()

    assert pod.state in NO_REFUSAL


async def test_new_pod_probes(pod: Pod) -> None:
    """A new pod on the same ledger has a probe of its own."""
    await pod.start()
    await pod.start("pod-2")

    assert [(9, "accepted"), (9, "accepted")] == probes(pod)
    assert ["pod-1", "pod-2"] == [record.identity for record in pod.aws.account.records]


async def test_memory_that_ran_out_is_asked_anew(pod: Pod) -> None:
    """Without memory a restarted container asks by a new slot; an idle product is not locked out."""
    pod.settings = replace(SETTINGS, remember_for=timedelta())
    await pod.start()
    await pod.start()

    assert State.ENTITLED is pod.state
    assert [(9, "accepted"), (10, "accepted")] == probes(pod)


@pytest.mark.parametrize("remember_for", [timedelta(), 30 * MINUTE])
async def test_pod_with_records_is_never_locked_out(pod: Pod, remember_for: timedelta) -> None:
    """Where no slot is free for another probe, the records in them prove as much: AWS holds them for this pod."""
    pod.settings = replace(SETTINGS, remember_for=remember_for)
    for _ in range(4):
        await pod.start()
        assert State.ENTITLED is pod.state
    await pod.pass_time(30 * MINUTE, MINUTE)
    assert State.ENTITLED is pod.state


async def test_probe_is_asked_before_the_memory_ends(pod: Pod) -> None:
    """A restarted container asks again after half of its memory, so silence at its end closes nothing."""
    pod.settings = replace(SETTINGS, remember_for=4 * HOUR)
    await pod.start()
    await pod.start()
    assert EntitlementSource.REMEMBERED is pod.registrar.entitlement().source
    await pod.pass_time(2 * HOUR + MINUTE, MINUTE)

    assert (State.ENTITLED, EntitlementSource.LIVE) == (pod.state, pod.registrar.entitlement().source)


async def test_evidence_of_dry_run_counts_as_none(pod: Pod) -> None:
    """What an older version kept after a dry run opens nothing, and a refusal denies."""
    pod.aws.subscribe(entitled=False)
    with pod.books.store.transaction():
        write_evidence(pod.books.store, Evidence("pod-1", SETTINGS.product_code, 1, pod.clock.now(), "", ""))
    await pod.start()

    assert State.DENIED is pod.state


async def test_full_disk_leaves_pending(pod: Pod) -> None:
    """A probe that cannot be frozen is not sent."""
    pod.cabinet.failing = ["freeze_probe"]
    await pod.start()
    waiting = pod.registrar.entitlement()
    await pod.pass_time(2 * MINUTE)

    assert (State.PENDING, "ledger-unavailable") == (waiting.state, waiting.reason)
    assert State.ENTITLED is pod.state


async def test_unsubscribed_pod_is_suspended(pod: Pod) -> None:
    """A pod that was entitled by its probe is suspended by a refused record, also after a restart."""
    await pod.start()
    pod.aws.subscribe(entitled=False)
    await pod.pass_time(2 * HOUR)
    suspended = pod.state
    await pod.start()

    assert [State.SUSPENDED] * 2 == [suspended, pod.state]


@pytest.mark.unmeasured
async def test_fleet_without_subscription(clock: "ManualClock", tmp_path: Path) -> None:
    """200 pods of an account without subscription, each restarted hourly for a day: the gate is open 0 times."""
    opened = 0
    for number in range(200):
        pod = Pod(clock, tmp_path / f"{number}.db")
        pod.aws.subscribe(entitled=False)
        if number % 2:
            pod.aws.faults = [throttled, lost_before]
        for hour in range(24):
            await pod.start(f"pod-{number}", reopened=not hour % 8)
            # Some live on, and are asked again every five minutes.
            lived = 0 if number % 10 else 6
            await pod.pass_time(lived * MINUTE, 2 * MINUTE)
            await pod.kill()
            clock.step((60 - lived) * MINUTE)
            opened += len(pod.openings) + pod.registrar.entitled_once
        assert [] == pod.aws.account.records
        # What AWS certainly does not hold is gone; a lost request is kept as a zero.
        assert {("sealed", None), ("unbilled", "expired")} >= {
            (record.status, record.reason and record.reason.partition(":")[0]) for record in pod.books.records()
        }
        await pod.kill()
        pod.close()

    assert 0 == opened


async def _plain(_: Pod) -> None:
    """Nothing goes wrong."""


async def _killed_before_answer(pod: Pod) -> None:
    """The process dies after AWS has taken the probe."""
    pod.aws.never_answers = True
    await pod.start()
    await pod.start()


async def _killed_after_freeze(pod: Pod) -> None:
    """The process dies after the freeze, before anything is sent."""
    pod.cabinet.failing = ["begin"]
    await pod.start()
    await pod.start()


async def _lost(pod: Pod) -> None:
    """Two answers are lost: of a probe that AWS took, and of one that it never saw."""
    pod.aws.faults = [lost_before, lost_after]


async def _throttled(pod: Pod) -> None:
    """AWS throttles for ten minutes, over the hour's edge."""
    pod.aws.always_fault = throttled
    await pod.start()
    await pod.pass_time(10 * MINUTE)
    pod.aws.always_fault = None


async def _out_of_bounds(pod: Pod) -> None:
    """AWS takes no usage of hours before the present one, in the first minutes."""
    pod.aws.always_fault = out_of_bounds
    await pod.start()
    await pod.pass_time(2 * MINUTE)
    pod.aws.always_fault = None


EDGES: list[Callable[[Pod], object]] = [
    _plain,
    _killed_before_answer,
    _killed_after_freeze,
    _lost,
    _throttled,
    _out_of_bounds,
]


@pytest.mark.unmeasured
@pytest.mark.parametrize("trouble", EDGES, ids=lambda each: each.__name__.strip("_"))
async def test_books_are_exact_around_edge(
    clock: "ManualClock", tmp_path: Path, trouble: Callable[[Pod], object]
) -> None:
    """A start at every second around an hour's edge, and AWS holds exactly what the app reported."""
    edge = clock.now().replace(minute=0) + HOUR
    for second in range(-15, 16):
        for settings in (SETTINGS, CURRENT):
            start = edge + second * SECOND
            clock.step(start - clock.now())
            pod = Pod(clock, tmp_path / f"{second}-{settings.probe_hour}.db", settings)
            await trouble(pod)  # type: ignore[misc]
            await pod.start()
            await pod.pass_time(2 * HOUR + 25 * MINUTE)
            assert State.ENTITLED is pod.state
            await pod.end()

            assert (pod.reported, True) == (pod.aws.held, pod.reported >= 10 * MILLION), second
            assert 1 == sum(record.kind == "probe" and record.status == "accepted" for record in pod.books.records())
            pod.close()


async def test_short_job_keeps_usage_unbilled(pod: Pod) -> None:
    """A job of 40 minutes whose only hour the probe has: its usage is kept as probe-slot, counted, and logged."""
    pod.settings = CURRENT
    await pod.start()
    pod.use(7)
    await pod.pass_time(20 * MINUTE, HOUR)
    await pod.end()

    (kept,) = (record for record in pod.books.records() if record.kind == "usage")
    assert ("unbilled", "probe-slot") == (kept.status, (kept.reason or "").partition(":")[0])
    assert {"requests": 8 * MILLION} == dict(pod.submitter.lost_to_probe)
    assert 0 == pod.aws.held
