"""Live mode reaches AWS and nothing else."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from sidecar.marketplace import REGIONS, CredentialsMissing, Endpoint
from sidecar.marketplace.sdk import Connection
from tests.marketplace.canned import MEMBERS, listened


@pytest.fixture(autouse=True)
def _pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("web-identity-token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/meter")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))


EVIL = "https://evil.example"
PROFILE = f"""[default]
endpoint_url = {EVIL}
services = redirected
[services redirected]
marketplace_metering =
  endpoint_url = {EVIL}
sts =
  endpoint_url = {EVIL}
"""


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AWS_ENDPOINT_URL": EVIL},
        {"AWS_ENDPOINT_URL_MARKETPLACE_METERING": EVIL, "AWS_ENDPOINT_URL_STS": EVIL},
        {"AWS_ENDPOINT_URL": EVIL, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"},
        {"AWS_CONFIG_FILE": "profile", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"},
    ],
)
def test_configured_endpoints_are_ignored(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No variable and no profile redirects a call: neither the metering service's nor that of STS behind IRSA."""
    monkeypatch.chdir(tmp_path)
    Path("profile").write_text(PROFILE)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    connection = Connection(Endpoint.live({"AWS_REGION": "eu-west-1"}))
    urls = listened(connection)
    connection.send("MeterUsage", MEMBERS)
    assert ["https://sts.eu-west-1.amazonaws.com/", "https://metering.marketplace.eu-west-1.amazonaws.com/"] == urls
    assert "assume-role-with-web-identity" == connection.credentials_method()


@pytest.mark.parametrize("region", REGIONS)
def test_regions_have_their_host(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call goes to the host of the pod's own Region, whatever other Region the SDK would have picked."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    connection = Connection(Endpoint.live({"AWS_REGION": region}))
    urls = listened(connection)
    connection.send("MeterUsage", MEMBERS)
    assert f"https://metering.marketplace.{region}.amazonaws.com/" == urls[-1]


@pytest.mark.parametrize(
    ("environ", "cure"), [({}, "IRSA"), ({"AWS_PROFILE": "unheard-of"}, "unset the variable in the message")]
)
def test_missing_credentials_are_told(environ: dict[str, str], cure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials nothing is sent and the error names the cure; once they are there the call works."""
    monkeypatch.delenv("AWS_WEB_IDENTITY_TOKEN_FILE")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    connection = Connection(Endpoint.live({"AWS_REGION": "eu-west-1"}))
    urls = listened(connection)
    with pytest.raises(CredentialsMissing) as caught:
        connection.send("MeterUsage", MEMBERS)
    assert cure in caught.value.cure
    with pytest.raises(CredentialsMissing) if environ else nullcontext():
        assert connection.credentials_method() is None
    assert [] == urls
    if not environ:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIALATER")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        connection.send("MeterUsage", MEMBERS)
        assert ["https://metering.marketplace.eu-west-1.amazonaws.com/"] == urls
