"""A ledger that passes from one pod to another: whether the earlier pod still runs, and what is taken over from it.

A ledger cannot prove whether it is the one and only or a copy. Two signs are left: the earlier pod may still run, which
the cluster can show, and a person has to check usage that is taken over, because a copy bills it again.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby

from sidecar.domain import timestamps
from sidecar.domain.metering.hours import Hour, start_of
from sidecar.domain.metering.quantity import render
from sidecar.domain.pod.lifecycle import PodView


@dataclass(frozen=True, slots=True)
class PodPlace:
    """Where the cluster keeps a pod's object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The pod that had the ledger last."""

    uid: str
    place: PodPlace | None
    """None where the ledger does not know it."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """Usage of one dimension and hour that another pod left unfinished."""

    dimension: str
    hour: Hour
    quantity: int
    """In millionths."""
    in_doubt: bool
    """It was sent and no answer was seen: it is not billed again by itself."""


def still_runs(pod: PodView, uid: str) -> bool:
    """Return whether the pod of that UID certainly runs, as the object under its name shows it.

    The condition Ready shows the node: the control plane sets it to False within a minute after a node's kubelet
    has fallen silent. A pod that is not ready for another reason looks the same and counts as not decided.
    """
    if pod.uid != uid or pod.deleted or pod.phase != "Running":
        return False
    ready = pod.conditions.get("Ready")
    return ready is not None and ready.status == "True"


def summarize(taken: Iterable[TakenOver]) -> list[TakenOver]:
    """Return one entry for each dimension, hour and fate, in that order, with the sum of the quantities."""

    def key(each: TakenOver) -> tuple[str, Hour, bool]:
        return each.dimension, each.hour, each.in_doubt

    return [
        TakenOver(*group[:2], sum(each.quantity for each in members), group[2])
        for group, members in groupby(sorted(taken, key=key), key)
    ]


def describe(taken: Collection[TakenOver], most: int) -> str:
    """Return what was taken over in one line of at most `most` entries, with the number of those left out."""
    shown = [
        f"{each.dimension} {timestamps.render(start_of(each.hour))} {render(each.quantity)}"
        f"{' in doubt' if each.in_doubt else ''}"
        for each in list(taken)[:most]
    ]
    more = len(taken) - len(shown)
    return ", ".join([*shown, *([f"and {more} more"] if more else [])])
