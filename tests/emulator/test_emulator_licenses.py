"""License Manager's operations, as boto3 meets them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.licenses import FINGERPRINT, FROZEN, TIER, USAGE, USERS, check_in, check_out, extend

if TYPE_CHECKING:
    from tests.emulator.conftest import Connect, RunningEmulator, Start


@pytest.fixture
def licensed(emulator: "RunningEmulator") -> "RunningEmulator":
    """An emulator whose account has a license with two users, at a time that stands still."""
    emulator.freeze(FROZEN)
    emulator.post("licenses", action="grant", sku="prod-1", entitlements=[USERS, USAGE, TIER])
    return emulator


@pytest.fixture
def client(licensed: "RunningEmulator", connect: "Connect") -> Any:
    """An SDK's client of License Manager."""
    return connect(licensed, service="license-manager")


def refused(error: ClientError) -> str:
    """Return the name of an error."""
    return str(error.response["Error"]["Code"])


def held(emulator: "RunningEmulator") -> list[str]:
    """Return the client tokens of the checkouts that are held."""
    return [checkout["ClientToken"] for checkout in emulator.get("checkouts")["checkouts"] if checkout["Held"]]


def test_checkout_answers_like_aws(client: Any, licensed: "RunningEmulator") -> None:
    """A checkout names license, time, what is allowed, and a signed token of the model's length."""
    answer = check_out(client, "t-1", ("users", "Count", "2"), NodeId="node")
    (license_,) = licensed.get("licenses")["licenses"]
    assert license_["LicenseArn"] == answer["LicenseArn"]
    assert ("PROVISIONAL", "node", FROZEN, "2026-11-23T11:00:00Z") == (
        answer["CheckoutType"],
        answer["NodeId"],
        answer["IssuedAt"],
        answer["Expiration"],
    )
    assert [{"Name": "users", "Unit": "Count", "Value": "2"}] == answer["EntitlementsAllowed"]
    assert len(answer["SignedToken"]) >= 4096


def test_seats_run_out_and_come_back(client: Any, licensed: "RunningEmulator") -> None:
    """No more than the maximum is held; a check-in gives back immediately, the clock after 60 minutes."""
    first = check_out(client, "t-1")["LicenseConsumptionToken"]
    check_out(client, "t-2")
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-3")
    check_in(client, first)
    check_out(client, "t-3")
    assert ["t-2", "t-3"] == held(licensed)
    licensed.post("clock", advance="59m")
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-4")
    licensed.post("clock", advance="1m")
    assert [] == held(licensed)
    check_out(client, "t-4", ("users", "Count", "2"))


def test_all_or_nothing(client: Any, licensed: "RunningEmulator") -> None:
    """A checkout of which one part is not allowed takes nothing."""
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-1", ("users", "Count", "1"), ("other", "Count", "1"))
    assert [] == held(licensed)


def test_token_of_two_pods(client: Any, licensed: "RunningEmulator", connect: "Connect") -> None:
    """A checkout belongs to the account: the same client token from another pod is the same checkout."""
    other = connect(licensed, key="AKIAPODTWO", service="license-manager")
    token = check_out(client, "t-1")["LicenseConsumptionToken"]
    assert token == check_out(other, "t-1")["LicenseConsumptionToken"]
    (checkout,) = licensed.get("checkouts")["checkouts"]
    assert "AKIAPODONE" == checkout["Identity"]
    check_in(other, token)
    assert [] == held(licensed)


@pytest.mark.parametrize(
    "changed",
    [
        {"Entitlements": [{"Name": "users", "Unit": "Count", "Value": "2"}]},
        {"CheckoutType": "PERPETUAL"},
        {"ProductSKU": "prod-2"},
        {"KeyFingerprint": "other"},
        {"Beneficiary": "111122223333"},
        {"NodeId": "node"},
    ],
)
def test_client_token_is_one_checkout(client: Any, licensed: "RunningEmulator", changed: dict[str, Any]) -> None:
    """The same request again is the same checkout and takes nothing more; another one by its token is refused."""
    first = check_out(client, "t-1")
    again = check_out(client, "t-1")
    assert first["LicenseConsumptionToken"] == again["LicenseConsumptionToken"]
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        check_out(client, "t-1", **changed)
    assert ["t-1"] == held(licensed)


