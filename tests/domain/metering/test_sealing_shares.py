"""What a sealed hour's record carries, and what becomes of what it cannot carry."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.metering.events import Tags
from sidecar.domain.metering.hours import hour_of
from sidecar.domain.metering.quantity import LARGEST, LARGEST_WHOLE, MILLION
from sidecar.domain.metering.sealing import MOST_KEYS, MOST_TAG_SETS, Seal, seal, sealable_at
from sidecar.domain.policy import QuantityKind

DECIMAL, INTEGER = QuantityKind.DECIMAL, QuantityKind.INTEGER
RED: Tags = (("Team", "red"),)
BLUE: Tags = (("Team", "blue"),)

tag_sets = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("xyz"), max_size=5).map(
    lambda tags: tuple(sorted(tags.items()))
)
gathered = st.dictionaries(tag_sets, st.integers(min_value=0, max_value=3 * LARGEST), max_size=30)


def outcome(sealed: Seal) -> tuple[int, dict[Tags, int], int, dict[Tags, int], int]:
    """Return what a table of seals compares."""
    return sealed.quantity, dict(sealed.allocations), sealed.remainder, dict(sealed.excess), sealed.folded


@pytest.mark.parametrize(
    ("buckets", "quantity", "allocations"),
    [
        ({}, 0, {}),
        ({(): 0}, 0, {}),
        ({(): 5}, 5, {}),
        ({RED: 0}, 0, {}),
        ({RED: 5}, 5, {RED: 5}),
        ({RED: 5, (): 2}, 7, {RED: 5, (): 2}),
        ({RED: 5, BLUE: 0, (): 0}, 5, {RED: 5}),
    ],
)
def test_tags_make_allocations(buckets: dict[Tags, int], quantity: int, allocations: dict[Tags, int]) -> None:
    """Tagged usage is allocated share by share, empty shares left out; untagged usage alone needs no allocation."""
    assert (quantity, allocations, 0, {}, 0) == outcome(seal(buckets, remainder=0, quantity_kind=DECIMAL))


@pytest.mark.parametrize(
    ("buckets", "before", "quantity", "allocations", "after"),
    [
        ({(): 1_400_000}, 0, MILLION, {}, 400_000),
        ({(): 1_400_000}, 700_000, 2 * MILLION, {}, 100_000),
        ({(): 300_000}, 600_000, 0, {}, 900_000),
        ({}, 900_000, 0, {}, 900_000),
        ({(): 2 * MILLION}, 0, 2 * MILLION, {}, 0),
        ({RED: 1_400_000, BLUE: 1_700_000}, 0, 3 * MILLION, {RED: MILLION, BLUE: MILLION, (): MILLION}, 100_000),
        ({RED: 1_400_000, BLUE: 2_300_000}, 0, 3 * MILLION, {RED: MILLION, BLUE: 2 * MILLION}, 700_000),
        ({RED: 400_000, BLUE: 300_000}, 400_000, MILLION, {}, 100_000),
    ],
)
def test_fractions_wait(
    buckets: dict[Tags, int], before: int, quantity: int, allocations: dict[Tags, int], after: int
) -> None:
    """In whole numbers the fractions of all tag sets join, the whole part of them is sent untagged, the rest waits."""
    assert (quantity, allocations, after, {}, 0) == outcome(seal(buckets, remainder=before, quantity_kind=INTEGER))


def test_decimal_takes_remainder() -> None:
    """What whole numbers held back is sent as soon as fractions may be."""
    assert (1_900_000, {}, 0, {}, 0) == outcome(seal({(): MILLION}, remainder=900_000, quantity_kind=DECIMAL))
    assert (900_000, {}, 0, {}, 0) == outcome(seal({}, remainder=900_000, quantity_kind=DECIMAL))


@pytest.mark.parametrize(("kind", "limit"), [(DECIMAL, LARGEST), (INTEGER, LARGEST_WHOLE * MILLION)])
def test_limit_is_kept(kind: QuantityKind, limit: int) -> None:
    """A record carries AWS's limit at most; the largest share passes on what is over it, and nothing is cut off."""
    step = MILLION
    assert (limit, {}, 0, {}, 0) == outcome(seal({(): limit}, remainder=0, quantity_kind=kind))
    assert (limit, {}, 0, {(): step}, 0) == outcome(seal({(): limit + step}, remainder=0, quantity_kind=kind))
    over = seal({RED: limit, BLUE: 5 * step}, remainder=0, quantity_kind=kind)
    assert (limit, {RED: limit - 5 * step, BLUE: 5 * step}, 0, {RED: 5 * step}, 0) == outcome(over)
    twice = seal({RED: 2 * limit, BLUE: limit + step}, remainder=0, quantity_kind=kind)
    assert (limit, {BLUE: limit}, 0, {RED: 2 * limit, BLUE: step}, 0) == outcome(twice)


