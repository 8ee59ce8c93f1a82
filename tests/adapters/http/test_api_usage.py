"""POST /v1/usage over a socket."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from sidecar.adapters.http.items import MOST_ITEMS
from sidecar.domain.metering.events import (
    IdReused,
    LedgerUnavailable,
    NotEntitled,
    Overloaded,
    UsageEvent,
    UsageFault,
    UsageRefused,
)
from sidecar.domain.metering.validation import MOST_FAULTS
from tests.support.http_fakes import Api, request

EVENT = '{"dimension": "requests", "quantity": 2}'
TAKEN = UsageEvent(None, "requests", 2_000_000, None, None, ())
CLOUDEVENT = (
    '{"specversion": "1.0", "id": "1", "source": "/shop", "type": "usage", "time": "2026-11-23T10:00:00Z", '
    '"data": {"dimension": "requests", "quantity": 2}}'
)
FROM_CLOUDEVENT = UsageEvent("/shop|1", "requests", 2_000_000, None, datetime(2026, 11, 23, 10, tzinfo=UTC), ())
BINARY = ("ce-specversion: 1.0", "ce-id: 1", "ce-source: %2Fshop", "ce-type: usage", "ce-time: 2026-11-23T10:00:00Z")


@pytest.mark.parametrize(
    ("media", "body", "events"),
    [
        ("application/json", EVENT, [TAKEN]),
        ("application/json", f"[{EVENT}, {EVENT}]", [TAKEN, TAKEN]),
        ("application/json", f'{{"events": [{EVENT}]}}', [TAKEN]),
        ("application/json", f" \r\n\t{EVENT}\n", [TAKEN]),
        ("application/json", "[]", []),
        ("application/json", '{"events": []}', []),
        ("application/json; charset=utf-8", EVENT, [TAKEN]),
        ('Application/JSON ;Charset="UTF-8"', EVENT, [TAKEN]),
        ("application/json; profile=x", EVENT, [TAKEN]),
        ("application/x-ndjson", EVENT, [TAKEN]),
        ("application/x-ndjson", f"{EVENT}\n{EVENT}\n", [TAKEN, TAKEN]),
        ("application/x-ndjson", f"\n{EVENT}\r\n \n{EVENT}", [TAKEN, TAKEN]),
        ("application/cloudevents+json", CLOUDEVENT, [FROM_CLOUDEVENT]),
        ("application/cloudevents-batch+json", f"[{CLOUDEVENT}, {CLOUDEVENT}]", [FROM_CLOUDEVENT] * 2),
        ("application/cloudevents-batch+json", "[]", []),
    ],
)
async def test_every_shape_taken(api: Api, media: str, body: str, events: list[UsageEvent]) -> None:
    """Each of the documented shapes reaches the intake as the same events, and the receipt comes back."""
    answer = await api.report(body, media=media)
    assert 202 == answer.status
    assert "application/json" == answer.headers["content-type"]
    assert {"accepted": len(events), "duplicates": 0} == answer.document
    assert [events] == [batch.events for batch in api.intake.batches]


async def test_binary_cloudevent_taken(api: Api) -> None:
    """A `ce-specversion` header makes the JSON body the data of a CloudEvent, attributes percent-decoded."""
    answer = await api.report(EVENT, *BINARY)
    assert 202 == answer.status
    assert [[FROM_CLOUDEVENT]] == [batch.events for batch in api.intake.batches]


async def test_structured_wins_over_headers(api: Api) -> None:
    """The content type of a structured CloudEvent decides, whatever `ce-` headers say."""
    answer = await api.report(CLOUDEVENT, "ce-specversion: 9", media="application/cloudevents+json")
    assert 202 == answer.status


async def test_binary_attributes_judged(api: Api) -> None:
    """Binary attributes are held to the same rules as structured ones."""
    assert [(0, "source"), (0, "type")] == (await api.report(EVENT, "ce-specversion: 1.0", "ce-id: 1")).faults
    assert "malformed" == (await api.report(EVENT, *BINARY, "ce-id: 2")).problem
    assert "malformed" == (await api.report(EVENT, "ce-specversion: 1.0", "ce-id: %ff")).problem


async def test_idempotency_key_passed(api: Api) -> None:
    """The Idempotency-Key goes with the batch."""
    await api.report(EVENT, "Idempotency-Key: k-1")
    await api.report(EVENT)
    assert ["k-1", None] == [batch.idempotency_key for batch in api.intake.batches]


@pytest.mark.parametrize("lines", [("k" * 256,), ("",), ("two words",), ("\u00fc",), ("a", "a")])
async def test_bad_idempotency_key_refused(api: Api, lines: tuple[str, ...]) -> None:
    """An Idempotency-Key is one header of 1 to 255 visible characters."""
    answer = await api.report(EVENT, *(f"Idempotency-Key: {line}" for line in lines))
    assert "malformed" == answer.problem
    assert not api.intake.batches


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \r\n",
        b"{",
        b"{}{}",
        b"{'dimension': 'requests'}",
        b'{"dimension": "requests",}',
        b'{"dimension": "requests", "quantity": 01}',
        b'{"dimension": "requests", "quantity": +1}',
        b'{"dimension": "requests", "quantity": NaN}',
        b'{"dimension": "requests", "quantity": -Infinity}',
        b'{"dimension": "requests", "dimension": "requests"}',
        b'{"dimension": "requests", "tags": {"a": "1", "a": "2"}}',
        b'{"dimension": "a\nb"}',
        b'{"dimension": "\\u12"}',
        b'\xef\xbb\xbf{"dimension": "requests"}',
        '{"dimension": "requests"}'.encode("utf-16"),
        b'{"dimension": "\xff"}',
        b'{"dimension": "\xed\xa0\x80"}',
        b"[" * 200_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_malformed_body_refused(api: Api, body: bytes) -> None:
    """What is not one JSON value in UTF-8, each member once, is 400 and stored nowhere."""
    answer = await api.report(body)
    assert (400, "malformed") == (answer.status, answer.problem)
    assert not api.intake.batches


async def test_bad_lines_named(api: Api) -> None:
    """Every line of NDJSON that cannot be read is named by its number."""
    answer = await api.report(f"{EVENT}\n{{\n\nnot json\n{EVENT}", media="application/x-ndjson")
    assert "malformed" == answer.problem
    assert "line 2:" in answer.document["detail"]
    assert "line 4:" in answer.document["detail"]
    assert "line 1:" not in answer.document["detail"]


async def test_many_bad_lines_counted(api: Api) -> None:
    """Beyond ten bad lines the answer counts the rest."""
    answer = await api.report("{\n" * 5000, media="application/x-ndjson")
    assert "and 4990 more" in answer.document["detail"]
    assert len(answer.body) < 2000


@pytest.mark.parametrize(
    ("media", "body", "faults"),
    [
        ("application/json", '{"dimension": "nope"}', [(0, "dimension")]),
        ("application/json", f'[{EVENT}, {{"dimension": "requests", "quantity": "1e3"}}]', [(1, "quantity")]),
        ("application/json", '{"dimension": "requests", "quantity": 1e3}', [(0, "quantity")]),
        ("application/json", '{"dimension": "requests", "quantity": null}', [(0, "quantity")]),
        ("application/json", '{"dimension": "requests", "id": 5}', [(0, "id")]),
        ("application/json", '{"dimension": "requests", "id": "\\ud800"}', [(0, "id")]),
        ("application/json", '{"dimension": "requests", "quantity": ' + "1" * 10_000 + "}", [(0, "quantity")]),
        ("application/json", "5", [(0, "item")]),
        ("application/json", "null", [(0, "item")]),
        ("application/json", '"requests"', [(0, "item")]),
        ("application/json", f"[{EVENT}, null, []]", [(1, "item"), (2, "item")]),
        ("application/json", '{"events": {}}', [(0, "events")]),
        ("application/json", '{"events": null}', [(0, "events")]),
        ("application/json", f'{{"events": [{EVENT}], "id": "1"}}', [(0, "id")]),
        ("application/json", f'{{"events": [{EVENT}, 5]}}', [(1, "item")]),
        ("application/x-ndjson", f"{EVENT}\n\n[{EVENT}]", [(1, "item")]),
        ("application/x-ndjson", f'{{"events": [{EVENT}]}}', [(0, "events"), (0, "dimension")]),
        ("application/cloudevents+json", f"[{CLOUDEVENT}]", [(0, "item")]),
        ("application/cloudevents+json", "{}", [(0, n) for n in ("id", "source", "specversion", "type", "data")]),
        ("application/cloudevents-batch+json", CLOUDEVENT, [(0, "item")]),
        ("application/cloudevents-batch+json", f"[{CLOUDEVENT}, {EVENT}]", [(1, "id")]),
    ],
)
async def test_bad_events_listed(api: Api, media: str, body: str, faults: list[tuple[int, str]]) -> None:
    """One bad event refuses the batch; 422 names every one by index and field."""
    answer = await api.report(body, media=media)
    assert (422, "invalid-usage") == (answer.status, answer.problem)
    assert faults == answer.faults[: len(faults)]
    assert not api.intake.batches


async def test_large_batch_read_apart(api: Api) -> None:
    """A body of many events is read in full, in order."""
    body = json.dumps([{"id": f"evt-{number}", "dimension": "requests"} for number in range(5000)])
    answer = await api.report(body)
    assert {"accepted": 5000, "duplicates": 0} == answer.document
    assert [f"evt-{number}" for number in range(5000)] == [event.id for event in api.intake.batches[0].events]


async def test_large_bad_batch_listed(api: Api) -> None:
    """A large batch lists each of its bad events, and shows nothing of more where there are none."""
    answer = await api.report(json.dumps([{"dimension": "requests", "quantity": "-1", "id": "x" * 100}] * MOST_FAULTS))
    assert [(number, "quantity") for number in range(MOST_FAULTS)] == answer.faults
    assert answer.document["detail"] == f"{MOST_FAULTS} faults; nothing was stored"


@pytest.mark.parametrize("count", [MOST_FAULTS + 1, 4_000_000])
async def test_fault_list_bounded(api: Api, count: int) -> None:
    """The first fault too many ends the reading; the answer shows that there are more."""
    answer = await api.report(b"[" + b"1," * (count - 1) + b"1]")
    assert [(number, "item") for number in range(MOST_FAULTS)] == answer.faults
    assert f"more than {MOST_FAULTS} faults; the first {MOST_FAULTS} are listed" in answer.document["detail"]
    assert not api.intake.batches


async def test_many_reused_ids_bounded(api: Api) -> None:
    """Of reused ids the answer lists as many, and counts the rest."""
    api.intake.refusal = IdReused([UsageFault(number, "id", "seen before") for number in range(5000)])
    answer = await api.report(EVENT)
    assert MOST_FAULTS == len(answer.faults)
    assert "5000 faults" in answer.document["detail"]


async def test_long_member_names_cut(api: Api) -> None:
    """A fault repeats a hundred characters of a member's name and no more."""
    answer = await api.report(json.dumps({"dimension": "requests", "n" * 50_000: 1}))
    assert [(0, "n" * 100)] == answer.faults