def test_client_token_outlives_its_checkout(client: Any, licensed: "RunningEmulator") -> None:
    """A client token whose checkout has ended gives that checkout again, and takes nothing."""
    token = check_out(client, "t-1")["LicenseConsumptionToken"]
    check_in(client, token)
    assert token == check_out(client, "t-1")["LicenseConsumptionToken"]
    assert [] == held(licensed)


@pytest.mark.parametrize(
    ("asked", "members"),
    [
        (("users", "None", None), {}),
        (("users", "Seconds", "1"), {}),
        (("USERS", "Count", "1"), {}),
        (("seats", "Count", "1"), {}),
        (("pro", "Count", "1"), {}),
        (("users", "Count", "3"), {}),
        (("users", "Count", "1"), {"ProductSKU": "prod-2"}),
        (("users", "Count", "1"), {"KeyFingerprint": "aws:111122223333:me:issuer-fingerprint"}),
    ],
)
def test_what_the_license_lacks_is_refused(
    client: Any, licensed: "RunningEmulator", asked: tuple[str, str, str | None], members: dict[str, Any]
) -> None:
    """A wrong unit, entitlement, amount, product or issuer is all the same error."""
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-1", asked, **members)
    assert [] == held(licensed)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ([("users", "Count", None)], "ValidationException"),
        ([("users", "Count", "0")], "InvalidParameterValueException"),
        ([("users", "Count", "-1")], "InvalidParameterValueException"),
        ([("users", "Count", "1.5")], "InvalidParameterValueException"),
        ([("users", "Count", "NaN")], "InvalidParameterValueException"),
        ([("users", "Count", "1e999999999")], "InvalidParameterValueException"),
        ([("users", "Count", "one")], "InvalidParameterValueException"),
        ([("users", "Count", "1"), ("users", "Count", "1")], "InvalidParameterValueException"),
    ],
)
def test_malformed_amounts_are_refused(client: Any, asked: list[tuple[str, str, str | None]], code: str) -> None:
    """A counted entitlement needs a positive whole number, and each may be named once."""
    with pytest.raises(ClientError) as raised:
        check_out(client, "t-1", *asked)
    assert code == refused(raised.value)


def test_uncounted_entitlements_take_nothing(client: Any, licensed: "RunningEmulator") -> None:
    """An entitlement without a count is allowed any number of times."""
    for number in range(5):
        check_out(client, f"t-{number}", ("AWS::Marketplace::Usage", "None", None), ("pro", "None", None))
    assert 5 == len(held(licensed))


def test_overage_admits(licensed: "RunningEmulator", client: Any) -> None:
    """With Overage more than the maximum is allowed."""
    licensed.post("licenses", action="amend", entitlements=[{**USERS, "Overage": True}])
    assert "100" == check_out(client, "t-1", ("users", "Count", "100"))["EntitlementsAllowed"][0]["Value"]


def test_other_units_count_fractions(licensed: "RunningEmulator", client: Any) -> None:
    """An amount in another unit may have a fraction; the amounts add up exactly."""
    data = {"Name": "data", "Unit": "Gigabytes", "MaxCount": 1}
    licensed.post("licenses", action="amend", entitlements=[data])
    for number in range(10):
        check_out(client, f"t-{number}", ("data", "Gigabytes", "0.1"))
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-x", ("data", "Gigabytes", "0.0001"))


def test_extension_adds_an_hour(licensed: "RunningEmulator", client: Any) -> None:
    """An extension lasts 60 minutes from now and keeps the token; after the end there is nothing to extend."""
    token = check_out(client, "t-1")["LicenseConsumptionToken"]
    licensed.post("clock", advance="59m")
    answer = extend(client, token)
    assert (token, "2026-11-23T11:59:00Z") == (answer["LicenseConsumptionToken"], answer["Expiration"])
    licensed.post("clock", advance="59m")
    assert ["t-1"] == held(licensed)
    licensed.post("clock", advance="1m")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        extend(client, token)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        check_in(client, token)


