"""Registrations of pods that no ledger knows."""

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.domain.audit.registrants import Registration, Tenure, others_registered

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
POD = "6f0c1c3e-5f0b-4c53-9f0a-0b6d5c2f7a11"
OLD, NEW = Tenure("old", NOW - 900 * HOUR, NOW), Tenure("new", NOW, None)
OTHER = Tenure("other", NOW - 900 * HOUR, None)
"""Of another ledger."""


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
    ],
)
def test_pod_of_its_time_explains_a_registration(
    registrations: list[Registration], tenures: list[Tenure], *, expected: bool
) -> None:
    """Each session that names no pod needs a pod that had a ledger when it registered."""
    assert expected == others_registered(registrations, tenures)
