"""Which identity and which process may certify, by what the product calls."""

from pathlib import Path

import pytest

from sidecar.commands.certify import target
from sidecar.commands.certify.target import NotReady, find_caller, require_pod
from sidecar.marketplace import Endpoint
from sidecar.settings import Settings, load

CALLER = "arn:aws:sts::111122223333:assumed-role/acme/pod"
CONTRACT = """\
product: {code: 0abc123example, pricing: contract, id: prod-1}
license: {require: [{name: users}]}
"""
OVERAGE = f"{CONTRACT}metering: {{dimensions: [{{name: requests}}]}}\n"
POD_IDENTITY = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials", "AWS_REGION": "eu-west-1"}


class Probe:
    """The SDK with the credentials of EKS Pod Identity."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def credentials_method(self) -> str:
        return "container-role"

    def caller(self) -> str:
        return CALLER


def settings_of(folder: Path, text: str) -> Settings:
    """Return the settings of a file."""
    path = folder / "config.yaml"
    path.write_text(f"{text}ledger: {{path: {folder}/ledger.db}}\n")
    return load(str(path), {})


def test_license_takes_any_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """License Manager accepts EKS Pod Identity and a plain process; metering, also of overage, accepts neither."""
    monkeypatch.setattr(target, "ServiceProbe", Probe)
    endpoint = Endpoint.live(POD_IDENTITY)
    contract = settings_of(tmp_path, CONTRACT)
    require_pod(contract, None)
    assert CALLER == find_caller(contract, endpoint, POD_IDENTITY)

    overage = settings_of(tmp_path, OVERAGE)
    with pytest.raises(NotReady, match="does not accept this identity"):
        find_caller(overage, endpoint, POD_IDENTITY)
    with pytest.raises(NotReady, match="identity of this pod or task is unknown"):
        require_pod(overage, None)
