"""A ledger that passes from pod to pod: which pod certainly runs, and what is reported of what is taken over."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sidecar.domain.metering.hours import hour_of
from sidecar.domain.pod.lifecycle import ConditionView, PodView
from sidecar.domain.pod.succession import TakenOver, describe, still_runs, summarize

TEN = hour_of(datetime(2026, 11, 23, 10, tzinfo=UTC))
POD = PodView(uid="u-1", phase="Running", deleted=False, conditions={"Ready": ConditionView("True", None)})


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (POD, True),
        (replace(POD, uid="u-2"), False),
        (replace(POD, deleted=True), False),
        (replace(POD, phase="Pending"), False),
        (replace(POD, phase="Succeeded"), False),
        (replace(POD, phase="Failed"), False),
        (replace(POD, phase="Unknown"), False),
        (replace(POD, conditions={"Ready": ConditionView("False", None)}), False),
        (replace(POD, conditions={"Ready": ConditionView("Unknown", None)}), False),
        (replace(POD, conditions={}), False),
    ],
    ids=["runs", "replaced", "deleted", "pending", "done", "failed", "lost", "node silent", "unknown", "no condition"],
)
def test_runs_for_certain(pod: PodView, expected: bool) -> None:  # noqa: FBT001 - a table's column
    """A pod runs if it has the UID, is not being deleted, is Running and Ready; a silent node takes Ready away."""
    assert expected == still_runs(pod, "u-1")


def test_taken_over_is_summed() -> None:
    """Tag sets of one dimension, hour and fate are one entry; doubt is an entry of its own."""
    parts = [
        TakenOver("requests", TEN, 2_500_000, in_doubt=False),
        TakenOver("peak", TEN, 1_000_000, in_doubt=True),
        TakenOver("requests", TEN, 500_000, in_doubt=False),
        TakenOver("requests", TEN, 4_000_000, in_doubt=True),
    ]
    ten = "2026-11-23T10:00:00Z"
    assert f"peak {ten} 1 in doubt, requests {ten} 3, requests {ten} 4 in doubt" == describe(summarize(parts), 20)
    assert "peak 2026-11-23T10:00:00Z 1 in doubt, and 2 more" == describe(summarize(parts), 1)