def test_tag_sets_fold() -> None:
    """Of 2,500 tag sets the 2,499 largest keep their share; the smallest joins the untagged one."""
    buckets: dict[Tags, int] = {(("Id", f"{number:04}"),): number for number in range(1, MOST_TAG_SETS + 1)}
    sealed = seal(buckets, remainder=0, quantity_kind=DECIMAL)
    assert (sum(buckets.values()), MOST_TAG_SETS, 1) == (sealed.quantity, len(sealed.allocations), sealed.folded)
    assert 1 == sealed.allocations[()]
    more = seal(buckets | {(): 10, (("Id", "x"),): 3}, remainder=0, quantity_kind=DECIMAL)
    assert (MOST_TAG_SETS, 2) == (len(more.allocations), more.folded)
    assert 10 + 1 + 2 == more.allocations[()]


def test_one_fewer_fits() -> None:
    """2,499 tag sets and the untagged share are exactly what AWS takes: nothing is folded."""
    buckets: dict[Tags, int] = {(("Id", str(number)),): 5 for number in range(MOST_TAG_SETS - 1)}
    sealed = seal(buckets | {(): 1}, remainder=0, quantity_kind=DECIMAL)
    assert (MOST_TAG_SETS, 0) == (len(sealed.allocations), sealed.folded)


def test_sixth_key_folds() -> None:
    """A record has at most 5 keys: the tag set that would bring a sixth joins the untagged share, largest first."""
    buckets: dict[Tags, int] = {((f"k{number}", "v"),): 10 - number for number in range(MOST_KEYS + 1)}
    wide: Tags = (("k0", "w"), ("k4", "w"))
    sealed = seal(buckets | {wide: 1}, remainder=0, quantity_kind=DECIMAL)
    assert 1 == sealed.folded
    assert {(("k0", "v"),), (("k4", "v"),), wide, ()} <= sealed.allocations.keys()
    assert 5 == sealed.allocations[()]
    assert (("k5", "v"),) not in sealed.allocations


@given(gathered, st.integers(min_value=0, max_value=MILLION - 1), st.sampled_from(QuantityKind))
def test_seal_balances(buckets: dict[Tags, int], remainder: int, kind: QuantityKind) -> None:
    """What was gathered and held back is sent, held back or passed on, and the record keeps every rule of AWS."""
    sealed = seal(buckets, remainder=remainder, quantity_kind=kind)
    assert sum(buckets.values()) == sealed.gathered
    assert sealed.gathered + remainder == sealed.quantity + sealed.remainder + sum(sealed.excess.values())
    assert 0 <= sealed.quantity <= (LARGEST if kind is DECIMAL else LARGEST_WHOLE * MILLION)
    assert 0 <= sealed.remainder < MILLION
    assert all(quantity > 0 for quantity in [*sealed.allocations.values(), *sealed.excess.values()])
    if sealed.allocations:
        assert sealed.quantity == sum(sealed.allocations.values())
    assert len({key for tags in sealed.allocations for key, _ in tags}) <= MOST_KEYS
    if kind is INTEGER:
        parts = [sealed.quantity, *sealed.allocations.values(), *sealed.excess.values()]
        assert {0} == {part % MILLION for part in parts}
    else:
        assert 0 == sealed.remainder


@given(gathered, st.sampled_from(QuantityKind))
def test_order_changes_nothing(buckets: dict[Tags, int], kind: QuantityKind) -> None:
    """The same buckets make the same record, in whatever order they are read."""
    turned = dict(reversed(buckets.items()))
    assert seal(buckets, remainder=0, quantity_kind=kind) == seal(turned, remainder=0, quantity_kind=kind)


def test_hour_settles_first() -> None:
    """An hour may be sealed once it has ended and settled, not before."""
    hour = hour_of(datetime(2026, 11, 23, 10, 30, tzinfo=UTC))
    assert datetime(2026, 11, 23, 11, 2, tzinfo=UTC) == sealable_at(hour, timedelta(minutes=2))
