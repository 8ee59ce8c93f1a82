"""The log of calls: one line for each call of an SDK, with its answer and the rule that decided."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from sidecar.emulator.call_log import KEPT, CallLog, CallNotes
from sidecar.emulator.protocol.decisions import BY_ERROR, EXPLANATIONS, Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.state.seed import Seed
from tests.emulator.licenses import FINGERPRINT
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.emulator.conftest import Cluster, Connect, RunningEmulator, Start

NOW = datetime(2026, 11, 23, 10, 20, tzinfo=UTC)
CHECKOUT = {
    "ProductSKU": "prod-1",
    "CheckoutType": "PROVISIONAL",
    "KeyFingerprint": FINGERPRINT,
    "ClientToken": "t-1",
}


def meter(client: Any, **changes: Any) -> None:
    """Report usage of the hour; a refusal is an answer, too."""
    request = {"ProductCode": "p", "Timestamp": NOW, "UsageDimension": "d", "UsageQuantity": 1, **changes}
    attempt(client.meter_usage, **request)


def attempt(call: Any, **members: Any) -> None:
    """Make a call, whatever the answer."""
    with suppress(ClientError, BotoCoreError, ValueError):
        call(**members)


def decided(emulator: "RunningEmulator") -> list[tuple[str, str]]:
    """Return operation and rule of each call so far."""
    return [(call["operation"], call["rule"]) for call in emulator.get("calls")["calls"]]


@pytest.fixture
def frozen(start: "Start") -> "RunningEmulator":
    """An emulator that knows one product with one dimension, and whose time does not move."""
    emulator = start(seed=Seed("p", frozenset({"d"}), product_id="prod-1"))
    emulator.freeze("2026-11-23T10:20:00Z")
    return emulator


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Rule.HOUR_SLOT),
        ({"ProductCode": "q"}, Rule.PRODUCT),
        ({"UsageDimension": "e"}, Rule.DIMENSION),
        ({"DryRun": True}, Rule.DRY_RUN),
        ({"Timestamp": NOW - timedelta(hours=7)}, Rule.WINDOW),
        ({"UsageAllocations": [{"AllocatedUsageQuantity": 2}]}, Rule.ALLOCATIONS),
        ({"UsageQuantityAsDecimal": "1"}, Rule.SHAPE),
    ],
)
def test_meter_usage_names_rule(
    frozen: "RunningEmulator", connect: "Connect", changes: dict[str, Any], expected: Rule
) -> None:
    """Each outcome of MeterUsage has the rule that decided, and its sentence."""
    meter(connect(frozen), **changes)
    call = frozen.get("calls")["calls"][0]
    assert (expected, EXPLANATIONS[expected].sentence) == (call["rule"], call["rule_text"])


def test_repeat_and_conflict_name_rules(frozen: "RunningEmulator", connect: "Connect") -> None:
    """A repeat, a duplicate and a client token with other parameters are told apart."""
    client = connect(frozen)
    meter(client, ClientToken="t")
    meter(client)
    meter(client, UsageQuantity=2)
    meter(client, ClientToken="t", UsageQuantity=2)
    frozen.post("customers", action="unsubscribe")
    meter(client)
    expected = [Rule.HOUR_SLOT, Rule.REPEAT, Rule.HOUR_SLOT, Rule.CLIENT_TOKEN, Rule.SUBSCRIPTION]
    assert [("MeterUsage", rule) for rule in expected] == decided(frozen)


def test_other_operations_name_rules(frozen: "RunningEmulator", connect: "Connect") -> None:
    """RegisterUsage, BatchMeterUsage and ResolveCustomer have rules of their own."""
    client = connect(frozen)
    attempt(client.register_usage, ProductCode="p", PublicKeyVersion=1)
    attempt(client.register_usage, ProductCode="p", PublicKeyVersion=2)
    record = {"Timestamp": NOW, "Dimension": "d", "CustomerIdentifier": "c", "Quantity": 1}
    attempt(client.batch_meter_usage, ProductCode="p", UsageRecords=[record])
    attempt(client.batch_meter_usage, UsageRecords=[record])
    attempt(client.resolve_customer, RegistrationToken="x")
    assert [
        ("RegisterUsage", Rule.REGISTRATION),
        ("RegisterUsage", Rule.KEY_VERSION),
        ("BatchMeterUsage", Rule.CUSTOMER_SLOT),
        ("BatchMeterUsage", Rule.CUSTOMER),
        ("ResolveCustomer", Rule.REGISTRATION_TOKEN),
    ] == decided(frozen)


@pytest.mark.parametrize(
    ("entitlement", "expected"),
    [
        ({"Name": "users", "Unit": "Count", "Value": "1"}, Rule.SEATS),
        ({"Name": "users", "Unit": "Count", "Value": "9"}, Rule.SEATS),
        ({"Name": "users", "Unit": "None"}, Rule.UNIT),
    ],
)
def test_checkout_names_rule(
    frozen: "RunningEmulator", connect: "Connect", entitlement: dict[str, str], expected: Rule
) -> None:
    """NoEntitlementsAllowed does not tell its reason; the rule does."""
    frozen.post("licenses", action="grant", entitlements=[{"Name": "users", "Unit": "Count", "MaxCount": 5}])
    attempt(connect(frozen, service="license-manager").checkout_license, **CHECKOUT, Entitlements=[entitlement])
    assert [("CheckoutLicense", expected)] == decided(frozen)
    assert "clientToken" not in frozen.get("calls")["calls"][0]["parameters"]


@pytest.mark.parametrize("fault", ["throttle", "garbage", "disconnect", "drop-response", "InvalidTag"])
def test_fault_is_the_rule(frozen: "RunningEmulator", connect: "Connect", fault: str) -> None:
    """A call that an armed fault decides shows the fault."""
    frozen.post("faults", operation="MeterUsage", fault=fault)
    meter(connect(frozen))
    call = frozen.get("calls")["calls"][0]
    assert (Rule.FAULT, fault) == (call["rule"], call["fault"].removesuffix("Exception"))
    assert (fault in ("disconnect", "drop-response")) is (call["status"] is None)


def test_call_that_waits_is_shown(frozen: "RunningEmulator", connect: "Connect") -> None:
    """A call that gets no answer is logged when its wait begins, once."""
    frozen.post("faults", operation="MeterUsage", fault="timeout")
    meter(connect(frozen, timeout=0.2))
    assert [("MeterUsage", Rule.FAULT)] == decided(frozen)


def test_token_service_is_logged(frozen: "RunningEmulator", connect: "Connect", cluster: "Cluster") -> None:
    """The token service's calls show who asked, and neither token nor credentials."""
    client = connect(frozen, service="sts")
    given = client.assume_role_with_web_identity(
        RoleArn="arn:aws:iam::111122223333:role/app", RoleSessionName="app", WebIdentityToken=cluster.token("pod-9")
    )["Credentials"]
    attempt(
        client.assume_role_with_web_identity,
        RoleArn="arn:aws:iam::111122223333:role/app",
        RoleSessionName="app",
        WebIdentityToken="none",
    )
    answer = frozen.get("calls")
    assert ["pod-9", None] == [call["identity"] for call in answer["calls"]]
    assert [("AssumeRoleWithWebIdentity", Rule.WEB_IDENTITY)] * 2 == decided(frozen)
    shown = json.dumps(answer)
    assert [] == [name for name, value in given.items() if name != "Expiration" and str(value) in shown]


