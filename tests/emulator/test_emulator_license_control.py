"""Granting and changing licenses by the control API and by the seed, and what is refused there."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sidecar.emulator.state.seed import SeedError, make_seed
from tests.emulator.licenses import FROZEN, TIER, USERS, check_out

if TYPE_CHECKING:
    from tests.emulator.conftest import Connect, RunningEmulator, Start

GRANT = {"action": "grant", "sku": "prod-1", "entitlements": [USERS]}
ARN = "arn:aws:license-manager::294406891311:license:l-1"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, ["action: None", "grant, renew, amend"]),
        ({**GRANT, "action": "give"}, ["action: 'give'", "grant, renew, amend"]),
        ({**GRANT, "action": ["grant"]}, ["action: ['grant']"]),
        ({**GRANT, "colour": "red"}, ["colour: 'red'", "known: action, arn, begin"]),
        ({**GRANT, "status": "DELETED"}, ["status: 'DELETED'", "allowed are arn, begin"]),
        ({"action": "suspend", "end": FROZEN}, ["end: ", "allowed are arn, sku"]),
        ({"action": "grant", "entitlements": [USERS]}, ["sku: is missing", "product.id"]),
        ({"action": "grant", "sku": "prod-1"}, ["entitlements: is missing"]),
        ({**GRANT, "sku": 5}, ["sku: 5"]),
        ({**GRANT, "arn": "l-1"}, ["arn: 'l-1'"]),
        ({**GRANT, "begin": "today"}, ["begin: 'today'", "RFC 3339"]),
        ({**GRANT, "begin": None}, ["begin: None", "RFC 3339"]),
        ({**GRANT, "begin": "2027-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, ["end: 2026", "before begin"]),
        ({**GRANT, "received": "active"}, ["received: 'active'", "PENDING_ACCEPT"]),
        ({**GRANT, "grant_type": "Gift"}, ["grant_type: 'Gift'", "BuyerGrant, DelegateGrant, null"]),
        ({**GRANT, "issuer": ""}, ["issuer: ''"]),
        ({"action": "delete", "sku": "prod-1", "status": "EXPIRED"}, ["status: 'EXPIRED'", "DELETED, PENDING_DELETE"]),
        ({**GRANT, "entitlements": []}, ["entitlements: []", "at least one"]),
        ({**GRANT, "entitlements": ["users"]}, ["entitlements[0]: 'users'"]),
        ({**GRANT, "entitlements": [{**USERS, "Colour": "red"}]}, ["entitlements[0].Colour: 'red'", "Name, Unit"]),
        ({**GRANT, "entitlements": [{"Name": "users"}]}, ["entitlements[0]", "Unit"]),
        ({**GRANT, "entitlements": [{**USERS, "Unit": "Seats"}]}, ["entitlements[0]", "Unit"]),
        ({**GRANT, "entitlements": [{**USERS, "MaxCount": -1}]}, ["entitlements[0]", "MaxCount"]),
        ({**GRANT, "entitlements": [{"Name": "u", "Unit": "Count"}]}, ["entitlements[0].MaxCount", "missing"]),
        ({**GRANT, "entitlements": [{**TIER, "MaxCount": 1}]}, ["entitlements[0].MaxCount: 1", "no count"]),
        ({**GRANT, "entitlements": [USERS, USERS]}, ["each Name"]),
        ({"action": "renew"}, ["there is no license"]),
        ({"action": "suspend", "sku": "prod-1"}, ["'prod-1'"]),
    ],
)
def test_mistakes_are_refused(emulator: "RunningEmulator", members: dict[str, Any], words: list[str]) -> None:
    """A mistake is refused with the member, its value and what is allowed, and grants nothing."""
    status, problem = emulator.try_post("licenses", members)
    assert (400, 400) == (status, problem["status"])
    assert [] == [word for word in words if word not in problem["detail"]]
    assert {"licenses": []} == emulator.get("licenses")


def test_one_license_must_be_meant(emulator: "RunningEmulator") -> None:
    """Where a product has two licenses the ARN is needed, unless only one of them is still alive."""
    old = emulator.post("licenses", **GRANT)["LicenseArn"]
    new = emulator.post("licenses", **GRANT)["LicenseArn"]
    status, problem = emulator.try_post("licenses", {"action": "suspend", "sku": "prod-1"})
    assert 400 == status
    assert [] == [arn for arn in (old, new) if arn not in problem["detail"]]
    assert "EXPIRED" == emulator.post("licenses", action="expire", arn=old)["Status"]
    assert new == emulator.post("licenses", action="suspend", sku="prod-1")["LicenseArn"]
    assert 400 == emulator.try_post("licenses", {**GRANT, "arn": old})[0]


def test_arn_can_be_chosen(emulator: "RunningEmulator") -> None:
    """A grant takes the ARN that it is given."""
    assert ARN == emulator.post("licenses", **GRANT, arn=ARN)["LicenseArn"]


SEED = """
product: {code: p, id: prod-1}
licenses:
  - entitlements: [{Name: users, Unit: Count, MaxCount: 2}, {Name: pro, Unit: None, Value: Enabled}]
    begin: 2026-01-01T00:00:00Z
    end: "2027-01-01T00:00:00Z"
  - {sku: prod-2, entitlements: [{Name: pro, Unit: None}], received: PENDING_ACCEPT, home_region: eu-west-1}
