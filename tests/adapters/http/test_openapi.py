"""The OpenAPI document: valid in itself, true of the code, and kept by a running API."""

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar import __version__
from sidecar.adapters.http import queries
from sidecar.adapters.http.admission import MOST_REPORTS
from sidecar.adapters.http.bodies import MOST_BODY
from sidecar.adapters.http.client_connection import LARGEST_HEADER, LARGEST_LINE
from sidecar.adapters.http.direct_connection import LARGEST_HEAD
from sidecar.adapters.http.items import LARGEST_ITEM, MOST_ITEMS
from sidecar.adapters.http.openapi import describe
from sidecar.adapters.http.otlp_messages import MOST_JSON
from sidecar.adapters.http.problems import ProblemKind
from sidecar.adapters.http.small_documents import LARGEST_BODY
from sidecar.commands import openapi
from sidecar.domain.entitlement.states import EntitlementSource, State
from sidecar.domain.metering import quantity
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.exports import MOST_SAMPLES
from sidecar.domain.metering.sources import Otlp, PodTime
from sidecar.domain.metering.validation import MAX_FUTURE, MAX_PAST, MOST_FAULTS
from sidecar.domain.status import MOST_BUCKETS
from sidecar.services.app_checkouts import MOST_LISTED
from tests.support.http_fakes import DIMENSIONS, Api, FakeExports, request
from tests.support.measuring import unmeasured
from tests.support.tools import PATIENCE

TEST_CASES_PER_OPERATION = 25


@pytest.mark.parametrize("dimensions", [None, {}, DIMENSIONS, {"requests": Dimension("requests")}])
def test_document_is_valid(dimensions: dict[str, Dimension] | None) -> None:
    """The document is OpenAPI 3.1, whatever the product's dimensions are."""
    from openapi_spec_validator import validate  # noqa: PLC0415 - see `_validator`

    document = describe(dimensions)
    validate(document)
    assert (document["openapi"], document["info"]["version"]) == ("3.1.0", __version__)


