"""Faults and quotas of License Manager's operations, and its shapes against the service model."""

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from sidecar.emulator.protocol.errors import LICENSE_MODELLED
from sidecar.emulator.protocol.license_requests import LICENSE_REQUESTS, UNITS
from sidecar.emulator.protocol.shapes import Flag, Many, Shape, Structure, Text, Whole
from sidecar.emulator.state.license_members import GRANT_TYPES, RECEIVED
from tests.emulator.licenses import FROZEN, USERS, check_in, check_out, extend
from tests.support.service_model import LICENSE_MODEL, LICENSE_OPERATIONS, modelled

if TYPE_CHECKING:
    from tests.emulator.conftest import Connect, RunningEmulator, Start

SHAPES: dict[str, dict[str, Any]] = LICENSE_MODEL["shapes"]


@pytest.fixture
def licensed(emulator: "RunningEmulator") -> "RunningEmulator":
    """An emulator whose account has a license with two users, at a time that stands still."""
    emulator.freeze(FROZEN)
    emulator.post("licenses", action="grant", sku="prod-1", entitlements=[USERS])
    return emulator


@pytest.mark.parametrize(
    ("fault", "code", "status", "taken"),
    [
        ("throttle", "RateLimitExceededException", 400, 0),
        ("internal", "ServerInternalException", 500, 0),
        ("internal-taken", "ServerInternalException", 500, 1),
        ("access-denied", "AccessDeniedException", 400, 0),
        ("expired-token", "ExpiredTokenException", 400, 0),
        ("NoEntitlementsAllowed", "NoEntitlementsAllowedException", 400, 0),
        ("RedirectException", "RedirectException", 400, 0),
    ],
)
def test_refusal_on_order(
    licensed: "RunningEmulator", connect: "Connect", fault: str, code: str, status: int, taken: int
) -> None:
    """A fault is this service's own error; only internal-taken has processed the call, and the repeat finds that."""
    client = connect(licensed, service="license-manager")
    licensed.post("faults", operation="CheckoutLicense", fault=fault)
    with pytest.raises(ClientError) as raised:
        check_out(client, "t-1")
    response = raised.value.response
    assert (code, status) == (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"])
    assert response["Error"]["Message"]
    assert taken == len(licensed.get("checkouts")["checkouts"])
    check_out(client, "t-1")
    assert 1 == len(licensed.get("checkouts")["checkouts"])


def test_redirect_on_order_names_a_region(licensed: "RunningEmulator", connect: "Connect") -> None:
    """A redirect that was asked for leads to the usual home Region."""
    client = connect(licensed, service="license-manager")
    licensed.post("faults", operation="CheckoutLicense", fault="RedirectException")
    with pytest.raises(client.exceptions.RedirectException) as raised:
        check_out(client, "t-1")
    assert "us-east-1" == raised.value.response["Location"]


@pytest.mark.parametrize(
    ("fault", "expected", "taken"),
    [
        ("drop-response", ConnectionClosedError, 1),
        ("disconnect", ConnectionClosedError, 0),
        ("timeout", ReadTimeoutError, 0),
        ("garbage", UnicodeDecodeError, 0),
    ],
)
def test_answer_gets_lost(
    licensed: "RunningEmulator", connect: "Connect", fault: str, expected: type[Exception], taken: int
) -> None:
    """A lost answer is seen as such; of these faults only drop-response has taken the seat."""
    client = connect(licensed, service="license-manager", timeout=1)
    licensed.post("faults", operation="CheckoutLicense", fault=fault)
    with pytest.raises(expected):
        check_out(client, "t-1")
    assert taken == len(licensed.get("checkouts")["checkouts"])


def test_lost_extension_has_replaced_the_token(licensed: "RunningEmulator", connect: "Connect") -> None:
    """With drop-new-token the answer is lost, and with it the token that counts from then on."""
    client = connect(licensed, service="license-manager")
    old = check_out(client, "t-1")["LicenseConsumptionToken"]
    licensed.post("faults", operation="ExtendLicenseConsumption", fault="drop-new-token")
    with pytest.raises(ConnectionClosedError):
        extend(client, old)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        extend(client, old)
    check_in(client, check_out(client, "t-1")["LicenseConsumptionToken"])


def test_token_is_withheld(licensed: "RunningEmulator", connect: "Connect") -> None:
    """With no-token the seat is taken, and the answer does not say by which token."""
    client = connect(licensed, service="license-manager")
    licensed.post("faults", operation="CheckoutLicense", fault="no-token")
    assert "LicenseConsumptionToken" not in check_out(client, "t-1")
    assert 1 == len(licensed.get("checkouts")["checkouts"])


def test_part_is_allowed(licensed: "RunningEmulator", connect: "Connect") -> None:
    """With partial the answer allows one less than was asked for, and the repetition allows all of it."""
    client = connect(licensed, service="license-manager")
    licensed.post("faults", operation="CheckoutLicense", fault="partial")
    allowed = [check_out(client, "t-1", ("users", "Count", "2"))["EntitlementsAllowed"][0]["Value"] for _ in range(2)]
    assert ["1", "2"] == allowed


def test_rate_is_limited(start: "Start", connect: "Connect") -> None:
    """With quotas each operation has its own rate, in License Manager's own words."""
    emulator = start(quotas=True)
    emulator.freeze(FROZEN)
    client = connect(emulator, service="license-manager")
    for _ in range(10):
        client.list_received_licenses()
    with pytest.raises(client.exceptions.RateLimitExceededException):
        client.list_received_licenses()
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-1")
    emulator.post("clock", advance="1s")
    client.list_received_licenses()


def test_operations_and_errors_are_as_modelled() -> None:
    """The operations and the errors of each are the service model's."""
    expected = {name: set(modelled(name, LICENSE_MODEL)) for name in LICENSE_OPERATIONS}
    assert expected == {name: set(errors) for name, errors in LICENSE_MODELLED.items()}
    assert expected.keys() == LICENSE_REQUESTS.keys()


def differences(ours: Shape, name: str, path: str) -> list[str]:
    """List where a shape of ours is not the model's."""
    theirs = SHAPES[name]
    kinds = {"string": Text, "integer": Whole, "boolean": Flag, "list": Many, "structure": Structure}
    if not isinstance(ours, kinds[theirs["type"]]):
        return [f"{path}: is no {theirs['type']}"]
    match ours:
        case Structure():
            members = {member: shape["shape"] for member, shape in theirs["members"].items()}
            found = [
                f"{path}: other members"
                for same in (ours.members.keys() == members.keys(), ours.required == set(theirs.get("required", [])))
                if not same
            ]
            shared = ours.members.keys() & members.keys()
            return found + [each for key in shared for each in differences(ours.members[key], members[key], key)]
        case Many():
            same = (ours.least, ours.most) == (theirs.get("min", 0), theirs.get("max"))
            bounds = [] if same else [f"{path}: other bounds"]
            return bounds + differences(ours.item, theirs["member"]["shape"], f"{path}[]")
        case Text():
            pattern = "|".join(theirs["enum"]) if "enum" in theirs else theirs.get("pattern", "").strip("^$")
            same = (ours.pattern.pattern if ours.pattern else "", ours.most) == (pattern, theirs.get("max"))
            return [] if same else [f"{path}: other bounds"]
        case Whole():
            return [] if (ours.least, ours.most) == (theirs["min"], theirs["max"]) else [f"{path}: other bounds"]
        case _:
            return []


@pytest.mark.parametrize("operation", LICENSE_OPERATIONS)
def test_request_is_as_modelled(operation: str) -> None:
    """Every member, type and bound of a request is the service model's."""
    shape = LICENSE_MODEL["operations"][operation]["input"]["shape"]
    assert [] == differences(LICENSE_REQUESTS[operation], shape, operation)


def test_words_are_the_models() -> None:
    """Units, states of a grant and its types are the service model's."""
    assert SHAPES["EntitlementUnit"]["enum"] == SHAPES["EntitlementDataUnit"]["enum"] == list(UNITS)
    assert list(RECEIVED) == SHAPES["ReceivedStatus"]["enum"]
    assert SHAPES["GrantType"]["enum"] == [each for each in GRANT_TYPES if each is not None]


@pytest.mark.parametrize(
    ("operation", "body", "code"),
    [
        ("CheckoutLicense", "{", "SerializationException"),
        ("CheckoutLicense", "[]", "SerializationException"),
        ("CheckoutLicense", "{}", "ValidationException"),
        ("CheckInLicense", '{"LicenseConsumptionToken": 5}', "SerializationException"),
        ("GetLicense", '{"LicenseArn": "l-1"}', "ValidationException"),
        ("ListReceivedLicenses", '{"MaxResults": 101}', "ValidationException"),
    ],
)
def test_malformed_requests_are_refused(
    licensed: "RunningEmulator", connect: "Connect", operation: str, body: str, code: str
) -> None:
    """What is not the operation's shape is refused by name, whatever an SDK would have let through."""
    client = connect(licensed, service="license-manager")
    client.meta.events.register("before-call.license-manager.*", lambda params, **_: params.update(body=body.encode()))
    calls = {
        "CheckoutLicense": lambda: check_out(client, "t"),
        "CheckInLicense": lambda: check_in(client, "t"),
        "GetLicense": lambda: client.get_license(LicenseArn="arn:aws:x:::y"),
        "ListReceivedLicenses": client.list_received_licenses,
    }
    with pytest.raises(ClientError) as raised:
        calls[operation]()
    assert code == raised.value.response["Error"]["Code"]