def test_extension_may_replace_the_token(licensed: "RunningEmulator", client: Any) -> None:
    """With new-token the old token is unknown from then on; the client token gives the new one."""
    old = check_out(client, "t-1")["LicenseConsumptionToken"]
    licensed.post("faults", operation="ExtendLicenseConsumption", fault="new-token")
    new = extend(client, old)["LicenseConsumptionToken"]
    assert new != old
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        extend(client, old)
    assert new == check_out(client, "t-1")["LicenseConsumptionToken"]
    check_in(client, new)
    assert [] == held(licensed)


def test_dry_run_extends_nothing(licensed: "RunningEmulator", client: Any) -> None:
    """A dry run succeeds without a token and without an effect."""
    token = check_out(client, "t-1")["LicenseConsumptionToken"]
    licensed.post("clock", advance="30m")
    assert "Expiration" not in extend(client, token, DryRun=True)
    assert "2026-11-23T11:00:00Z" == licensed.get("checkouts")["checkouts"][0]["Expiration"]


def test_draw_down_never_returns(licensed: "RunningEmulator", client: Any) -> None:
    """A perpetual checkout has no end, no extension and no check-in."""
    answer = check_out(client, "t-1", CheckoutType="PERPETUAL")
    token = answer["LicenseConsumptionToken"]
    assert "Expiration" not in answer
    for call in (extend, check_in):
        with pytest.raises(client.exceptions.InvalidParameterValueException):
            call(client, token)
    licensed.post("clock", advance="8760h")
    licensed.post("licenses", action="amend", end="2030-01-01T00:00:00Z")
    check_out(client, "t-2")
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-3")
    assert token == check_out(client, "t-1", CheckoutType="PERPETUAL")["LicenseConsumptionToken"]


def test_check_in_that_is_not_allowed(licensed: "RunningEmulator", client: Any) -> None:
    """With AllowCheckIn false a seat returns by its time alone."""
    licensed.post("licenses", action="amend", entitlements=[{**USERS, "AllowCheckIn": False}])
    token = check_out(client, "t-1")["LicenseConsumptionToken"]
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        check_in(client, token)
    assert ["t-1"] == held(licensed)


def test_newest_license_is_taken(licensed: "RunningEmulator", client: Any) -> None:
    """Of two licenses of one product the newest is taken, also when only the older one has room."""
    (old,) = licensed.get("licenses")["licenses"]
    licensed.post("clock", advance="1h")
    new = licensed.post("licenses", action="grant", sku="prod-1", entitlements=[{**USERS, "MaxCount": 1}])
    assert new["LicenseArn"] == check_out(client, "t-1")["LicenseArn"]
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-2")
    licensed.post("licenses", action="suspend", arn=new["LicenseArn"])
    assert old["LicenseArn"] == check_out(client, "t-2")["LicenseArn"]


@pytest.mark.parametrize(
    "members",
    [
        {"received": "PENDING_ACCEPT"},
        {"received": "REJECTED"},
        {"received": "DISABLED"},
        {"grant_type": "DelegateGrant"},
        {"issuer": "myself"},
        {"begin": "2027-01-01T00:00:00Z"},
        {"begin": "2026-01-01T00:00:00Z", "end": "2026-11-23T10:00:00Z"},
    ],
)
def test_licenses_without_a_right_are_listed(
    emulator: "RunningEmulator", connect: "Connect", members: dict[str, Any]
) -> None:
    """A grant that gives no right shows in the list and allows no checkout."""
    emulator.freeze(FROZEN)
    emulator.post("licenses", action="grant", sku="prod-1", entitlements=[USERS], **members)
    client = connect(emulator, service="license-manager")
    assert 1 == len(client.list_received_licenses()["Licenses"])
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-1")


