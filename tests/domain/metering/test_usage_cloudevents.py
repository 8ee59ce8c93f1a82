"""CloudEvents 1.0 as usage events."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.domain.metering.cloudevents import envelope_of_headers, joined_id, read_envelopes
from sidecar.domain.metering.events import Aggregation, Dimension, InvalidUsage, NumberText, UsageEvent

NOW = datetime(2026, 11, 23, 10, 5, tzinfo=UTC)
DIMENSIONS = {"requests": Dimension("requests"), "users": Dimension("users", Aggregation.UNIQUE)}


def envelope(**attributes: object) -> dict[str, object]:
    """Return a structured CloudEvent, with other attributes where given."""
    return {
        "specversion": "1.0",
        "id": "1",
        "source": "/shop",
        "type": "com.example.usage",
        "data": {"dimension": "requests", "quantity": "2"},
        **attributes,
    }


def read(*envelopes: object) -> list[UsageEvent]:
    """Read a batch at `NOW`."""
    return read_envelopes(envelopes, dimensions=DIMENSIONS, now=NOW)


def faults_of(*envelopes: object) -> list[tuple[int, str]]:
    """Return index and field of every fault."""
    with pytest.raises(InvalidUsage) as refused:
        read(*envelopes)
    return [(fault.index, fault.field) for fault in refused.value.faults]


def test_attributes_become_members() -> None:
    """The event id is source + `|` + id, timestamp is time, and data holds the rest."""
    event = envelope(
        time="2026-11-23T10:00:00Z", data={"dimension": "requests", "quantity": NumberText("2.5"), "tags": {"a": "1"}}
    )
    expected = UsageEvent("/shop|1", "requests", 2_500_000, None, datetime(2026, 11, 23, 10, tzinfo=UTC), (("a", "1"),))
    assert [expected] == read(event)


def test_bars_share_no_id() -> None:
    """A `|` in the source or in the id makes no two events one; only a source with `|` changes the form of the id."""
    pairs = [("/a", "b|c"), ("/a|b", "c"), ("|/a", "b"), ("/a|", "b"), ("/a", "|b")]
    events = read(*(envelope(source=source, id=name) for source, name in pairs))
    assert ["/a|b|c", "|4|/a|b|c", "|3||/a|b", "|3|/a||b", "/a||b"] == [event.id for event in events]


@given(*[st.text("a|1/", min_size=1, max_size=6)] * 4)
def test_joined_ids_differ(source: str, event_id: str, other_source: str, other_id: str) -> None:
    """Two pairs of source and id have one joined id only if they are the same pair."""
    same = (source, event_id) == (other_source, other_id)
    assert same == (joined_id(source, event_id) == joined_id(other_source, other_id))


def test_unique_value_in_data() -> None:
    """The value of a `unique` dimension is in data."""
    event = envelope(data={"dimension": "users", "value": "u-1"})
    assert [UsageEvent("/shop|1", "users", 1_000_000, "u-1", None, ())] == read(event)


@pytest.mark.parametrize(
    "attributes",
    [
        {"subject": "order-1"},
        {"dataschema": "https://example.com/usage"},
        {"traceparent": "00-abc"},
        {"sequence": NumberText("7")},
        {"sampled": True},
        {"time": None},
        {"datacontenttype": None},
        {"datacontenttype": "application/json"},
        {"datacontenttype": "Application/JSON; charset=utf-8"},
    ],
)
def test_extensions_ignored(attributes: dict[str, object]) -> None:
    """Optional and extension attributes change nothing, and a null one is absent."""
    assert read(envelope()) == read(envelope(**attributes))


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": NumberText("1.0")}, "specversion"),
        ({"specversion": None}, "specversion"),
        ({"id": ""}, "id"),
        ({"id": None}, "id"),
        ({"id": NumberText("1")}, "id"),
        ({"id": "\ud800"}, "id"),
        ({"id": "i" * 250}, "id"),
        ({"source": ""}, "source"),
        ({"source": True}, "source"),
        ({"type": ""}, "type"),
        ({"type": []}, "type"),
        ({"time": "now"}, "time"),
        ({"time": "2026-11-23T11:00:00Z"}, "time"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"datacontenttype": "application/json-seq"}, "datacontenttype"),
        ({"data_base64": "e30="}, "data_base64"),
        ({"Extension": "x"}, "Extension"),
        ({"an-extension": "x"}, "an-extension"),
        ({"extension": {}}, "extension"),
        ({"extension": []}, "extension"),
        ({"data": "{}"}, "data"),
        ({"data": []}, "data"),
        ({"data": {"dimension": "requests", "id": "2"}}, "id"),
        ({"data": {"dimension": "requests", "timestamp": "2026-11-23T10:00:00Z"}}, "timestamp"),
        ({"data": {"dimension": "other"}}, "dimension"),
        ({"data": {"dimension": "requests", "quantity": "-1"}}, "quantity"),
        ({"data": {"dimension": "requests", "tags": []}}, "tags"),
    ],
)
def test_bad_envelope_refused(attributes: dict[str, object], field: str) -> None:
    """A fault of the envelope or of its data names the member as the sender knows it."""
    assert [(1, field)] == faults_of(envelope(), envelope(**attributes))


def test_missing_attributes_listed() -> None:
    """Every required attribute that is missing is listed, and so is data."""
    assert [(0, "id"), (0, "source"), (0, "specversion"), (0, "type"), (0, "data")] == faults_of({})


@pytest.mark.parametrize("bad", [None, [], "x", NumberText("1"), True])
def test_envelope_must_be_object(bad: object) -> None:
    """What is no object is no CloudEvent."""
    assert [(0, "item")] == faults_of(bad)


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        ("plain", "plain"),
        ("a%20b", "a b"),
        ("100%25", "100%"),
        ("%E2%82%AC", "\u20ac"),
        ("\u20ac", "\u20ac"),
        ('"quoted \\"word\\""', 'quoted "word"'),
        ("50%", "50%"),
        ("%zz", "%zz"),
        ('"', '"'),
    ],
)
def test_header_values_decoded(value: str, decoded: str) -> None:
    """A `ce-` header is unquoted, then percent-decoded once."""
    assert {"data": {}, "subject": decoded} == envelope_of_headers([("subject", value)], {})


@pytest.mark.parametrize(
    "attributes",
    [
        [("id", "1"), ("id", "2")],
        [("data", "x")],
        [("id", "%C0%A0")],
        [("id", "%ff")],
        [("id", "\udcff")],
    ],
)
def test_bad_headers_refused(attributes: list[tuple[str, str]]) -> None:
    """A header that stands twice, or is not UTF-8, is refused as a whole."""
    with pytest.raises(ValueError, match="header ce-"):
        envelope_of_headers(attributes, {})


@given(st.lists(st.tuples(st.text(), st.text())), st.text())
def test_headers_never_break(attributes: list[tuple[str, str]], data: str) -> None:
    """Any headers give an envelope or ValueError."""
    try:
        envelope_of_headers(attributes, data)
    except ValueError as refused:
        reason = str(refused)
    else:
        return
    assert "header ce-" in reason


JSON = st.recursive(
    st.none() | st.booleans() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["specversion", "id", "source", "type", "time", "data", "datacontenttype", "data_base64", "x"])


@given(st.lists(st.dictionaries(NAMES | st.text(), JSON, max_size=8) | JSON, max_size=4))
def test_any_envelopes_judged(envelopes: list[object]) -> None:
    """Any envelopes give one event each or InvalidUsage."""
    try:
        events = read(*envelopes)
    except InvalidUsage as refused:
        faults = refused.faults
    else:
        assert len(envelopes) == len(events)
        return
    assert faults
