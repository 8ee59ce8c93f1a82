"""The paths that only read: entitlement, buckets, records, status, and the description itself."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from sidecar.domain.entitlement.states import AttestationFailed, SlowDown, State
from sidecar.domain.metering.events import LedgerUnavailable
from sidecar.domain.status import RecordQuery
from tests.support.http_fakes import ENTITLED, HOUR, Api, Wire, request
from tests.support.tools import PATIENCE


async def test_entitlement_rendered(api: Api) -> None:
    """The entitlement has exactly the documented members and is never stored by anybody in between."""
    answer = await api.get("/v1/entitlement")
    assert 200 == answer.status
    assert "no-store" == answer.headers["cache-control"]
    assert {
        "entitled": True,
        "state": "entitled",
        "reason": "registered",
        "detail": "AWS Marketplace registered this pod.",
        "source": "live",
        "product_code": "0abc123example",
        "public_key_version": 1,
        "registered_at": "2026-11-23T10:05:00Z",
        "since": "2026-11-23T10:05:00Z",
        "until": None,
        "nonce": "the-nonce",
        "signature": "header.body.signature",
    } == answer.document


@pytest.mark.parametrize("state", [state for state in State if state is not State.ENTITLED])
async def test_other_states_are_answers(api: Api, state: State) -> None:
    """Whatever the state, the answer is 200, and only `entitled` lets the app run."""
    api.gate.current = replace(ENTITLED, state=state, registered_at=None, nonce=None, signature=None)
    answer = await api.get("/v1/entitlement")
    assert (answer.status, answer.document["entitled"], answer.document["state"]) == (200, False, state)


async def test_poll_ends_on_change(api: Api) -> None:
    """A long poll answers as soon as the state differs."""
    await api.gate.become(State.PENDING)
    poll = asyncio.ensure_future(api.get("/v1/entitlement?wait=30s&state=pending"))
    await api.gate.until_waiting()
    await api.gate.become(State.ENTITLED)
    assert "entitled" == (await poll).document["state"]
    assert [(State.PENDING, timedelta(seconds=30))] == api.gate.waits


async def test_poll_ends_in_time(api: Api) -> None:
    """A long poll that sees no change answers with the same state."""
    api.gate.patient = False
    assert "entitled" == (await api.get("/v1/entitlement?wait=5m")).document["state"]
    assert [(State.ENTITLED, timedelta(minutes=5))] == api.gate.waits


@pytest.mark.parametrize("query", ["state=pending&wait=30s", "wait=0s", "state=entitled", "state=entitled&wait=0m"])
async def test_no_wait_without_need(api: Api, query: str) -> None:
    """Nothing is waited for when the state differs already, or no time is given."""
    assert 200 == (await api.get(f"/v1/entitlement?{query}")).status
    assert not api.gate.waits


async def test_poll_ends_with_client(api: Api) -> None:
    """A client that hangs up ends its long poll."""
    wire = await Wire.open(api.port)
    wire.send(request("GET", "/v1/entitlement?wait=5m"))
    await api.gate.until_waiting()
    await wire.close()
    async with asyncio.timeout(PATIENCE):
        assert await api.gate.ended.wait()


async def test_poll_ends_with_server(api: Api) -> None:
    """A stopping sidecar answers its long polls with what it knows."""
    poll = asyncio.ensure_future(api.get("/v1/entitlement?wait=5m"))
    await api.gate.until_waiting()
    await api.stop()
    assert "entitled" == (await poll).document["state"]


@pytest.mark.parametrize(
    "query",
    [
        *("wait=30", "wait=30S", "wait=-1s", "wait=1.5s", "wait=1h30m", "wait=301s", "wait=6m", "wait=1h", "wait="),
        *("state=", "state=Pending", "state=maybe", "wait=1s&wait=1s", "wiat=1s", "=", "a", "%ff=1", "wait=%00"),
    ],
)
async def test_bad_poll_refused(api: Api, query: str) -> None:
    """Unknown, repeated or unreadable parameters are 400."""
    assert "malformed" == (await api.get(f"/v1/entitlement?{query}")).problem


async def test_attestation_signed(api: Api) -> None:
    """The app's own nonce comes back under AWS's signature."""
    answer = await api.post("/v1/attestations", '{"nonce": "mine"}')
    assert (201, {"signature": "header.body.signature"}) == (answer.status, answer.document)
    assert ["mine"] == api.gate.nonces


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ("{}", [(0, "nonce")]),
        ('{"nonce": ""}', [(0, "nonce")]),
        ('{"nonce": "' + "n" * 256 + '"}', [(0, "nonce")]),
        ('{"nonce": "\\udc00"}', [(0, "nonce")]),
        ('{"nonce": 5}', [(0, "nonce")]),
        ('{"nonce": "marketplace-sidecar.x"}', [(0, "nonce")]),
        ('{"nonce": "m\\u0061rketplace-sidecar.x"}', [(0, "nonce")]),
        ('{"nonce": null}', [(0, "nonce")]),
        ('{"nonce": "n", "product": "p"}', [(0, "product")]),
        ('["n"]', [(0, "item")]),
        ('"n"', [(0, "item")]),
    ],
)
async def test_bad_nonce_refused(api: Api, body: str, faults: list[tuple[int, str]]) -> None:
    """A nonce is 1 to 255 characters, alone in its body, and none that the sidecar itself would register with."""
    answer = await api.post("/v1/attestations", body)
    assert (answer.status, answer.problem, answer.faults) == (422, "invalid-nonce", faults)
    assert not api.gate.nonces


async def test_attestation_needs_json(api: Api) -> None:
    """A body that is not JSON is refused by its type or its form."""
    assert "malformed" == (await api.post("/v1/attestations", "{")).problem
    ndjson = await api.post("/v1/attestations", '{"nonce": "n"}', media="application/x-ndjson")
    assert "unsupported-media-type" == ndjson.problem


@pytest.mark.parametrize(
    ("refusal", "status", "problem", "retry_after"),
    [
        (SlowDown(8), 429, "slow-down", "8"),
        (AttestationFailed("AWS throttled the call"), 503, "attestation-failed", "10"),
    ],
)
async def test_attestation_refused(api: Api, refusal: Exception, status: int, problem: str, retry_after: str) -> None:
    """A refusal names when to ask again."""
    api.gate.refusal = refusal
    answer = await api.post("/v1/attestations", '{"nonce": "mine"}')
    assert (answer.status, answer.problem, answer.headers["retry-after"]) == (status, problem, retry_after)


async def test_buckets_rendered(api: Api) -> None:
    """Open buckets show exact quantities and their tags."""
    assert {
        "buckets": [
            {
                "dimension": "requests",
                "hour": "2026-11-23T10:00:00Z",
                "quantity": "2.5",
                "tags": {"Team": "IT"},
                "events": 3,
            }
        ]
    } == (await api.get("/v1/usage")).document


async def test_records_rendered(api: Api) -> None:
    """A record has exactly the documented members, and the page shows where the next one begins."""
    assert {
        "records": [
            {
                "id": "r1",
                "dimension": "requests",
                "hour": "2026-11-23T10:00:00Z",
                "quantity": "1.5",
                "status": "sealed",
                "reason": None,
                "client_token": "token-1",
                "metering_record_id": None,
                "attempts": 0,
                "allocations": [{"quantity": "1.5", "tags": {"Team": "IT"}}],
                "sealed_at": "2026-11-23T10:05:00Z",
                "accepted_at": None,
                "carried_to": None,
                "kind": "usage",
                "product_code": "0abc123example",
            }
        ],
        "next": "r1",
    } == (await api.get("/v1/records")).document


async def test_record_filters_passed(api: Api) -> None:
    """Every filter reaches the ledger as it was given."""
    await api.get("/v1/records?status=unbilled&dimension=a%20b&hour=2026-11-23T10:00:00Z&after=rec-1&limit=1000")
    await api.get("/v1/records")
    assert [RecordQuery("unbilled", "a b", HOUR, "rec-1", 1000), RecordQuery()] == api.books.queries


@pytest.mark.parametrize(
    "query",
    [
        *("status=", "status=Sealed", "status=lost", "hour=", "hour=now", "hour=2026-11-23T10:30:00Z"),
        *("hour=2026-11-23T10:00:00", "hour=2026-11-23T10:00:00%2B00:30", "limit=", "limit=0", "limit=1001"),
        *("limit=-1", "limit=1.0", "limit=010", "limit=%D9%A1", "dimension=", "dimension=" + "d" * 256),
        *("after=", "after=q", "after=rec-", "after=rec-0", "after=rec-%D9%A3", "after=rec-1x", "after=7"),
        "after=rec-" + "9" * 19,
        *("order=desc", "Status=sealed", "status=sealed&status=sealed"),
    ],
)
async def test_bad_filters_refused(api: Api, query: str) -> None:
    """A filter that cannot be kept is refused instead of ignored."""
    assert "malformed" == (await api.get(f"/v1/records?{query}")).problem
    assert not api.books.queries


async def test_status_rendered(api: Api) -> None:
    """The status shows everything an operator asks first."""
    assert {
        "versions": {"sidecar": "1.2.3", "python": "3.13.1"},
        "now": "2026-11-23T10:05:00Z",
        "started_at": "2026-11-23T10:00:00Z",
        "entitlement": {
            "entitled": True,
            "state": "entitled",
            "reason": "registered",
            "detail": "AWS Marketplace registered this pod.",
            "source": "live",
            "product_code": "0abc123example",
            "public_key_version": 1,
            "registered_at": "2026-11-23T10:05:00Z",
            "since": "2026-11-23T10:05:00Z",
            "until": None,
            "check": "register",
            "pricing": None,
            "product_id": None,
        },
        "metering": {
            "state": "ok",
            "last_success_at": "2026-11-23T10:03:00Z",
            "oldest_unsent_hour": "2026-11-23T10:00:00Z",
            "in_doubt": 1,
            "answers": {"accepted": 3, "ThrottlingException": 1},
        },
        "pod": {"uid": "pod-uid", "source": "downward-api"},
        "marketplace": {
            "region": "us-east-1",
            "credentials": "irsa",
            "mode": "live",
            "clock_skew_seconds": -2.5,
        },
        "ledger": {"path": "/var/lib/marketplace-sidecar/ledger.db", "bytes": 4096, "used": 3072, "limit": 8192},
        "events": {"accepted": 7, "duplicates": 2},
        "faults": [
            {
                "code": "key-rotated",
                "detail": "The key has expired.",
                "cure": "Publish the next one.",
                "since": "2026-11-23T10:05:00Z",
            }
        ],
        "conservation": {
            "balanced": True,
            "dimensions": {
                "requests": {
                    "accepted": "9.5",
                    "open": "2",
                    "sealed": "0",
                    "submitted": "7.5",
                    "unbilled": "0",
                    "remainder": "0",
                }
            },
        },
        "sources": [
            {
                "dimension": "pod_hours",
                "state": "measuring",
                "last_sample_at": "2026-11-23T10:05:00Z",
                "series": 1,
                "detail": "counts hours of the pod",
            },
            {
                "dimension": "served",
                "state": "measuring",
                "last_sample_at": "2026-11-23T10:05:00Z",
                "series": 3,
                "detail": "counts served_total",
            },
        ],
    } == (await api.get("/v1/status")).document


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/records", "/v1/status"])
async def test_unusable_ledger_told(api: Api, path: str) -> None:
    """When the ledger cannot be read, its readers hear 503 and when to ask again."""
    api.books.refusal = api.health.refusal = LedgerUnavailable("the disk is gone", retry_after=5)
    answer = await api.get(path)
    assert (503, "ledger-unavailable", "5") == (answer.status, answer.problem, answer.headers["retry-after"])


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/status", "/openapi.json"])
async def test_stray_query_refused(api: Api, path: str) -> None:
    """A path without parameters takes none."""
    assert "malformed" == (await api.get(f"{path}?a=1")).problem


async def test_stray_query_refused_on_post(api: Api) -> None:
    """Neither does a path that is posted to."""
    assert "malformed" == (await api.post("/v1/usage?a=1", "[]")).problem
    assert "malformed" == (await api.post("/v1/attestations?a=1", '{"nonce": "n"}')).problem


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/usage/", "/v1/Usage", "/metrics", "/v2/usage", "*", "/%2e%2e/x"])
async def test_unknown_path_is_404(api: Api, path: str) -> None:
    """What is not documented is not there."""
    assert (await api.get(path)).problem in ("not-found", "malformed")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/v1/entitlement", "GET, HEAD"),
        ("GET", "/v1/attestations", "POST"),
        ("HEAD", "/v1/attestations", "POST"),
        ("DELETE", "/v1/usage", "GET, HEAD, POST"),
        ("PUT", "/v1/records", "GET, HEAD"),
        ("OPTIONS", "/v1/status", "GET, HEAD"),
        ("TRACE", "/v1/status", "GET, HEAD"),
        ("PATCH", "/openapi.json", "GET, HEAD"),
    ],
)
async def test_other_methods_refused(api: Api, method: str, path: str, allow: str) -> None:
    """Another method is 405 with the methods there are."""
    answer = await api.exchange(request(method, path), body=method != "HEAD")
    assert (answer.status, answer.headers["allow"]) == (405, allow)


async def test_head_has_no_body(api: Api) -> None:
    """HEAD answers as GET does, without the body, and the connection continues."""
    wire = await Wire.open(api.port)
    wire.send(request("HEAD", "/v1/entitlement") + request("GET", "/v1/entitlement"))
    head, whole = await wire.receive(body=False), await wire.receive()
    assert (head.status, head.headers["content-length"]) == (200, whole.headers["content-length"])
    await wire.close()


async def test_answers_end_with_a_line_feed(api: Api) -> None:
    """Every JSON answer ends with one line feed, problems too."""
    paths = ("/v1/entitlement", "/v1/entitlement?wait=0s", "/v1/usage", "/v1/records", "/v1/status", "/openapi.json")
    answers = [await api.get(path) for path in (*paths, "/nothing")]
    answers += [await api.report(body) for body in ('{"dimension": "requests"}', "{", "{}")]
    answers.append(await api.post("/v1/attestations", '{"nonce": "n"}'))
    assert {(b"}\n", True)} == {(answer.body[-2:], answer.document is not None) for answer in answers}