def test_own_issuer_has_its_own_fingerprint(emulator: "RunningEmulator", connect: "Connect") -> None:
    """A license that the account issued to itself works under its own fingerprint, never under AWS Marketplace's."""
    granted = emulator.post("licenses", action="grant", sku="prod-1", entitlements=[USERS], issuer="myself")
    fingerprint = granted["Issuer"]["KeyFingerprint"]
    assert "aws:111122223333:myself:issuer-fingerprint" == fingerprint
    assert ":111122223333:" in granted["LicenseArn"]
    check_out(connect(emulator, service="license-manager"), "t-1", KeyFingerprint=fingerprint)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ([{"action": "suspend"}], "SUSPENDED"),
        ([{"action": "deactivate"}], "DEACTIVATED"),
        ([{"action": "expire"}], "EXPIRED"),
        ([{"action": "delete"}], "DELETED"),
        ([{"action": "delete", "status": "PENDING_DELETE"}], "PENDING_DELETE"),
        ([{"action": "suspend"}, {"action": "resume"}], "AVAILABLE"),
        ([{"action": "expire"}, {"action": "amend", "end": "2030-01-01T00:00:00Z"}], "AVAILABLE"),
        ([{"action": "amend", "begin": "2026-12-01T00:00:00Z"}], "PENDING_AVAILABLE"),
        ([{"action": "delete"}, {"action": "resume"}], "AVAILABLE"),
    ],
)
def test_life_of_a_license(
    licensed: "RunningEmulator", client: Any, changes: list[dict[str, Any]], status: str
) -> None:
    """Only an available license allows a checkout or an extension; what is held stays until its time is over."""
    token = check_out(client, "t-1")["LicenseConsumptionToken"]
    for change in changes:
        licensed.post("licenses", **change)
    (license_,) = client.list_received_licenses()["Licenses"]
    assert status == license_["Status"]
    assert ["t-1"] == held(licensed)
    if status == "AVAILABLE":
        extend(client, token)
        check_out(client, "t-2")
        return
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        extend(client, token)
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-2")
    check_in(client, token)


def test_expiry_by_the_clock(licensed: "RunningEmulator", client: Any) -> None:
    """A license without a given end is valid for a year of the emulator's clock."""
    (license_,) = client.list_received_licenses()["Licenses"]
    assert {"Begin": FROZEN, "End": "2027-11-23T10:00:00Z"} == license_["Validity"]
    licensed.post("clock", now="2027-11-23T10:00:00Z")
    assert "EXPIRED" == client.get_license(LicenseArn=license_["LicenseArn"])["License"]["Status"]


def test_removed_license_is_missing(licensed: "RunningEmulator", client: Any) -> None:
    """A removed license is in no list, cannot be asked for, and its seat can still be returned."""
    answer = check_out(client, "t-1")
    licensed.post("licenses", action="remove")
    assert [] == client.list_received_licenses()["Licenses"]
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.get_license(LicenseArn=answer["LicenseArn"])
    check_in(client, answer["LicenseConsumptionToken"])


def test_renewal_is_a_license_of_its_own(licensed: "RunningEmulator", client: Any) -> None:
    """A renewal has its own ARN and its own seats, and lasts as long as the license before."""
    old = check_out(client, "t-1", ("users", "Count", "2"))["LicenseArn"]
    licensed.post("clock", advance="1h")
    new = licensed.post("licenses", action="renew")
    assert new["LicenseArn"] != old
    assert {"Begin": "2026-11-23T11:00:00Z", "End": "2027-11-23T11:00:00Z"} == new["Validity"]
    assert new["LicenseArn"] == check_out(client, "t-2", ("users", "Count", "2"))["LicenseArn"]


def test_amendment_down_keeps_what_is_held(licensed: "RunningEmulator", client: Any) -> None:
    """Fewer seats than are held: these stay and can be extended, and no further one is allowed."""
    tokens = [check_out(client, f"t-{number}")["LicenseConsumptionToken"] for number in range(2)]
    amended = licensed.post("licenses", action="amend", entitlements=[{**USERS, "MaxCount": 1}])
    assert "2" == amended["Version"]
    for token in tokens:
        extend(client, token)
    check_in(client, tokens[0])
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-3")


