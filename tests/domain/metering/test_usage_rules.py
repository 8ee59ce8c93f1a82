"""The rules of usage events, one table row each."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain import timestamps
from sidecar.domain.metering.events import Aggregation, Dimension, InvalidUsage, NumberText, UsageEvent
from sidecar.domain.metering.sources import PodTime
from sidecar.domain.metering.validation import read_batch

NOW = datetime(2026, 11, 23, 10, 5, tzinfo=UTC)
DIMENSIONS = {
    "requests": Dimension("requests"),
    "peak": Dimension("peak", Aggregation.MAX),
    "users": Dimension("users", Aggregation.UNIQUE),
    "pod_hours": Dimension("pod_hours", source=PodTime()),
}
TAG_CHARACTERS = "azAZ09 +-=._:\\/@"


def read(*items: object) -> list[UsageEvent]:
    """Read a batch at `NOW`."""
    return read_batch(items, dimensions=DIMENSIONS, now=NOW)


def faults_of(*items: object) -> list[tuple[int, str]]:
    """Return index and field of every fault."""
    with pytest.raises(InvalidUsage) as refused:
        read(*items)
    return [(fault.index, fault.field) for fault in refused.value.faults]


def requests(**members: object) -> dict[str, object]:
    """Return an event of a `sum` dimension."""
    return {"dimension": "requests", **members}


def moved(by: timedelta) -> str:
    """Return an instant next to `NOW` as text."""
    return timestamps.render(NOW + by)


def test_full_event_taken() -> None:
    """Every member of an event arrives as its own type, tags sorted by key."""
    event = requests(id="evt-1", quantity="1.5", timestamp="2026-11-23T10:00:00Z", tags={"b": "2", "a": "1"})
    expected = UsageEvent(
        "evt-1", "requests", 1_500_000, None, datetime(2026, 11, 23, 10, tzinfo=UTC), (("a", "1"), ("b", "2"))
    )
    assert [expected] == read(event)


def test_bare_event_counts_one() -> None:
    """An event without quantity counts 1, now, untagged, and is new each time."""
    assert [UsageEvent(None, "requests", 1_000_000, None, None, ())] == read(requests())


def test_unique_event_has_value() -> None:
    """An event of a `unique` dimension carries the value that is counted."""
    assert [UsageEvent(None, "users", 1_000_000, "u-1", None, ())] == read({"dimension": "users", "value": "u-1"})


def test_nothing_is_nothing() -> None:
    """An empty batch has no events and no faults."""
    assert [] == read()


@pytest.mark.parametrize(
    ("given_quantity", "millionths"),
    [
        ("0", 0),
        ("17", 17_000_000),
        ("1.50", 1_500_000),
        ("0.000001", 1),
        ("9999999999.999999", 9_999_999_999_999_999),
        (NumberText("17"), 17_000_000),
        (NumberText("1.50"), 1_500_000),
        (NumberText("0.1"), 100_000),
        (NumberText("9999999999.999999"), 9_999_999_999_999_999),
    ],
)
def test_quantity_read_exactly(given_quantity: str, millionths: int) -> None:
    """A decimal string and a JSON number are read from their digits."""
    assert [millionths] == [event.quantity for event in read(requests(quantity=given_quantity))]


@pytest.mark.parametrize(
    "bad",
    [
        *(
            "",
            " 1",
            "1 ",
            "+1",
            "-1",
            "-0",
            "01",
            "00",
            ".5",
            "1.",
            "1e3",
            "1E3",
            "0x1",
            "1_000",
            "1,5",
            "NaN",
            "Infinity",
        ),
        *("10000000000", "0.0000001", "1.0000000", "\u0661", "1\n", "1" * 5000),
        *map(NumberText, ("-1", "-0", "1e3", "1E-2", "1.0000000", "10000000000", "-1.5")),
        *(None, True, False, [], {}, ["1"], 1, 1.5),
    ],
)
def test_quantity_refused(bad: object) -> None:
    """A quantity that MeterUsage could not carry exactly is refused."""
    assert [(0, "quantity")] == faults_of(requests(quantity=bad))


@pytest.mark.parametrize("good", ["x", "e" * 255, "\u00e9" * 255, "\U0001f600" * 255, "a b", "\x00", "a|b", " "])
def test_id_taken(good: str) -> None:
    """An id is any 1 to 255 characters, kept as they are."""
    assert [good] == [event.id for event in read(requests(id=good))]


@pytest.mark.parametrize("bad", ["", "e" * 256, "\ud800", "a\udfffb", None, True, NumberText("1"), [], {}])
def test_id_refused(bad: object) -> None:
    """An id is neither empty, too long, another type, nor half of a surrogate pair."""
    assert [(0, "id")] == faults_of(requests(id=bad))


@pytest.mark.parametrize("bad", ["", "request", "Requests", "requests ", None, True, NumberText("1"), [], {}])
def test_dimension_refused(bad: object) -> None:
    """A dimension is one of the product's, to the letter."""
    assert [(0, "dimension")] == faults_of({"dimension": bad})


def test_measured_dimension_takes_no_events() -> None:
    """A dimension with a source is the sidecar's own: an event for it would be counted on top."""
    assert [(0, "dimension")] == faults_of({"dimension": "pod_hours", "quantity": "1"})