@pytest.mark.parametrize(
    ("media", "join"),
    [
        ("application/json", "[{}]"),
        ("application/json", '{{"events": [{}]}}'),
        ("application/x-ndjson", "{}"),
        ("application/cloudevents-batch+json", "[{}]"),
    ],
)
@pytest.mark.parametrize("count", [MOST_ITEMS, MOST_ITEMS + 1])
async def test_items_bounded(api: Api, media: str, join: str, count: int) -> None:
    """A batch of 10,000 events is taken; one more event is 413 with that number, and nothing is stored."""
    event = CLOUDEVENT if "cloudevents" in media else EVENT
    body = join.format(("\n" if "ndjson" in media else ",").join([event] * count))
    answer = await api.report(body, media=media)
    if count == MOST_ITEMS:
        assert MOST_ITEMS == answer.document["accepted"]
        return
    assert (413, "too-large") == (answer.status, answer.problem)
    assert "at most 10000 events" in answer.document["detail"]
    assert not api.intake.batches


@pytest.mark.parametrize(
    "media",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application", "", "application/json+x"],
)
async def test_other_types_refused(api: Api, media: str) -> None:
    """A type that is not documented is 415, with the header to send."""
    answer = await api.report(EVENT, media=media)
    assert (415, "unsupported-media-type") == (answer.status, answer.problem)
    assert "Content-Type: application/json" in answer.document["detail"]


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "", "utf-8x"])
async def test_other_charsets_refused(api: Api, charset: str) -> None:
    """UTF-8 only."""
    assert "unsupported-media-type" == (await api.report(EVENT, media=f"application/json; charset={charset}")).problem


