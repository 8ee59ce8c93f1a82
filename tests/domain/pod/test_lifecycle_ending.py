"""Whether the pod itself ends, or a container of it is merely restarted."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sidecar.domain.pod.lifecycle import (
    Access,
    ContainerView,
    PodView,
    RestartPolicy,
    app_runs,
    drain_within,
    is_ending,
    may_lag,
)

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ALWAYS, ON_FAILURE, NEVER = RestartPolicy.ALWAYS, RestartPolicy.ON_FAILURE, RestartPolicy.NEVER


def view(
    policy: RestartPolicy = ALWAYS,
    *ends: int | None,
    native: bool = True,
    phase: str = "Running",
    deleted: bool = False,
    deadline: datetime | None = None,
) -> PodView:
    """Return a pod whose regular containers ended with these codes, or run."""
    return PodView(
        uid="u-1",
        phase=phase,
        deleted=deleted,
        deadline=deadline,
        restart_policy=policy,
        native_sidecars=native,
        containers=[ContainerView(policy, end) for end in ends],
    )


@pytest.mark.parametrize(
    ("pod", "ending"),
    [
        pytest.param(view(ALWAYS, None), False, id="living"),
        pytest.param(view(ALWAYS, None, deleted=True), True, id="deleted"),
        pytest.param(view(ALWAYS, None, phase="Failed"), True, id="failed"),
        pytest.param(view(ALWAYS, None, phase="Succeeded"), True, id="succeeded"),
        pytest.param(view(ALWAYS, None, phase="Pending"), False, id="starting"),
        pytest.param(view(ALWAYS, None, deadline=NOON), True, id="deadline-reached"),
        pytest.param(view(ALWAYS, None, deadline=NOON + SECOND), False, id="deadline-ahead"),
        pytest.param(view(ALWAYS, 0), False, id="app-is-started-again"),
        pytest.param(view(NEVER, 0), True, id="job-succeeded"),
        pytest.param(view(NEVER, 1), True, id="job-failed-for-good"),
        pytest.param(view(NEVER, 0, None), False, id="one-of-two-runs"),
        pytest.param(view(NEVER, None), False, id="job-runs"),
        pytest.param(view(NEVER), False, id="nothing-known"),
        pytest.param(view(ON_FAILURE, 0), True, id="job-done"),
        pytest.param(view(ON_FAILURE, 1), False, id="job-is-tried-again"),
        pytest.param(view(ON_FAILURE, 0, 1), False, id="one-of-two-is-tried-again"),
        pytest.param(view(ALWAYS, None, None, native=False), False, id="plain-living"),
        pytest.param(view(ALWAYS, 0, None, native=False), False, id="plain-app-is-started-again"),
        pytest.param(view(NEVER, None, None, native=False), True, id="plain-not-started-again"),
        pytest.param(view(ON_FAILURE, None, None, native=False), True, id="plain-ends-well-for-good"),
    ],
)
def test_end_needs_evidence(pod: PodView, ending: bool) -> None:  # noqa: FBT001 - a column of the table
    """An end is claimed on a deletion, a terminal phase, a deadline, or when nothing is started again."""
    assert ending is is_ending(pod, "u-1", NOON)


def test_namesake_means_gone() -> None:
    """Another UID under the pod's name shows that this pod is gone; an unknown own UID shows nothing."""
    assert is_ending(view(ALWAYS, None), "u-0", NOON)
    assert not is_ending(view(ALWAYS, None), None, NOON)


def test_mixed_policies() -> None:
    """A container's own restart policy goes before the pod's."""
    pod = PodView(
        uid="u-1",
        phase="Running",
        deleted=False,
        restart_policy=NEVER,
        native_sidecars=True,
        containers=[ContainerView(NEVER, 0), ContainerView(ALWAYS, 0)],
    )
    assert not is_ending(pod, "u-1", NOON)
    assert not may_lag(pod)


@pytest.mark.parametrize(
    ("pod", "lags"),
    [
        (view(NEVER, None), True),
        (view(ON_FAILURE, None), True),
        (view(ALWAYS, None), False),
        (view(NEVER, None, native=False), False),
    ],
)
def test_completion_may_lag(pod: PodView, lags: bool) -> None:  # noqa: FBT001 - a column of the table
    """Only a pod that can run to completion next to a native sidecar may have done so unseen."""
    assert lags is may_lag(pod)


@pytest.mark.parametrize(
    ("limit", "left", "within"),
    [
        (25, None, 25),
        (25, 60, 25),
        (25, 28, 25),
        (25, 27, 24),
        (25, 13, 10),
        (25, 12, 10),
        (25, 0, 10),
        (25, -86_400, 10),
        (25, 86_400, 25),
        (4, 60, 4),
        (4, 1, 4),
    ],
)
def test_grace_bounds_drain(limit: int, left: int | None, within: int) -> None:
    """What is left of the grace, less three seconds, shortens the drain, but never below what the open hour needs."""
    told = None if left is None else left * SECOND
    assert within * SECOND == drain_within(limit * SECOND, told, 10 * SECOND)


@pytest.mark.parametrize(
    ("policy", "code", "ended_at", "runs"),
    [
        (ALWAYS, None, None, True),
        (ALWAYS, 0, NOON, False),
        (ALWAYS, 0, NOON - SECOND, True),
        (ALWAYS, 137, None, True),
        (ON_FAILURE, 1, NOON - SECOND, True),
        (ON_FAILURE, 0, NOON - SECOND, False),
        (NEVER, 1, None, False),
    ],
)
def test_app_ends_with_this_process(
    policy: RestartPolicy,
    code: int | None,
    ended_at: datetime | None,
    runs: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """A container that is started again has ended only if it did so after this process had started."""
    own, other = ContainerView(policy, None), ContainerView(policy, code, ended_at)
    pod = PodView(uid="u-1", phase="Running", deleted=True, restart_policy=policy, containers=[own, other])
    assert runs is app_runs(pod, NOON)
    assert not app_runs(replace(pod, native_sidecars=True), NOON)


def test_rules_are_least() -> None:
    """The rules name one verb on one resource each."""
    assert [
        '- {apiGroups: [""], resources: ["pods"], verbs: ["get"]}',
        '- {apiGroups: [""], resources: ["pods/status"], verbs: ["patch"]}',
        '- {apiGroups: [""], resources: ["events"], verbs: ["create"]}',
    ] == [access.rule for access in Access]
