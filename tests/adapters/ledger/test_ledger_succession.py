"""A ledger that comes to another pod: who had it, where that pod is found, and what is taken over."""

from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.adapters.ledger import succeeding
from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.adapters.ledger.ledger import Ledger
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.pod.succession import PodPlace, Predecessor, describe
from sidecar.domain.policy import ProbeHour
from tests.support.books import HOUR, NOW, RED, RULES, Books, event

PLACE = PodPlace("shop", "app-0")


async def opened(path: Path, pod: str, place: PodPlace | None = None) -> tuple[Ledger, list[Predecessor]]:
    """Open and close the ledger as a pod does; who was asked for."""
    asked: list[Predecessor] = []

    async def admit(earlier: Predecessor) -> None:
        asked.append(earlier)

    ledger = Ledger(path, RULES)
    await ledger.open(pod, "downward-api", NOW, place=place, admit=admit)
    await ledger.close()
    return ledger, asked


async def test_predecessor_is_named(tmp_path: Path) -> None:
    """A successor asks for the pod that had the ledger last, by UID, namespace and name; a restart asks for none."""
    path = tmp_path / "ledger.db"
    assert [] == (await opened(path, "pod-1", PLACE))[1]
    assert [] == (await opened(path, "pod-1"))[1]
    assert [Predecessor("pod-1", PLACE)] == (await opened(path, "pod-2"))[1]
    assert [Predecessor("pod-2", None)] == (await opened(path, "pod-3", PLACE))[1]
    assert [Predecessor("pod-3", PLACE)] == (await opened(path, "pod-1", PLACE))[1]


async def test_refused_successor_takes_nothing(tmp_path: Path) -> None:
    """A successor that is refused changes nothing and gives the ledger free for the next one."""
    path = tmp_path / "ledger.db"
    books = Books(path)
    books.take(event("5"))
    books.close()

    async def admit(_: Predecessor) -> None:
        raise LedgerUnusable(path, "it runs", "Wait.")

    ledger = Ledger(path, RULES)
    with pytest.raises(LedgerUnusable, match="it runs"):
        await ledger.open("pod-2", "downward-api", NOW, admit=admit)
    await ledger.close()
    again, asked = await opened(path, "pod-1")
    assert ([], 0) == (asked, again.handed_over)


async def test_taken_over_is_told(tmp_path: Path) -> None:
    """What is taken over is listed by dimension and hour, with what is in doubt apart; a restart lists nothing."""
    path = tmp_path / "ledger.db"
    books = Books(path)
    books.take(event("5", tags=RED), event("1.5"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.UNKNOWN)
    books.take(event("2"), event("3", tags=RED), event("0", dimension="peak"))
    books.close()
    ledger, _ = await opened(path, "pod-2")
    words = "requests 2026-11-23T10:00:00Z 6.5 in doubt, requests 2026-11-23T11:00:00Z 5"
    assert words == describe(ledger.taken_over, 20)
    assert [] == list((await opened(path, "pod-2"))[0].taken_over)


async def test_probe_is_no_usage_taken_over(tmp_path: Path) -> None:
    """A start probe without an answer is not listed; usage is, also what had no hour because of a probe."""
    path = tmp_path / "ledger.db"
    books = Books(path)
    unanswered = books.probe()
    assert unanswered is not None
    books.begin(unanswered)
    books.take(event("2"))
    books.close()
    ledger, _ = await opened(path, "pod-2")
    assert (1, "requests 2026-11-23T10:00:00Z 2") == (ledger.handed_over, describe(ledger.taken_over, 20))
    books = Books(path, pod="pod-3")
    accepted = books.probe(preferred=ProbeHour.CURRENT)
    assert accepted is not None
    books.answer_probe(accepted, Outcome.ACCEPTED)
    books.keep_after_end()
    books.close()
    ledger, _ = await opened(path, "pod-4")
    assert (1, "requests 2026-11-23T11:00:00Z 2") == (ledger.handed_over, describe(ledger.taken_over, 20))


async def test_other_products_usage_is_not_taken_over(tmp_path: Path) -> None:
    """Usage of another product is set apart, not billed again, so it is not listed as taken over."""
    path = tmp_path / "ledger.db"
    books = Books(path)
    books.take(event("5"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.take(event("2"))
    books.close()
    ledger = Ledger(path, replace(RULES, product_code="1def456example"))
    await ledger.open("pod-2", "downward-api", NOW)
    await ledger.close()
    assert (0, "") == (ledger.handed_over, describe(ledger.taken_over, 20))


def test_ledgers_own_pod_has_no_predecessor(tmp_path: Path) -> None:
    """A plain process, whose identity the ledger keeps, is the same pod after each restart."""
    books = Books(tmp_path / "ledger.db", pod=None)
    assert succeeding.find_predecessor(books.store, books.pod) is None
    books.close()