@pytest.mark.parametrize("coding", ["gzip", "identity, gzip", "br", "x-identity", ""])
async def test_content_encoding_refused(api: Api, coding: str) -> None:
    """A body is sent as it is: a Content-Encoding that changes it is 415."""
    assert "unsupported-media-type" == (await api.report(EVENT, f"Content-Encoding: {coding}")).problem


@pytest.mark.parametrize("coding", ["identity", "Identity", " IDENTITY ", "identity,identity"])
async def test_identity_encoding_taken(api: Api, coding: str) -> None:
    """`Content-Encoding: identity` changes nothing, so the body is taken."""
    assert 202 == (await api.report(EVENT, f"Content-Encoding: {coding}")).status


@pytest.mark.parametrize("charset", ["us-ascii", "US-ASCII", '"us-ascii"', '"US-Ascii"', "UTF-8", '"utf-8"'])
@pytest.mark.parametrize("media", ["application/json", "application/x-ndjson"])
async def test_subset_of_utf8_taken(api: Api, media: str, charset: str) -> None:
    """us-ascii is a part of UTF-8, so it is taken, in quotes and in any case."""
    assert 202 == (await api.report(EVENT, media=f"{media}; charset={charset}")).status


async def test_missing_type_refused(api: Api) -> None:
    """A body without Content-Type, or with two, is 415."""
    assert "unsupported-media-type" == (await api.exchange(request("POST", "/v1/usage", EVENT))).problem
    twice = await api.report(EVENT, "Content-Type: application/json")
    assert twice.problem in ("unsupported-media-type", "malformed")