def test_command_prints_document(capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the document as JSON."""
    parser = argparse.ArgumentParser()
    openapi.add_arguments(parser)
    assert 0 == openapi.run(parser.parse_args([]))
    assert describe() == json.loads(capsys.readouterr().out)


def _validator(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    # Loading it compiles 38 grammars, 5 seconds that every worker would spend to collect the tests.
    from openapi_schema_validator import OAS31Validator  # noqa: PLC0415

    return OAS31Validator({**schema, "components": document["components"]})


def test_examples_are_valid() -> None:
    """Every example keeps its own schema."""
    document = describe()
    checked = 0
    for schema in document["components"]["schemas"].values():
        for example in schema.get("examples", []):
            _validator(document, schema).validate(example)
            checked += 1
    holders = [
        *(response for response in document["components"]["responses"].values()),
        *(
            holder
            for path in document["paths"].values()
            for operation in path.values()
            for holder in (operation.get("requestBody", {}), *operation["responses"].values())
        ),
    ]
    for holder in holders:
        for media in holder.get("content", {}).values():
            named = [each["value"] for each in media.get("examples", {}).values()]
            for example in [media["example"], *named] if "example" in media else named:
                _validator(document, media["schema"]).validate(example)
                checked += 1
    assert checked >= 10


async def test_every_get_keeps_its_schema(api: Api) -> None:
    """What the paths answer keeps the schema that is documented."""
    document = (await api.get("/openapi.json")).document
    for path, item in document["paths"].items():
        if "get" in item:
            schema = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            assert [] == list(_validator(document, schema).iter_errors((await api.get(path)).document))


async def test_served_document_names_dimensions(api: Api) -> None:
    """A running sidecar describes its own dimensions, each with the amount that it takes."""
    document = (await api.get("/openapi.json")).document
    event = _validator(document, {"$ref": "#/components/schemas/UsageEvent"})
    assert event.is_valid({"dimension": "requests", "quantity": "1"})
    assert event.is_valid({"dimension": "users", "value": "u"})
    assert not event.is_valid({"dimension": "users", "quantity": "1"})
    assert not event.is_valid({"dimension": "other"})


async def test_crowd_that_asks_first(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document is made once, also for a crowd that asks before it is there, and takes no place of usage."""
    made: list[object] = []

    def count(dimensions: Mapping[str, Dimension] | None = None) -> dict[str, object]:
        made.append(dimensions)
        return {}

    monkeypatch.setattr("sidecar.adapters.http.api.describe", count)
    found = await asyncio.gather(*(api.get("/openapi.json") for _ in range(MOST_REPORTS + 20)))
    assert ({200}, 1) == ({each.status for each in found}, len(made))


def test_measured_dimensions_are_not_reported() -> None:
    """A dimension with a source is none that an event may name."""
    document = describe({"requests": Dimension("requests"), "hours": Dimension("hours", source=PodTime())})
    event = _validator(document, {"$ref": "#/components/schemas/UsageEvent"})
    assert event.is_valid({"dimension": "requests"})
    assert not event.is_valid({"dimension": "hours"})


def _prose(node: object) -> Iterator[str]:
    """Yield each description and summary below a node, its white space as single spaces."""
    if isinstance(node, dict):
        yield from (" ".join(each.split()) for name, each in node.items() if name in _PROSE and isinstance(each, str))
        for each in node.values():
            yield from _prose(each)
    elif isinstance(node, list):
        for each in node:
            yield from _prose(each)


_PROSE = ("description", "summary")
_LIMIT = re.compile(
    r"[0-9][0-9,]* (?:[KM]iB|bytes|characters|events|samples|checkouts|minutes|days|fraction|at a time)"
    r"|up to [0-9][0-9,]*m?"
)


def test_limits_in_prose_are_the_codes() -> None:
    """Each limit that a description states is the one that the code has."""
    kib, mib, minute = 1024, 1024 * 1024, timedelta(minutes=1)
    expected = {
        f"{LARGEST_LINE} bytes",
        f"{LARGEST_HEADER} bytes",
        f"{(LARGEST_HEADER - 512) // kib} KiB",  # of baggage, with its name
        f"{LARGEST_HEAD // kib} KiB",
        f"{LARGEST_BODY // kib} KiB",
        f"{MOST_BODY // mib} MiB",
        f"{MOST_JSON // mib} MiB",
        f"{MOST_SAMPLES:,} samples",
        f"{MOST_ITEMS:,} events",
        f"{LARGEST_ITEM:,} characters",
        f"up to {MOST_FAULTS:,}",
        f"up to {queries.LONGEST_WAIT // minute}m",
        f"{MOST_BUCKETS:,} at a time",
        f"{MOST_LISTED:,} checkouts",
        f"{MAX_FUTURE // minute} minutes",
        f"{MAX_PAST.days} days",
        "255 characters",
        "6 fraction",
    }
    assert expected == {limit for text in _prose(describe()) for limit in _LIMIT.findall(text)}


def test_every_problem_described() -> None:
    """The words of all problems stand in the document, and no others."""
    text = json.dumps(describe())
    described = {word for word in (kind.word for kind in ProblemKind) if f"`{word}`" in text}
    assert {"internal-error"} == {kind.word for kind in ProblemKind} - described


def test_limits_agree_with_code() -> None:
    """The words and patterns of the document agree with the code."""
    document = describe()
    schemas = document["components"]["schemas"]
    assert list(State) == schemas["State"]["enum"]
    assert list(EntitlementSource) == schemas["Source"]["enum"]
    assert list(queries.RECORD_STATUSES) == schemas["RecordStatus"]["enum"]
    limit = next(
        parameter for parameter in document["paths"]["/v1/records"]["get"]["parameters"] if parameter["name"] == "limit"
    )
    assert limit["schema"]["maximum"] == queries.MOST_RECORDS
    assert MOST_BODY == 8 * 1024 * 1024
    pattern = re.compile(schemas["Quantity"]["anyOf"][0]["pattern"])
    for text in ("0", "1.5", "9999999999.999999", "01", "-1", "1e3", "1.", "1.0000000", "10000000000", ""):
        assert (pattern.search(text) is not None) == (quantity.parse(text) is not None)


@pytest.mark.parametrize(
    "wait", ["0s", "9s", "30s", "299s", "300s", "301s", "0m", "5m", "6m", "0h", "1h", "05s", "s", "5"]
)
async def test_wait_pattern_agrees_with_code(api: Api, wait: str) -> None:
    """The pattern of `wait` takes what the code takes."""
    api.gate.patient = False
    schema = (await api.get("/openapi.json")).document["paths"]["/v1/entitlement"]["get"]["parameters"][0]["schema"]
    taken = (await api.get(f"/v1/entitlement?wait={wait}")).status == 200
    assert taken == (re.search(schema["pattern"], wait) is not None)


@pytest.fixture
async def counting_api() -> AsyncIterator[Api]:
    """Start an API with a source `otlp`."""
    counted = Dimension("tokens", source=Otlp("app.tokens"))
    running = Api(exports=FakeExports(), dimensions={**DIMENSIONS, "tokens": counted})
    await running.start()
    yield running
    await running.stop()


@pytest.mark.process
async def test_api_keeps_its_description(counting_api: Api, tmp_path: Path) -> None:
    """Requests made from the document, good and bad, find the API doing what the document states."""
    api = counting_api
    api.gate.patient = False
    # The API runs in this process, so coverage of the other one finds nothing.
    with unmeasured():
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.adapters.http.schemathesis_hooks", "NO_COLOR": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{api.port}/openapi.json"),
        *("--checks", "all", "--seed", "20261123", "--max-examples", str(TEST_CASES_PER_OPERATION), "--no-shrink"),
        *("--request-timeout", str(PATIENCE), "--suppress-health-check", "too_slow"),
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert 0 == process.returncode, output.decode()
    assert len(api.intake.batches) > TEST_CASES_PER_OPERATION
    assert 200 == (await api.exchange(request("GET", "/v1/entitlement"))).status
