"""Nothing that is set for the SDK leads a call of live mode elsewhere, and what is set in vain is named."""

import socket
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as SETTINGS
from botocore.loaders import Loader

from sidecar.marketplace import CredentialsMissing, Endpoint, without_effect
from sidecar.marketplace.addresses import CALLED, SIGN_IN, address_of
from sidecar.marketplace.package_data import package_data
from sidecar.marketplace.sdk import Connection
from sidecar.marketplace.sdk_variables import PINNED
from sidecar.marketplace.sealing import Misdirected
from tests.marketplace.canned import GRANTED, MEMBERS, canned, listened
from tests.support.sdk_models import write_models

LIVE = Endpoint.live({"AWS_REGION": "eu-west-1"})
CALLS = {
    "meteringmarketplace": "meter_usage",
    "sts": "assume_role_with_web_identity",
    "license-manager": "checkout_license",
    "marketplace-entitlement": "get_entitlements",
}
OURS = ["https://sts.eu-west-1.amazonaws.com/", "https://metering.marketplace.eu-west-1.amazonaws.com/"]


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A port that must not be called."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield listener


@pytest.fixture(autouse=True)
def _pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("web-identity-token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/meter")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))


def unsealed_address() -> str:
    """Return where the SDK by itself would send a web-identity token."""
    urls: list[str] = []
    session = botocore.session.Session()
    session.register("before-send.sts", canned(GRANTED, urls))
    client = session.create_client("sts", region_name="eu-west-1")
    client.assume_role_with_web_identity(
        RoleArn="arn:aws:iam::1:role/meter", RoleSessionName="s1", WebIdentityToken="t" * 9
    )
    return urls[0]


@pytest.mark.parametrize("place", ["AWS_DATA_PATH", "config file", "home"])
def test_models_of_others_are_not_read(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trap: socket.socket
) -> None:
    """Endpoint rules of a folder, named or found at home, lead neither the service's calls nor the token elsewhere."""
    models = tmp_path / "models"
    write_models(models, f"http://127.0.0.1:{trap.getsockname()[1]}")
    match place:
        case "AWS_DATA_PATH":
            monkeypatch.setenv("AWS_DATA_PATH", str(models))
        case "config file":
            (tmp_path / "config").write_text(f"[default]\ndata_path = {models}\n")
            monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        case _:
            monkeypatch.setattr(Loader, "CUSTOMER_DATA_PATH", str(models))
    assert unsealed_address() == f"http://127.0.0.1:{trap.getsockname()[1]}/"
    connection = Connection(LIVE)
    urls = listened(connection)
    connection.send("MeterUsage", MEMBERS)
    assert OURS == urls
    with pytest.raises(BlockingIOError):
        trap.accept()