@pytest.mark.parametrize(
    ("refusal", "status", "problem", "retry_after"),
    [
        (NotEntitled("AWS Marketplace has refused this pod."), 403, "not-entitled", None),
        (IdReused([UsageFault(0, "id", "seen with another quantity")]), 409, "id-reused", None),
        (LedgerUnavailable("the disk is full", retry_after=7), 503, "ledger-unavailable", "7"),
        (Overloaded("too many batches wait", retry_after=2), 503, "overloaded", "2"),
    ],
)
async def test_refusals_become_problems(
    api: Api, refusal: Exception, status: int, problem: str, retry_after: str | None
) -> None:
    """Each refusal of the intake has its status, its word, and Retry-After where it may pass."""
    api.intake.refusal = refusal
    answer = await api.report(EVENT)
    assert (answer.status, answer.problem, answer.headers.get("retry-after")) == (status, problem, retry_after)


async def test_reused_ids_listed(api: Api) -> None:
    """A reused id is listed like any other fault."""
    api.intake.refusal = IdReused([UsageFault(2, "id", "seen with another quantity")])
    assert [(2, "id")] == (await api.report(EVENT)).faults


async def test_unforeseen_fault_is_logged(api: Api) -> None:
    """An unforeseen fault is a 500 problem that shows nothing of itself, and one line in the log."""
    api.intake.refusal = RuntimeError("secret")
    with capture_logs() as lines:
        answer = await api.report(EVENT)
    assert (500, "internal-error") == (answer.status, answer.problem)
    assert b"secret" not in answer.body
    assert ["api.request_failed"] == [line["event"] for line in lines]


async def test_new_refusal_is_a_fault(api: Api) -> None:
    """A refusal that has no status of its own is a fault of the sidecar's, not a success."""
    api.intake.refusal = UsageRefused("nobody said how")
    with capture_logs():
        assert "internal-error" == (await api.report(EVENT)).problem


async def test_timeout_inside_is_no_gateway_timeout(api: Api) -> None:
    """A time-out that escapes a service is a fault of the sidecar's own like any other."""
    api.intake.refusal = TimeoutError()
    with capture_logs():
        answer = await api.report(EVENT)
    assert "internal-error" == answer.problem


async def test_batches_taken_side_by_side(api: Api) -> None:
    """A batch that waits for the disk holds up neither another one nor the entitlement."""
    api.intake.gate = asyncio.Event()
    first = asyncio.ensure_future(api.report(EVENT))
    await api.intake.entered.wait()
    second = asyncio.ensure_future(api.report(EVENT))
    assert 200 == (await api.get("/v1/entitlement")).status
    assert not first.done()
    api.intake.gate.set()
    assert [202, 202] == [(await first).status, (await second).status]


async def test_refusals_counted(api: Api) -> None:
    """Each usage request that is not taken counts under its problem's word, from zero; no other request does."""
    assert 0 == api.refused["overloaded"]
    assert "overloaded" in api.refused
    await api.report("{")
    await api.report('{"dimension": "unknown"}')
    await api.exchange(request("POST", "/v1/usage", "{}", host="evil.example"))
    api.intake.refusal = LedgerUnavailable("database or disk is full")
    await api.report('{"dimension": "requests"}')
    api.intake.refusal = RuntimeError("a bug")
    with capture_logs():
        await api.report('{"dimension": "requests"}')
    api.intake.refusal = None
    await api.report('{"dimension": "requests"}')
    await api.get("/v1/usage?x=1")
    await api.get("/v1/nothing")
    expected = {"malformed": 1, "invalid-usage": 1, "misdirected": 1, "ledger-unavailable": 1, "internal-error": 1}
    assert expected == {word: count for word, count in api.refused.items() if count}
