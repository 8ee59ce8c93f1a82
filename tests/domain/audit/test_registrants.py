"""Registrations of pods that no ledger knows."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random

import pytest

from sidecar.domain.audit.registrants import Registration, Tenure, others_registered

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
POD = "6f0c1c3e-5f0b-4c53-9f0a-0b6d5c2f7a11"
OLD, NEW = Tenure("old", NOW - 900 * HOUR, NOW), Tenure("new", NOW, None)
OTHER = Tenure("other", NOW - 900 * HOUR, None)
"""Of another ledger."""
CHAIN = [
    Tenure("a", NOW - 900 * HOUR, NOW),
    Tenure("b", NOW, NOW + HOUR),
    Tenure(f"task/{POD}", NOW + HOUR, NOW + 2 * HOUR),
    Tenure("d", NOW + 2 * HOUR, None),
]
"""Pods that had one ledger, each after the other; the third one's session is named after it."""


def registered(session: str | None, hours: float) -> Registration:
    """Return a registration of so many hours after the new pod has taken the ledger."""
    return Registration(session, "111122223333 eu-west-1", NOW + hours * HOUR)


@pytest.mark.parametrize(
    ("registrations", "tenures", "expected"),
    [
        ([], [], False),
        ([registered("a", 1)], [NEW], False),
        ([registered("a", 1), registered("a", 2)], [NEW], False),
        ([registered("a", 1), registered("b", 1)], [NEW], True),
        ([registered("a", 1), registered("b", 1)], [OLD, NEW], True),
        ([registered("a", -1), registered("b", 1)], [OLD, NEW], False),
        ([registered("a", -0.05), registered("b", 1)], [NEW], True),
        ([registered("a", 1), registered("b", 1)], [OTHER, NEW], False),
        ([registered("a", -1), registered("b", 0.02), registered("c", 0.03)], [OLD, NEW], True),
        ([registered("a", -0.02), registered("b", 0.02)], [OLD, NEW], False),
        ([registered("a", -1)], [NEW], True),
        ([registered("a", -0.05)], [NEW], False),
        ([Registration("a", "", None)], [NEW], True),
        ([registered(POD, 1), registered(None, 1), registered("a", 1)], [NEW], False),
        ([registered(name, at) for name, at in (("a", -0.02), ("b", 0.02), ("c", 1.02))], CHAIN, False),
        ([registered(name, at) for name, at in (("a", -0.02), ("b", 0.02), ("c", 1.02), ("f", 1.03))], CHAIN, True),
        ([registered("b", 0.5), registered("f", 1.02)], CHAIN, False),
        ([registered("b", 0.5), registered("f", 1.02), registered(POD, 1.02)], CHAIN, True),
        ([registered("b", 0.02), registered("b", 0.98), registered("f", 0.5)], CHAIN, True),
        ([registered("a", 0.02), registered("a", 1.02)], CHAIN, False),
        ([registered("shared", -1), registered("shared", 2.5)], CHAIN, False),
        ([registered("shared", -1), registered("shared", 2.5), registered("f", 2.5)], CHAIN, True),
        ([registered("shared", at) for at in (2.5, 0.5, -1, 0.6)], CHAIN, False),
        ([registered("f", 0.5), *(registered("shared", at) for at in (-1, 0.5, 2.5))], CHAIN, True),
    ],
)
def test_pod_of_its_time_explains_a_registration(
    registrations: list[Registration], tenures: list[Tenure], *, expected: bool
) -> None:
    """Each session that names no pod needs a pod of its own that had a ledger when it registered."""
    assert expected == others_registered(registrations, tenures)


@pytest.mark.parametrize("seed", range(20))
def test_pods_are_shared_out_as_well_as_can_be(seed: int) -> None:
    """The answer is that of trying every pod for every session."""
    random = Random(seed)
    for _ in range(50):
        begins = [random.randrange(8) for _ in range(random.randrange(5))]
        pods = [Tenure(str(n), NOW + at * HOUR, NOW + random.randint(at, 8) * HOUR) for n, at in enumerate(begins)]
        sessions = [registered(f"s{number}", random.randrange(8)) for number in range(random.randint(1, 4))]
        ways = permutations(pods, len(sessions))
        found = any(all(map(_holds, way, sessions)) for way in ways)
        assert found is not others_registered(sessions, pods)


def _holds(pod: Tenure, registration: Registration) -> bool:
    assert registration.at is not None
    assert pod.until is not None
    return pod.since <= registration.at <= pod.until
