"""Which identity a sidecar calls AWS with, and that nothing redirects its calls, over sockets."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.identity import KEYS, project
from tests.support.sdk_models import write_models

if TYPE_CHECKING:
    from tests.support.processes import Emulator, Site, Sites

pytestmark = pytest.mark.process

HOUR = "2026-11-23T10:00:00Z"


@pytest.fixture
def irsa_site(sites: "Sites", irsa_emulator: "Emulator") -> "Site":
    """A site next to an emulator that takes roles for service accounts only."""
    return sites.make(irsa_emulator)


def test_service_account_registers_and_meters(irsa_site: "Site", irsa_emulator: "Emulator", tmp_path: Path) -> None:
    """With a service account's role the sidecar registers and meters as the pod that its token names."""
    sidecar = irsa_site.start_entitled(variables=project(tmp_path, "uid-of-pod"))
    assert (1, 0) == sidecar.report({"dimension": "requests", "quantity": "2"})
    irsa_site.advance(sidecar, "1h")
    sidecar.await_records(1)
    assert {(HOUR, "requests"): "2"} == irsa_emulator.held()
    (registration,) = irsa_emulator.get("state")["registrations"]
    (record,) = irsa_emulator.get("records")["records"]
    assert ("uid-of-pod", "uid-of-pod") == (registration["Identity"], record["Identity"])
    status = sidecar.get("/v1/status")
    assert ("uid-of-pod", "irsa") == (status["pod"]["uid"], status["marketplace"]["credentials"])


def test_token_alone_names_the_pod(irsa_site: "Site", irsa_emulator: "Emulator", tmp_path: Path) -> None:
    """In a cluster without POD_UID the pod is the one that the token names, at AWS and in the ledger."""
    variables = {**project(tmp_path, "uid-of-pod"), "KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    del variables["POD_UID"]
    sidecar = irsa_site.start_entitled(variables=variables)
    assert {"uid": "uid-of-pod", "source": "web-identity"} == sidecar.get("/v1/status")["pod"]
    (registration,) = irsa_emulator.get("state")["registrations"]
    assert "uid-of-pod" == registration["Identity"]


def test_nameless_pod_is_refused(irsa_site: "Site") -> None:
    """In a cluster without POD_UID and token `run` ends with 2 and names both ways, and makes no ledger."""
    code, said = irsa_site.refuse(KUBERNETES_SERVICE_HOST="10.96.0.1")
    assert (2, True, True) == (code, "metadata.uid" in said, "web-identity token" in said)
    assert not irsa_site.ledger.exists()


def test_contradicting_uid_is_refused(irsa_site: "Site", tmp_path: Path) -> None:
    """A POD_UID of another pod than the token's ends `run` with 2 and both values, and makes no ledger."""
    code, said = irsa_site.refuse(**{**project(tmp_path, "uid-of-pod"), "POD_UID": "uid-of-other"})
    assert (2, True, True) == (code, "uid-of-pod" in said, "uid-of-other" in said)
    assert not irsa_site.ledger.exists()


@pytest.mark.parametrize("variables", [KEYS, {}], ids=["static-keys", "no-keys"])
def test_other_identities_are_refused(irsa_site: "Site", variables: dict[str, str]) -> None:
    """Where AWS takes a service account's role only, keys are denied with the cause."""
    sidecar = irsa_site.start(variables=variables)
    sidecar.await_entitlement(state="denied", reason="platform-not-supported")
    assert 503 == sidecar.probe("readyz").status
    assert "of-somebody" not in sidecar.log


def test_keys_shadow_service_account(irsa_site: "Site", tmp_path: Path) -> None:
    """Static keys win over a service account's role as in the SDK, and AWS refuses them."""
    sidecar = irsa_site.start(variables={**project(tmp_path, "uid-of-pod"), **KEYS})
    sidecar.await_entitlement(state="denied", reason="platform-not-supported")
    assert "static-keys" == sidecar.get("/v1/status")["marketplace"]["credentials"]


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A port that must not be called."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        yield listener


@pytest.fixture
def closed_port() -> int:
    """A port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.mark.parametrize("identity", ["static-keys", "irsa"])
def test_live_mode_is_not_redirected(
    site: "Site", emulator: "Emulator", trap: socket.socket, closed_port: int, tmp_path: Path, identity: str
) -> None:
    """In live mode no variable and no file leads a call or a token elsewhere; each of them is named at the start."""
    elsewhere = f"http://127.0.0.1:{trap.getsockname()[1]}"
    names = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_MARKETPLACE_METERING", "AWS_ENDPOINT_URL_STS")
    write_models(tmp_path / ".aws" / "models", elsewhere)
    write_models(tmp_path / "models", elsewhere)
    others = {
        "HOME": str(tmp_path),
        "AWS_DATA_PATH": str(tmp_path / "models"),
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_STS_REGIONAL_ENDPOINTS": "legacy",
        "AWS_DEFAULTS_MODE": "fast",
    }
    # The way out is shut, so no test ever calls AWS.
    shut = {"HTTPS_PROXY": f"http://127.0.0.1:{closed_port}", "AWS_EC2_METADATA_DISABLED": "true"}
    credentials = KEYS if identity == "static-keys" else project(tmp_path, "uid-of-pod")
    config = site.write(marketplace={"mode": "live", "endpoint_url": None})
    variables = {**dict.fromkeys(names, elsewhere), **others, **shut, **credentials, "AWS_REGION": "eu-west-1"}
    sidecar = site.launch(config, **variables)
    ignored = sidecar.await_event("aws.settings_ignored")
    assert sorted([*names, *(others.keys() - {"HOME"}), "the folder ~/.aws/models"]) == ignored["names"]
    sidecar.await_start()
    retrying = sidecar.await_event("registration.retrying")
    assert "unreachable" == retrying["reason"]
    ready = sidecar.probe("readyz")
    assert (503, "pending") == (ready.status, ready.document["code"])
    if identity == "static-keys":
        assert "AWS Marketplace cannot be reached" in ready.document["reason"]
        faults = sidecar.get("/v1/status")["faults"]
        (fault,) = [fault for fault in faults if not fault["code"].startswith("setup-")]
        assert "identity-not-accepted" == fault["code"]
    with pytest.raises(BlockingIOError):
        trap.accept()
    assert 0 == emulator.get("state")["events"]


def test_unsupported_region_is_named(site: "Site") -> None:
    """In live mode what is not the name of a Region, or none, ends the process with 2."""
    config = site.write(marketplace={"mode": "live", "endpoint_url": None})
    for variables in ({"AWS_REGION": "mars"}, {}):
        code, said = site.refuse(config, **variables)
        assert (2, True) == (code, variables.get("AWS_REGION", "AWS_REGION") in said)


def test_live_mode_refuses_endpoint(site: "Site") -> None:
    """An `endpoint_url` without `mode: emulator` is a fault of the configuration."""
    code, said = site.refuse(site.write(marketplace={"mode": "live"}))
    assert (2, True) == (code, "marketplace.endpoint_url" in said)