@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_STS_REGIONAL_ENDPOINTS": "legacy"},
        {"AWS_STS_REGIONAL_ENDPOINTS": "nonsense"},
        {"AWS_DEFAULTS_MODE": "in-region"},
        {"AWS_DEFAULTS_MODE": "fast"},
        {"AWS_RETRY_MODE": "nonsense", "AWS_MAX_ATTEMPTS": "many"},
        {"AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": "x", "AWS_ACCOUNT_ID_ENDPOINT_MODE": "x"},
        {"AWS_REQUEST_CHECKSUM_CALCULATION": "x", "AWS_AUTH_SCHEME_PREFERENCE": "bearer"},
    ],
    ids=",".join,
)
def test_variables_have_no_effect(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that choose an address, or that the SDK would refuse, change nothing, and each is named."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    connection = Connection(LIVE)
    urls = listened(connection)
    connection.send("MeterUsage", MEMBERS)
    assert OURS == urls
    assert sorted(environ) == without_effect(environ, read=lambda _: None, is_folder=lambda _: False)


def test_config_file_has_no_effect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same settings in a profile change nothing, and are named with the file."""
    path = tmp_path / "config"
    settings = {"use_fips_endpoint": "true", "sts_regional_endpoints": "legacy", "defaults_mode": "mobile"}
    path.write_text("[default]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    connection = Connection(LIVE)
    urls = listened(connection)
    connection.send("MeterUsage", MEMBERS)
    assert OURS == urls
    named = without_effect(
        {"AWS_CONFIG_FILE": str(path)},
        read=lambda name: Path(name).read_text() if name == str(path) else None,
        is_folder=lambda _: False,
    )
    assert named == [f"{key} in the SDK's config file" for key in sorted(settings)]


def test_what_holds_anyway_is_not_named() -> None:
    """Variables that EKS sets, and others whose value is the one in force, are no news; a folder of models is."""
    environ = {"AWS_STS_REGIONAL_ENDPOINTS": "regional", "AWS_USE_FIPS_ENDPOINT": "false", "AWS_REGION": "eu-west-1"}
    assert [] == without_effect(environ, read=lambda _: None, is_folder=lambda _: False)
    named = without_effect(
        {"HOME": "/home/me"}, read=lambda _: None, is_folder=lambda path: path == "/home/me/.aws/models"
    )
    assert ["the folder ~/.aws/models"] == named


HONORED = {
    *("profile", "region", "data_path", "config_file", "ca_bundle", "credentials_file", "parameter_validation"),
    *("metadata_service_timeout", "metadata_service_num_attempts", "ec2_metadata_service_endpoint"),
    *("ec2_metadata_service_endpoint_mode", "ec2_metadata_v1_disabled", "imds_use_ipv6", "user_agent_appid"),
    *("csm_host", "csm_port", "csm_client_id", "tcp_keepalive", "s3_disable_express_session_auth"),
}
"""Settings of the SDK that choose no address of a service: identity, certificates, what the pinned ones switch off."""


def test_every_setting_of_the_sdk_is_judged() -> None:
    """Each setting that this SDK knows is either pinned under its own variable, or known to lead nowhere."""
    assert set(SETTINGS) == set(PINNED) | HONORED
    assert {name: SETTINGS[name][1] or "" for name in PINNED} == {
        name: variable for name, (variable, _) in PINNED.items()
    }


@pytest.mark.parametrize("service", CALLED.values())
def test_expected_host_is_the_one_that_is_called(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each Region that the SDK knows, and in one that is too new, a call passes the guard and has our address."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    partitions = package_data().load_data("partitions")["partitions"]
    regions = [region for partition in partitions for region in partition["regions"] if not region.endswith("-global")]
    assert {"cn-northwest-1", "eusc-de-east-1", "us-gov-west-1"} < set(regions)
    for region in [*regions, "eu-west-99"]:
        connection = Connection(Endpoint(region_name=region))
        client = connection.make_client(service)
        sent: list[str] = []
        # Last of all, so behind the guard.
        client.meta.events.register_last("before-send", canned(GRANTED if service == "sts" else b"{}", sent))
        getattr(client, CALLS[service])()
        assert [f"{address_of(service, region)}/"] == sent


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "https://sts.eu-west-1.amazonaws.com.evil:{port}"])
def test_misdirected_token_is_not_sent(address: str, trap: socket.socket) -> None:
    """A request that would leave for another host, or without TLS, is refused before its first byte."""
    connection = Connection(LIVE)
    port = trap.getsockname()[1]
    client = connection.make_client("sts", endpoint_url=address.format(port=port))
    with pytest.raises(Misdirected) as caught:
        client.assume_role_with_web_identity(RoleArn="arn:aws:iam::1:role/x", RoleSessionName="s", WebIdentityToken="t")
    assert "not https://sts.eu-west-1.amazonaws.com" in str(caught.value)
    with pytest.raises(BlockingIOError):
        trap.accept()


@pytest.mark.parametrize(
    "url",
    [
        "http://sts.eu-west-1.amazonaws.com/",
        "https://sts.us-east-1.amazonaws.com/",
        "https://sts.amazonaws.com/",
        "https://sts.eu-west-1.amazonaws.com:8443/",
        "https://sts.eu-west-1.amazonaws.com@evil.example/",
        "https://metering.marketplace.eu-west-1.amazonaws.com/",
    ],
)
def test_guard_takes_the_host_alone(url: str) -> None:
    """Scheme, host and port are all judged; the address in the message holds no more than they."""
    client = Connection(LIVE).make_client("sts", aws_access_key_id="a", aws_secret_access_key="s")
    request: Any = type("Request", (), {"url": url})
    with pytest.raises(Misdirected):
        client.meta.events.emit("before-send.sts.GetCallerIdentity", request=request)
    with pytest.raises(Misdirected):
        client.meta.events.emit("before-send.iam.GetUser", request=request)
    with pytest.raises(Misdirected):
        client.meta.events.emit("before-send.sso.GetRoleCredentials", request=request)


@pytest.mark.parametrize("region", ["eu-central-1", "cn-north-1"])
@pytest.mark.parametrize("service", sorted(SIGN_IN))
def test_sign_in_is_called_in_its_own_region(service: str, region: str) -> None:
    """A profile of IAM Identity Center or of `aws login` gives credentials, in whichever Region of AWS it signs in."""
    client = Connection(LIVE).make_client("sts", aws_access_key_id="a", aws_secret_access_key="s")
    address = address_of(service, region)
    for url, refused in ((f"{address}/x", False), (f"{address}.evil.example/", True), (f"{address}:8443/", True)):
        request: Any = type("Request", (), {"url": url})
        with pytest.raises(Misdirected) if refused else nullcontext():
            client.meta.events.emit(f"before-send.{service}.Get", request=request)


def test_misdirected_call_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misdirected call counts as one that never left: it is retried, and nothing is in doubt."""
    connection = Connection(LIVE)
    connection.session.register("before-sign", lambda request, **_: setattr(request, "url", "http://127.0.0.1:9/"))
    with pytest.raises(CredentialsMissing, match="was not sent"):
        connection.send("MeterUsage", MEMBERS)
