"""Query parameters: only those that a path knows, each once, each judged in full.

A misspelled filter that were ignored would show an operator the wrong records.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web

from sidecar.adapters.http.problems import HttpProblem, ProblemKind
from sidecar.domain import durations, timestamps
from sidecar.domain.entitlement.states import State
from sidecar.domain.status import RecordQuery, is_record_id

LONGEST_WAIT = timedelta(minutes=5)
"""The longest a long poll may ask for, in real time."""
MOST_RECORDS = 1000
"""The largest page of records."""
LONGEST_TEXT = 255
RECORD_STATUSES = ("sealed", "accepted", "unbilled", "carried")

_KEY = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18}){3}", re.ASCII)
_LIMIT = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Poll:
    """A long poll: until the state differs from `state`, at most for `wait`."""

    wait: timedelta
    state: State | None
    """None means the state as it is now."""


def poll_of(request: web.BaseRequest) -> Poll:
    """Return what `?wait=30s&state=pending` asks for; without `wait` nothing is waited for.

    Raises:
        HttpProblem: malformed.
    """
    given = parameters_of(request, ("wait", "state"))
    wait = durations.parse(given.get("wait", "0s"))
    if wait is None or wait > LONGEST_WAIT:
        raise _malformed("wait", f"a duration like 0s, 30s or 2m, at most {durations.render(LONGEST_WAIT)}")
    state = given.get("state")
    if state is None:
        return Poll(wait, None)
    try:
        return Poll(wait, State(state))
    except ValueError:
        raise _malformed("state", f"one of {', '.join(State)}") from None


def record_query_of(request: web.BaseRequest) -> RecordQuery:
    """Return the filters of `GET /v1/records`; raises HttpProblem (malformed)."""
    given = parameters_of(request, ("status", "dimension", "hour", "after", "limit"))
    status = given.get("status")
    if status is not None and status not in RECORD_STATUSES:
        raise _malformed("status", f"one of {', '.join(RECORD_STATUSES)}")
    hour = None
    if "hour" in given:
        hour = timestamps.parse(given["hour"])
        if hour is None or not given["hour"].endswith(":00:00Z"):
            raise _malformed("hour", "the start of a UTC hour like 2026-11-23T10:00:00Z")
    limit = given.get("limit", "100")
    if _LIMIT.fullmatch(limit) is None or int(limit) > MOST_RECORDS:
        raise _malformed("limit", f"a whole number from 1 to {MOST_RECORDS}")
    if "dimension" in given and not 0 < len(given["dimension"]) <= LONGEST_TEXT:
        raise _malformed("dimension", f"1 to {LONGEST_TEXT} characters")
    # An empty page in answer to a damaged id would end the listing of its reader.
    if "after" in given and not is_record_id(given["after"]):
        raise _malformed("after", "the `next` of the page before, such as rec-7; begin again without it")
    return RecordQuery(status, given.get("dimension"), hour, given.get("after"), int(limit))


def after_of(request: web.BaseRequest) -> str | None:
    """Return where a listing of open buckets resumes, None at its beginning; raises HttpProblem (malformed)."""
    after = parameters_of(request, ("after",)).get("after")
    if after is not None and _KEY.fullmatch(after) is None:
        raise _malformed("after", "the `next` of the page before; begin again without it")
    return after


def refuse_query(request: web.BaseRequest) -> None:
    """Refuse any parameter on a path that has none; raises HttpProblem (malformed)."""
    if request.rel_url.raw_query_string:
        parameters_of(request, ())


def parameters_of(request: web.BaseRequest, known: Collection[str]) -> dict[str, str]:
    """Return the query parameters of a path that has those of `known`; raises HttpProblem (malformed)."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no query parameters"
            raise HttpProblem(ProblemKind.MALFORMED, f"unknown query parameter; this path {takes}")
        if name in given:
            raise HttpProblem(ProblemKind.MALFORMED, f"query parameter {name} occurs twice")
        given[name] = value
    return given


def _malformed(name: str, wanted: str) -> HttpProblem:
    return HttpProblem(ProblemKind.MALFORMED, f"query parameter {name} must be {wanted}")
