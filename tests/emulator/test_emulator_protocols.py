"""The protocols of the service models, and Smithy's RPC v2 with CBOR as an SDK speaks it."""

import http.client
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.loaders
import cbor2
import pytest

from sidecar.emulator.protocol.body_codecs import CBOR
from sidecar.emulator.protocol.errors import ENTITLEMENT_MODELLED, ServiceError
from sidecar.emulator.protocol.services import ENTITLEMENT_SERVICE, LICENSE_MANAGER, METERING, RpcService
from tests.support.service_model import ENTITLEMENT_MODEL, LICENSE_MODEL, MODEL
from tests.support.tools import PATIENCE

if TYPE_CHECKING:
    from tests.emulator.conftest import Connect, RunningEmulator

PATH = "/service/AWSMPEntitlementService/operation/GetEntitlements"
HEADERS = {"Smithy-Protocol": "rpc-v2-cbor", "Content-Type": "application/cbor", "X-Amz-Date": "20261123T102000Z"}


@pytest.mark.parametrize(
    ("service", "model"),
    [(METERING, MODEL), (LICENSE_MANAGER, LICENSE_MODEL), (ENTITLEMENT_SERVICE, ENTITLEMENT_MODEL)],
    ids=["metering", "license-manager", "entitlement"],
)
def test_protocols_are_as_modelled(service: RpcService, model: dict[str, Any]) -> None:
    """The emulator speaks each protocol that the installed model of a service names, under the model's name of it."""
    assert model["metadata"]["protocols"] == list(service.protocols)
    assert model["metadata"]["targetPrefix"] == service.name


def test_token_service_speaks_query() -> None:
    """The model of the token service has one protocol."""
    model = botocore.loaders.Loader().load_service_model("sts", "service-2")
    assert ["query"] == model["metadata"]["protocols"]


@pytest.fixture
def client(emulator: "RunningEmulator", connect: "Connect", monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the Entitlement Service that speaks CBOR alone."""
    load = botocore.loaders.Loader.load_service_model

    def load_for_cbor(loader: Any, name: str, kind: str, api_version: str | None = None) -> Any:
        model = load(loader, name, kind, api_version)
        if (name, kind) == ("marketplace-entitlement", "service-2"):
            return {**model, "metadata": {**model["metadata"], "protocols": [CBOR.protocol]}}
        return model

    monkeypatch.setattr(botocore.loaders.Loader, "load_service_model", load_for_cbor)
    client = connect(emulator, service="marketplace-entitlement", region="us-east-1")
    assert CBOR.protocol == client.meta.service_model.resolved_protocol
    return client


def test_entitlements_by_cbor(emulator: "RunningEmulator", client: Any) -> None:
    """Members, numbers, instants and pages arrive as by JSON."""
    until = datetime(2099, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    emulator.post(
        "customers",
        action="entitle",
        CustomerAWSAccountId="123456789012",
        entitlements=[
            {"Dimension": "users", "Value": {"IntegerValue": 10}, "ExpirationDate": until.isoformat()},
            {"Dimension": "storage", "Value": {"DoubleValue": 2.5}},
        ],
    )
    asked = {"ProductCode": "prod", "Filter": {"CUSTOMER_AWS_ACCOUNT_ID": ["123456789012"]}, "MaxResults": 1}
    first = client.get_entitlements(**asked)
    second = client.get_entitlements(**asked, NextToken=first["NextToken"])
    (users,), (storage,) = first["Entitlements"], second["Entitlements"]
    assert ({"IntegerValue": 10}, until) == (users["Value"], users["ExpirationDate"])
    assert ({"DoubleValue": 2.5}, None) == (storage["Value"], storage.get("ExpirationDate"))
    assert ["GetEntitlements"] * 2 == [call["operation"] for call in emulator.get("calls")["calls"]]


@pytest.mark.parametrize("error", ENTITLEMENT_MODELLED["GetEntitlements"])
def test_error_by_cbor(emulator: "RunningEmulator", client: Any, error: str) -> None:
    """The SDK raises its own class of each modelled error, with the message."""
    emulator.post("faults", operation="GetEntitlements", fault=error)
    with pytest.raises(client.exceptions.from_code(error), match="This fault was armed"):
        client.get_entitlements(ProductCode="prod")


def ask(emulator: "RunningEmulator", body: bytes, path: str = PATH, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """Post without a signature; returns status, document and headers."""
    connection = http.client.HTTPConnection(urlsplit(emulator.url).netloc, timeout=PATIENCE)
    try:
        connection.request("POST", path, body, {**HEADERS, **headers})
        response = connection.getresponse()
        return response.status, cbor2.loads(response.read()), dict(response.getheaders())
    finally:
        connection.close()


def test_refusal_is_cbor(emulator: "RunningEmulator") -> None:
    """A refusal has the protocol's headers, and names its error in `__type`."""
    status, document, headers = ask(emulator, b"\xa0")
    assert (400, "MissingAuthenticationTokenException") == (status, document["__type"])
    assert ("rpc-v2-cbor", "application/cbor") == (headers["Smithy-Protocol"], headers["Content-Type"])


@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        ("/service/AWSMPMeteringService/operation/MeterUsage", "rpc-v2-cbor"),
        ("/service/AWSMPEntitlementService/operation/ListEntitlements", "rpc-v2-cbor"),
        (PATH, "rpc-v2-json"),
    ],
)
def test_other_protocol_is_named(emulator: "RunningEmulator", path: str, protocol: str) -> None:
    """A call by a protocol that the service does not have is refused and logged; the message names the protocol."""
    status, document, _ = ask(emulator, b"\xa0", path, **{"Smithy-Protocol": protocol})
    assert (400, "UnknownOperationException") == (status, document["__type"])
    assert CBOR.protocol in document["message"]
    assert [("unknown", "UnknownOperationException")] == [
        (call["operation"], call["error"]) for call in emulator.get("calls")["calls"]
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xa1",
        b"\xff",
        b"\x81" * 100_000,
        b"\x9b" + b"\xff" * 8,
        b"\x61\xff",
        b"\xd8\x23\x61\x28",
        b"\xc1\xf9\x7c\x00",
    ],
    ids=["empty", "cut", "break", "nested", "endless", "text", "expression", "instant"],
)
def test_hostile_body_is_refused(body: bytes) -> None:
    """What is no CBOR is an error of the client's."""
    with pytest.raises(ServiceError) as caught:
        CBOR.decode(body)
    assert ("SerializationException", 400) == (caught.value.code, caught.value.status)


@pytest.mark.parametrize(("method", "path"), [("GET", "/bucket/a%0Ab"), ("POST", "/v1/x"), ("PUT", "/")])
def test_unknown_path_is_logged(emulator: "RunningEmulator", method: str, path: str) -> None:
    """A call of an SDK that no path takes is a line; a request of anything else is not."""
    emulator.send(method, path)
    status, _ = emulator.send(method, path, headers={"X-Amz-Date": "20261123T102000Z"})
    (call,) = emulator.get("calls")["calls"]
    assert (status, "unknown") == (call["status"], call["operation"])
    assert f"{method} {path}: " in call["message"]