def test_pending_grant_can_be_accepted(emulator: "RunningEmulator", connect: "Connect") -> None:
    """A grant that waits gives its right when it is accepted."""
    emulator.post("licenses", action="grant", sku="prod-1", entitlements=[USERS], received="PENDING_ACCEPT")
    client = connect(emulator, service="license-manager")
    (license_,) = client.list_received_licenses()["Licenses"]
    assert {"ReceivedStatus": "PENDING_ACCEPT", "GrantType": "BuyerGrant"} == license_["ReceivedMetadata"]
    emulator.post("licenses", action="amend", received="ACTIVE", grant_type=None)
    (license_,) = client.list_received_licenses()["Licenses"]
    assert "GrantType" not in license_["ReceivedMetadata"]
    assert "CheckoutLicense" in license_["ReceivedMetadata"]["AllowedOperations"]
    check_out(client, "t-1")


def test_license_is_shown_whole(licensed: "RunningEmulator", client: Any) -> None:
    """GetLicense has the license without what belongs to the grant; its creation is seconds in a text."""
    (listed,) = client.list_received_licenses()["Licenses"]
    del listed["ReceivedMetadata"]
    license_ = client.get_license(LicenseArn=listed["LicenseArn"], Version="1")["License"]
    assert listed == license_
    assert [USERS, USAGE, TIER] == license_["Entitlements"]
    assert str(int(datetime(2026, 11, 23, 10, tzinfo=UTC).timestamp())) == license_["CreateTime"]
    assert {"Name": "AWS/Marketplace", "KeyFingerprint": FINGERPRINT} == license_["Issuer"]
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.get_license(LicenseArn=listed["LicenseArn"], Version="2")


def test_usage_counts_what_is_held(licensed: "RunningEmulator", client: Any) -> None:
    """GetLicenseUsage has what is held of each entitlement."""
    arn = check_out(client, "t-1", ("users", "Count", "2"))["LicenseArn"]
    usages = client.get_license_usage(LicenseArn=arn)["LicenseUsage"]["EntitlementUsages"]
    assert {"Name": "users", "ConsumedValue": "2", "MaxCount": "2", "Unit": "Count"} == usages[0]
    assert {"Name": "AWS::Marketplace::Usage", "ConsumedValue": "0", "Unit": "None"} == usages[1]
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.get_license_usage(LicenseArn=f"{arn}x")


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("ProductSKU", "prod-2", 1),
        ("ProductSKU", "prod", 0),
        ("Status", "AVAILABLE", 2),
        ("Status", "SUSPENDED", 1),
        ("Fingerprint", FINGERPRINT, 2),
        ("IssuerName", "myself", 1),
        ("Beneficiary", "111122223333", 3),
    ],
)
def test_list_is_filtered(licensed: "RunningEmulator", client: Any, name: str, value: str, found: int) -> None:
    """Each documented filter keeps the licenses that have its value exactly."""
    licensed.post("licenses", action="grant", sku="prod-2", entitlements=[USERS])
    licensed.post("licenses", action="grant", sku="prod-3", entitlements=[USERS], issuer="myself")
    licensed.post("licenses", action="suspend", sku="prod-3")
    licenses = client.list_received_licenses(Filters=[{"Name": name, "Values": [value]}])["Licenses"]
    assert found == len(licenses)
    arns = [each["LicenseArn"] for each in licenses]
    if arns:
        assert arns == [each["LicenseArn"] for each in client.list_received_licenses(LicenseArns=arns)["Licenses"]]


@pytest.mark.parametrize(
    "members",
    [
        {"Filters": [{"Name": "Colour", "Values": ["red"]}]},
        {"Filters": [{"Name": "Status", "Values": ["AVAILABLE", "EXPIRED"]}]},
        {"Filters": [{"Name": "Status", "Values": []}]},
        {"NextToken": "elsewhere"},
    ],
)
def test_malformed_list_is_refused(client: Any, members: dict[str, Any]) -> None:
    """An unknown filter, several values, or a token that the list did not give."""
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.list_received_licenses(**members)


