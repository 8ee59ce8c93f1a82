"""Where the calls of License Manager go without an emulator."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.marketplace import Endpoint
from sidecar.marketplace.license_manager.client import LICENSE_MANAGER
from sidecar.marketplace.sdk import Connection
from tests.marketplace.canned import GRANTED, canned

EVIL = "https://evil.example"


@pytest.fixture(autouse=True)
def _pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("web-identity-token")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/license")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AWS_ENDPOINT_URL": EVIL},
        {"AWS_ENDPOINT_URL_LICENSE_MANAGER": EVIL, "AWS_ENDPOINT_URL_STS": EVIL},
        {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
    ],
)
def test_configured_endpoints_are_ignored(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable redirects a call of License Manager, nor that of STS behind IRSA."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    connection = Connection(Endpoint.live({"AWS_REGION": "eu-west-1"}), service=LICENSE_MANAGER)
    urls: list[str] = []
    connection.session.register("before-send.sts", canned(GRANTED, urls))
    connection.session.register("before-send.license-manager", canned(b'{"Licenses": []}', urls))
    connection.send("ListReceivedLicenses", {})
    assert ["https://sts.eu-west-1.amazonaws.com/", "https://license-manager.eu-west-1.amazonaws.com/"] == urls


def test_model_is_loaded_by_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is open and unused has not loaded its service; two Regions share what is loaded."""
    connection = Connection(Endpoint(region_name="eu-west-1"), service=LICENSE_MANAGER)
    other = Connection(Endpoint(region_name="us-east-1"), service=LICENSE_MANAGER)
    loader = connection.session.get_component("data_loader")
    assert loader is other.session.get_component("data_loader")
    loaded: list[str] = []
    load = loader.load_service_model

    def load_noted(name: str, *further: Any, **named: Any) -> Any:
        loaded.append(name)
        return load(name, *further, **named)

    monkeypatch.setattr(loader, "load_service_model", load_noted)
    connection.credentials()
    assert [] == loaded
    connection.make_client("license-manager", aws_access_key_id="a", aws_secret_access_key="b")
    assert {"license-manager"} == set(loaded)