def test_unsigned_call_is_logged(frozen: "RunningEmulator") -> None:
    """A call without a signature, or of an unknown operation, is a line as well."""
    frozen.send("POST", "/", b"{}", {"X-Amz-Target": "AWSMPMeteringService.MeterUsage"})
    frozen.send("POST", "/", b"{}")
    assert [("MeterUsage", Rule.SIGNATURE), ("unknown", Rule.SHAPE)] == decided(frozen)


def test_calls_are_read_from_a_number(frozen: "RunningEmulator", connect: "Connect") -> None:
    """The reader asks for what is newer than the number it has."""
    client = connect(frozen)
    meter(client)
    meter(client)
    assert [2] == [call["number"] for call in json.loads(frozen.send("GET", "/_emulator/calls?after=1")[1])["calls"]]


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=", "before=1", "after=1&after=2"])
def test_bad_query_is_refused(frozen: "RunningEmulator", query: str) -> None:
    """A query that is unknown or no number is a problem that names it."""
    status, body = frozen.send("GET", f"/_emulator/calls?{query}")
    assert 400 == status
    assert query.partition("=")[0] in json.loads(body)["detail"]


def test_log_is_bounded() -> None:
    """The newest calls are kept; numbers go on counting."""
    log = CallLog()
    for _ in range(KEPT + 5):
        log.add(CallNotes("MeterUsage", "r"), NOW)
    assert (KEPT, KEPT + 5) == (len(log.after(0)), log.after(0)[-1].number)


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        (
            CallNotes(
                "MeterUsage",
                "r",
                "pod-1",
                parameters={"usageDimension": "my\ndim", "usageQuantity": "3", "dryRun": False},
                status=200,
                elements={"meteringRecordId": "m-1"},
                rule=Rule.HOUR_SLOT,
            ),
            'MeterUsage pod-1 usageDimension="my\\ndim" usageQuantity=3 -> 200 meteringRecordId=m-1 [hour-slot]',
        ),
        (
            CallNotes("MeterUsage", "r", status=400, error="XException", message="Why."),
            "MeterUsage - -> 400 XException: Why. [request-shape]",
        ),
        (
            CallNotes("BatchMeterUsage", "r", "key", parameters={"usageRecords": [1, 2]}, fault="disconnect"),
            "BatchMeterUsage key usageRecords=2 -> no answer [request-shape fault=disconnect]",
        ),
    ],
)
def test_line_of_a_call(notes: CallNotes, expected: str) -> None:
    """A line has time, operation, identity, parameters, answer and rule; a value cannot begin another line."""
    log = CallLog()
    log.add(notes, NOW)
    assert f"2026-11-23T10:20:00Z {expected}" == log.after(0)[0].line()


def test_rules_are_explained() -> None:
    """Every rule has a sentence and a source, and an error's default rule is the one that it gets."""
    assert set(Rule) == set(EXPLANATIONS)
    assert [] == [code for code, rule in BY_ERROR.items() if ServiceError(code, "").rule is not rule]


@pytest.mark.process
def test_command_logs_calls_in_json(tmp_path: Path) -> None:
    """The start shows console, document and environment; each call is a line of JSON on standard error."""
    command = [sys.executable, "-m", "sidecar.emulator.command", "--port", "0", "--log", "json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(5)]
        url = lines[0].split()[3]
        assert f"console: {url}/\n" == lines[1]
        assert re.search(r"/docs/emulator\.md$", lines[2].strip())
        variables = dict(re.findall(r"(AWS_\w+)=(\S+)", lines[4]))
        script = "import boto3; boto3.client('meteringmarketplace').register_usage(ProductCode='p', PublicKeyVersion=1)"
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **variables}, check=True, timeout=PATIENCE, cwd=tmp_path
        )
        call = json.loads(process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(PATIENCE)
    assert ("RegisterUsage", "laptop", 200) == (call["operation"], call["identity"], call["status"])