def test_list_has_pages(emulator: "RunningEmulator", connect: "Connect") -> None:
    """Pages hold what was asked for and lead to each other; together they are the list."""
    for number in range(5):
        emulator.post("licenses", action="grant", sku=f"prod-{number}", entitlements=[USERS])
    client = connect(emulator, service="license-manager")
    found: list[str] = []
    token: dict[str, str] = {}
    sizes = []
    while True:
        page = client.list_received_licenses(MaxResults=2, **token)
        sizes.append(len(page["Licenses"]))
        found += [each["ProductSKU"] for each in page["Licenses"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert [2, 2, 1] == sizes
    assert [f"prod-{number}" for number in range(5)] == found


def test_home_region_is_kept(start: "Start", connect: "Connect") -> None:
    """With `license_region` home a license exists in its home Region; a checkout elsewhere is redirected there."""
    emulator = start(license_region="home")
    emulator.post("licenses", action="grant", sku="prod-1", entitlements=[USERS], home_region="us-west-2")
    abroad = connect(emulator, service="license-manager", region="eu-central-1")
    home = connect(emulator, service="license-manager", region="us-west-2")
    with pytest.raises(abroad.exceptions.RedirectException) as raised:
        check_out(abroad, "t-1")
    assert "us-west-2" == raised.value.response["Location"]
    assert raised.value.response["Message"]
    assert [] == abroad.list_received_licenses()["Licenses"]
    token = check_out(home, "t-1")["LicenseConsumptionToken"]
    for call in (extend, check_in):
        with pytest.raises(abroad.exceptions.ResourceNotFoundException):
            call(abroad, token)
    (license_,) = home.list_received_licenses()["Licenses"]
    assert "us-west-2" == license_["HomeRegion"]
    with pytest.raises(abroad.exceptions.InvalidParameterValueException):
        abroad.get_license(LicenseArn=license_["LicenseArn"])


def test_identity_rule_is_meterings_alone(start: "Start", connect: "Connect") -> None:
    """A pod without a web identity may check out a license where it may not register."""
    emulator = start(identity="irsa-only")
    emulator.post("licenses", action="grant", sku="prod-1", entitlements=[USERS])
    check_out(connect(emulator, service="license-manager"), "t-1")
    metering = connect(emulator)
    with pytest.raises(metering.exceptions.PlatformNotSupportedException):
        metering.register_usage(ProductCode="p", PublicKeyVersion=1)


def test_other_operations_are_unknown(client: Any) -> None:
    """An operation that the emulator does not play has no answer, and leads to no other service."""
    with pytest.raises(ClientError) as raised:
        client.list_licenses()
    assert "UnknownOperationException" == refused(raised.value)
    with pytest.raises(ClientError) as raised:
        client.check_in_license(LicenseConsumptionToken="unknown")
    assert "ResourceNotFoundException" == refused(raised.value)


def test_calls_are_in_the_trail(licensed: "RunningEmulator", client: Any) -> None:
    """The log has License Manager's calls in CloudTrail's shape, refused ones too, and no consumption token."""
    token = check_out(client, "t-1")["LicenseConsumptionToken"]
    extend(client, token)
    check_in(client, token)
    with pytest.raises(client.exceptions.NoEntitlementsAllowedException):
        check_out(client, "t-2", ("users", "Count", "9"))
    client.list_received_licenses()
    events = licensed.get("events")["Records"]
    assert {"license-manager.amazonaws.com"} == {event["eventSource"] for event in events}
    assert [
        ("CheckoutLicense", False),
        ("ExtendLicenseConsumption", False),
        ("CheckInLicense", False),
        ("CheckoutLicense", False),
        ("ListReceivedLicenses", True),
    ] == [(event["eventName"], event["readOnly"]) for event in events]
    assert [{"name": "users", "unit": "Count", "value": "1"}] == events[0]["requestParameters"]["entitlements"]
    assert events[0]["responseElements"]["licenseArn"]
    assert "NoEntitlementsAllowedException" == events[3]["errorCode"]
    assert token not in str(events)