"""


def test_seed_grants(start: "Start", connect: "Connect") -> None:
    """The seed's licenses are there from the start, and again after a reset; the product's ID is their SKU."""
    emulator = start(seed=make_seed(yaml.safe_load(SEED)))
    emulator.freeze(FROZEN)
    first, second = emulator.get("licenses")["licenses"]
    assert ("prod-1", "AVAILABLE", "2027-01-01T00:00:00Z") == (
        first["ProductSKU"],
        first["Status"],
        first["Validity"]["End"],
    )
    assert ("prod-2", "PENDING_ACCEPT", "eu-west-1") == (
        second["ProductSKU"],
        second["ReceivedMetadata"]["ReceivedStatus"],
        second["HomeRegion"],
    )
    assert "End" not in second["Validity"]
    check_out(connect(emulator, service="license-manager"), "t-1")
    emulator.post("licenses", action="remove", sku="prod-2")
    emulator.post("reset")
    assert 2 == len(emulator.get("licenses")["licenses"])
    assert {"checkouts": []} == emulator.get("checkouts")
    emulator.post("licenses", action="grant", entitlements=[USERS])


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"licenses": {}}, "licenses: must be a list"),
        ({"licenses": ["l"]}, "licenses[0].sku: is missing"),
        ({"licenses": [{"sku": "prod-1"}]}, "licenses[0].entitlements: is missing"),
        ({"licenses": [{"sku": "prod-1", "entitlements": [USERS], "action": "grant"}]}, "licenses[0].action: 'grant'"),
        ({"licenses": [{"sku": "prod-1", "entitlements": [USERS], "begin": "x"}]}, "licenses[0].begin: 'x'"),
        ({"licenses": [{"sku": "p", "entitlements": [USERS], "arn": ARN}] * 2}, f"licenses[1].arn: '{ARN}'"),
        ({"product": {"id": 5}}, "product.id: 5"),
        ({"product": {"id": ""}}, "product.id: ''"),
    ],
)
def test_bad_seed_is_refused(document: object, problem: str) -> None:
    """Each fault of the seed's licenses is named by its place, with the value."""
    with pytest.raises(SeedError) as raised:
        make_seed(document)
    assert [True] == [found.startswith(problem) for found in raised.value.problems]


def test_state_outlives_restart(start: "Start", connect: "Connect", tmp_path: Path) -> None:
    """Licenses, checkouts, their tokens and removed licenses of the seed go on after a restart."""
    options = {"seed": make_seed(yaml.safe_load(SEED)), "state_file": tmp_path / "state"}
    first = start(**options)
    first.freeze(FROZEN)
    client = connect(first, service="license-manager")
    held = check_out(client, "t-1")["LicenseConsumptionToken"]
    drawn = check_out(client, "t-2", CheckoutType="PERPETUAL")["LicenseConsumptionToken"]
    first.post("faults", operation="ExtendLicenseConsumption", fault="new-token")
    first.post("clock", advance="30m")
    extended = client.extend_license_consumption(LicenseConsumptionToken=held)["LicenseConsumptionToken"]
    first.post("licenses", action="remove", sku="prod-2")
    first.post("licenses", action="amend", sku="prod-1", received="DISABLED")
    shown = {name: first.get(name) for name in ("licenses", "checkouts", "events", "state")}
    first.stop()

    second = start(**options)
    assert shown == {name: second.get(name) for name in shown}
    client = connect(second, service="license-manager")
    assert drawn == check_out(client, "t-2", CheckoutType="PERPETUAL")["LicenseConsumptionToken"]
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.check_in_license(LicenseConsumptionToken=held)
    client.check_in_license(LicenseConsumptionToken=extended)
    assert [False, True] == [checkout["Held"] for checkout in second.get("checkouts")["checkouts"]]


def test_answer_is_on_disk(start: "Start", connect: "Connect", tmp_path: Path) -> None:
    """When an answer is there a kill loses nothing of it: grant, checkout, extension and return are in the file."""
    path = tmp_path / "state"
    emulator = start(state_file=path)
    emulator.freeze(FROZEN)
    client = connect(emulator, service="license-manager")
    arn = emulator.post("licenses", **GRANT)["LicenseArn"]
    token = check_out(client, "t-1")["LicenseConsumptionToken"]
    found = [f'"arn": "{arn}"' in path.read_text(), f'"consumption_token": "{token}"' in path.read_text()]
    emulator.post("clock", advance="30m")
    client.extend_license_consumption(LicenseConsumptionToken=token)
    found.append('"expires_at": "2026-11-23T11:30:00Z"' in path.read_text())
    client.check_in_license(LicenseConsumptionToken=token)
    found.append('"returned_at": "2026-11-23T10:30:00Z"' in path.read_text())
    assert [True] * 4 == found


def test_older_state_file_loads(start: "Start", tmp_path: Path) -> None:
    """A state file from before there were licenses is read, and licenses are kept in it from then on."""
    path = tmp_path / "state"
    path.write_text(
        '{"format": "marketplace-emulator-state", "version": 1}\n'
        '[{"kind": "SigningKey", "version": 1, "private_pem": null, "expired_at": null}]\n'
        '[{"kind": "Subscription", "entitled": false}]\n'
    )
    first = start(state_file=path)
    assert first.get("state")["entitled"] is False
    first.post("licenses", **GRANT)
    first.stop()
    assert 1 == len(start(state_file=path).get("licenses")["licenses"])


def test_grant_is_dated_by_the_emulated_clock(emulator: "RunningEmulator") -> None:
    """A license begins and is created at the emulator's time."""
    emulator.freeze("2030-01-01T00:00:00Z")
    granted = emulator.post("licenses", **GRANT)
    assert "2030-01-01T00:00:00Z" == granted["Validity"]["Begin"]
    assert str(int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())) == granted["CreateTime"]