def test_dimension_required() -> None:
    """An event without dimension is refused."""
    assert [(0, "dimension")] == faults_of({"quantity": "1"})


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"dimension": "requests", "value": "u"}, "value"),
        ({"dimension": "peak", "value": "u"}, "value"),
        ({"dimension": "requests", "value": None}, "value"),
        ({"dimension": "users", "value": "u", "quantity": "1"}, "quantity"),
        ({"dimension": "users"}, "value"),
        ({"dimension": "users", "value": ""}, "value"),
        ({"dimension": "users", "value": "u" * 256}, "value"),
        ({"dimension": "users", "value": "\ud800"}, "value"),
        ({"dimension": "users", "value": None}, "value"),
        ({"dimension": "users", "value": NumberText("1")}, "value"),
    ],
)
def test_value_only_for_unique(item: object, field: str) -> None:
    """`value` is required on a `unique` dimension, refused elsewhere, and `quantity` the other way round."""
    assert [(0, field)] == faults_of(item)


@pytest.mark.parametrize("by", [timedelta(), timedelta(minutes=15), timedelta(hours=-6), timedelta(days=-7)])
def test_timestamp_taken(by: timedelta) -> None:
    """An event may be dated from 7 days behind the clock to 15 minutes ahead of it."""
    assert [NOW + by] == [event.timestamp for event in read(requests(timestamp=moved(by)))]


@pytest.mark.parametrize(
    "bad",
    [
        moved(timedelta(minutes=15, microseconds=1)),
        moved(timedelta(days=-7, microseconds=-1)),
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-11-23T10:00:00",
        "yesterday",
        *("", None, True, NumberText("1795428000"), [], {}),
    ],
)
def test_timestamp_refused(bad: object) -> None:
    """A timestamp outside the window, or that is no RFC 3339 time with offset, is refused."""
    assert [(0, "timestamp")] == faults_of(requests(timestamp=bad))


@pytest.mark.parametrize(
    "good",
    [{}, {"Team": "IT"}, {"k" * 100: "v" * 256}, {TAG_CHARACTERS: TAG_CHARACTERS}, dict.fromkeys("abcde", "1")],
)
def test_tags_taken(good: dict[str, str]) -> None:
    """A tag set has up to 5 tags of the characters that MeterUsage takes."""
    assert [tuple(sorted(good.items()))] == [event.tags for event in read(requests(tags=good))]


@pytest.mark.parametrize(
    "bad",
    [
        dict.fromkeys("abcdef", "1"),
        {"": "1"},
        {"k" * 101: "1"},
        {"a": ""},
        {"a": "v" * 257},
        {"a": "1\n"},
        {"a!": "1"},
        {"\u00e4": "1"},
        {"a": "\u0661"},
        {"a": "\ud800"},
        {"a": None},
        {"a": NumberText("1")},
        {"a": ["1"]},
        *(None, True, [], [["a", "1"]], "a=1", NumberText("1")),
    ],
)
def test_tags_refused(bad: object) -> None:
    """Tags are an object of strings within MeterUsage's limits."""
    assert [(0, "tags")] == faults_of(requests(tags=bad))


def test_unknown_members_named() -> None:
    """Every unknown member is a fault of its own."""
    assert {(0, "Quantity"), (0, "time")} == set(faults_of(requests(Quantity="1", time="now")))


@pytest.mark.parametrize("bad", [None, True, "requests", NumberText("1"), [], [{"dimension": "requests"}]])
def test_item_must_be_object(bad: object) -> None:
    """An item that is no object is a fault of the item."""
    assert [(0, "item")] == faults_of(bad)


def test_every_fault_listed() -> None:
    """One refusal lists every fault of every bad item, in order, next to good ones."""
    bad = {"id": "", "dimension": "requests", "quantity": "-1", "timestamp": "x", "tags": [], "who": "me"}
    expected = [(1, "who"), (1, "id"), (1, "quantity"), (1, "timestamp"), (1, "tags"), (3, "item")]
    assert expected == faults_of(requests(), bad, requests(), 7)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.text() | st.from_regex(r"-?\d+(\.\d+)?([eE]-?\d+)?", fullmatch=True).map(NumberText),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
NEAR_EVENT = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text() | ANY_JSON,
        "dimension": st.sampled_from(["requests", "peak", "users"]) | ANY_JSON,
        "quantity": st.from_regex(r"\d{1,3}(\.\d{1,3})?", fullmatch=True) | ANY_JSON,
        "value": st.text() | ANY_JSON,
        "timestamp": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | ANY_JSON,
        "tags": st.dictionaries(st.text(), st.text(), max_size=6) | ANY_JSON,
    },
)


@given(st.lists(NEAR_EVENT | ANY_JSON, max_size=5))
def test_all_or_nothing(items: list[Any]) -> None:
    """Any members give as many events as items, or a refusal that names at least one of them; never anything else."""
    try:
        events = read(*items)
    except InvalidUsage as refused:
        faults = refused.faults
    else:
        assert len(items) == len(events)
        "".join(text for event in events for text in (event.id, event.value) if text is not None).encode()
        return
    assert faults
    assert all(0 <= fault.index < len(items) for fault in faults)
