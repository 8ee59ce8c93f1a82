"""Counters on a copied or restored ledger: the pod on the copy counts its own app alone."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.series import SampleOutcome, SeriesBatch, SeriesSample
from tests.support.books import HOUR, MINUTE, NOW, Books

APP = to_micros(NOW) + 1
"""When the app of the first pod started."""


@pytest.fixture(params=[True, False], ids=["page", "export"])
def whole(request: pytest.FixtureRequest) -> bool:
    """Return whether the samples come as a page."""
    return bool(request.param)


@pytest.fixture
def original(tmp_path: Path, *, whole: bool) -> Iterator[Books]:
    """Yield the ledger of a pod that has measured 3."""
    with closing(Books(tmp_path / "ledger.db")) as books:
        books.begin_series(requests="here")
        show(books, "3", APP, whole=whole)
        yield books


def show(books: Books, value: str, started: int | None, *, whole: bool) -> dict[SampleOutcome, int]:
    """Take a sample a minute later, and return what it means."""
    books.pass_time(MINUTE)
    at = to_micros(books.now)
    samples = [SeriesSample(b"a", (), Decimal(value), started, at)]
    return dict(books.take_series(SeriesBatch("requests", samples, Decimal(1), at, whole=whole))[0].outcomes)


def copy_of(books: Books, pod: str) -> Books:
    """Return a ledger that was copied, or restored from a backup, and the process of a pod on it."""
    path = books.path.with_name(f"copy-{pod}.db")
    books.store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(books.path, path)
    return Books(path, pod=pod, now=books.now)


def test_pod_on_a_copy_counts_its_own_app(original: Books, *, whole: bool) -> None:
    """Each pod bills its own app from zero; what the copy has of the other's counter bills nothing."""
    with closing(copy_of(original, "pod-2")) as copy:
        copy.begin_series(requests="here")
        show(original, "10", APP, whole=whole)
        assert {SampleOutcome.BEGAN: 1} == show(copy, "2", to_micros(copy.now), whole=whole)
        assert ("10", "5") == (original.shown()["accepted"], copy.shown()["accepted"])


@pytest.mark.parametrize("started", [None, APP])
def test_app_that_is_older_than_the_pod_on_the_copy(original: Books, started: int | None, *, whole: bool) -> None:
    """A counter of before this pod, whatever pod it was of, begins at what it shows."""
    with closing(copy_of(original, "pod-2")) as copy:
        copy.begin_series(requests="here")
        assert {SampleOutcome.BASE_LINE: 1} == show(copy, "100", started, whole=whole)
        assert "3" == copy.shown()["accepted"]


def test_older_file_under_the_same_pod(original: Books, *, whole: bool) -> None:
    """What was measured since the backup is measured again, in the hour of its last sample: AWS holds that slot."""
    with closing(copy_of(original, "pod-1")) as restored:
        restored.begin_series(requests="here")
        restored.pass_time(3 * HOUR)
        assert {SampleOutcome.INCREASED: 1} == show(restored, "10", APP, whole=whole)
        assert {("requests", 10, ()): "10"} == restored.buckets()
