"""The checks without a network of Region, identity, proxy, certificates and shutdown."""

import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.checks import access, network
from sidecar.checks.environment import check_certificates, check_proxy
from sidecar.checks.identity import check_identity
from sidecar.checks.region import check_region
from sidecar.checks.setup import CHECKS, SERVICE, check_locally, check_service
from sidecar.checks.shutdown import check_shutdown
from sidecar.domain.check_result import CheckStatus
from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.policy import EntitlementCheck, Pricing, StartProbe
from sidecar.marketplace import Endpoint, MarketplaceError
from sidecar.marketplace.probing import ServiceProbe
from sidecar.settings import (
    EntitlementSettings,
    LedgerSettings,
    MarketplaceSettings,
    MeteringSettings,
    Mode,
    Product,
    Settings,
    ShutdownSettings,
)
from tests.support.apiserver import ApiServer

NOWHERE = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIASOMEBODY", "AWS_SECRET_ACCESS_KEY": "of-somebody"}
POD_IDENTITY = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}
TASK_ROLE = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials"}


@pytest.mark.parametrize(
    ("configured", "environ", "status", "words"),
    [
        (None, {"AWS_REGION": "eu-west-1"}, CheckStatus.OK, "eu-west-1"),
        ("eu-west-1", {"AWS_REGION": "eu-west-1"}, CheckStatus.OK, "eu-west-1"),
        ("eu-west-1", {}, CheckStatus.WARN, "no variable names the Region of the pod"),
        (None, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}, CheckStatus.WARN, "names us-east-1"),
        ("eu-west-1", {"AWS_REGION": "us-east-1"}, CheckStatus.FAIL, "the pod runs in us-east-1"),
        (None, {}, CheckStatus.FAIL, "neither AWS_REGION nor AWS_DEFAULT_REGION is set"),
        (None, {"AWS_REGION": "mars-north-1"}, CheckStatus.WARN, "Region mars-north-1 is not among the 17"),
        (None, {"AWS_REGION": "'eu-west-1'"}, CheckStatus.FAIL, "has quotes around its value"),
    ],
)
def test_region_is_the_pods(
    tmp_path: Path, configured: str | None, environ: dict[str, str], status: CheckStatus, words: str
) -> None:
    """The Region has to be a supported one, and the pod's own."""
    diagnosis = check_region(setup(tmp_path, region=configured), environ)
    assert (status, True) == (diagnosis.status, words in diagnosis.found)
    assert (status is not CheckStatus.OK) == bool(diagnosis.cure)
    # Regions outside the list are called as well.
    assert "supported are" not in diagnosis.found


@pytest.mark.parametrize(
    ("pricing", "check", "dimensions", "status"),
    [
        (Pricing.CUSTOM, EntitlementCheck.METER, ("requests",), CheckStatus.WARN),
        (Pricing.HOURLY, EntitlementCheck.REGISTER, (), CheckStatus.OK),
        (Pricing.HOURLY, EntitlementCheck.REGISTER, ("requests",), CheckStatus.WARN),
        (Pricing.CONTRACT, EntitlementCheck.LICENSE, (), CheckStatus.OK),
        (Pricing.CONTRACT, EntitlementCheck.LICENSE, ("overage",), CheckStatus.WARN),
    ],
)
def test_list_of_regions_is_for_custom_metering(
    tmp_path: Path, pricing: Pricing, check: EntitlementCheck, dimensions: tuple[str, ...], status: CheckStatus
) -> None:
    """A Region outside AWS's list of custom metering is a warning only where usage is reported."""
    settings = replace(
        setup(tmp_path),
        product=Product(code="0abc123example", pricing=pricing),
        entitlement=EntitlementSettings(check=check),
        metering=MeteringSettings(dimensions=tuple(Dimension(name) for name in dimensions)),
    )
    assert status is check_region(settings, {"AWS_REGION": "eu-south-1"}).status


def irsa(folder: Path) -> dict[str, str]:
    """Return what EKS sets for a service account with a role."""
    token = folder / "token"
    token.write_text("a token")
    return {"AWS_ROLE_ARN": "arn:aws:iam::1:role/metering", "AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}


@pytest.mark.parametrize(
    ("environ", "with_role", "status", "words"),
    [
        ({}, True, CheckStatus.OK, "irsa"),
        (TASK_ROLE, False, CheckStatus.OK, "ecs-task-role"),
        (KEYS, True, CheckStatus.FAIL, "static-keys: AWS_ACCESS_KEY_ID is set in the environment; it hides irsa"),
        (KEYS, False, CheckStatus.FAIL, "static-keys"),
        (POD_IDENTITY, False, CheckStatus.FAIL, "eks-pod-identity"),
        ({}, False, CheckStatus.FAIL, "none: no credentials are configured"),
    ],
)
def test_identity_is_judged(
    tmp_path: Path, environ: Mapping[str, str], *, with_role: bool, status: CheckStatus, words: str
) -> None:
    """A service account's role and a task's role are taken; every other identity names the cure."""
    given = {**NOWHERE, **environ, **(irsa(tmp_path) if with_role else {})}
    diagnosis = check_identity(Mode.LIVE, given)
    assert (status, True) == (diagnosis.status, words in diagnosis.found)
    assert (status is not CheckStatus.OK) == bool(diagnosis.cure)
    assert "of-somebody" not in str(diagnosis)


@pytest.mark.parametrize("environ", [KEYS, POD_IDENTITY])
def test_license_manager_accepts_ordinary_credentials(environ: Mapping[str, str]) -> None:
    """A contract without dimensions never calls Metering, and License Manager has no rule about identities."""
    assert CheckStatus.OK is check_identity(Mode.LIVE, {**NOWHERE, **environ}, meters=False).status
    assert CheckStatus.FAIL is check_identity(Mode.LIVE, NOWHERE, meters=False).status


def test_node_role_is_told() -> None:
    """Credentials that nothing in the environment explains come from the node, whose role is not taken."""
    diagnosis = check_identity(Mode.LIVE, NOWHERE, lambda: "iam-role")
    assert (CheckStatus.FAIL, True) == (diagnosis.status, diagnosis.found.startswith("node-role"))


def test_silent_node_is_no_identity() -> None:
    """Where the node cannot be asked there is no identity."""

    def refuse() -> str:
        raise MarketplaceError

    assert check_identity(Mode.LIVE, NOWHERE, refuse).found.startswith("none")


def test_emulator_takes_any_identity() -> None:
    """Next to an emulator no identity is wrong."""
    assert check_identity(Mode.EMULATOR, {**NOWHERE, **KEYS}).status is CheckStatus.OK


@pytest.mark.parametrize(
    ("environ", "status", "words"),
    [
        ({}, CheckStatus.OK, "no proxy"),
        ({"HTTPS_PROXY": "http://proxy.corp:3128"}, CheckStatus.OK, "HTTPS_PROXY names proxy.corp:3128"),
        ({"https_proxy": "proxy.corp:3128"}, CheckStatus.OK, "https_proxy names proxy.corp:3128"),
        ({"HTTPS_PROXY": "http://me:hidden@proxy.corp:3128"}, CheckStatus.OK, "HTTPS_PROXY names proxy.corp:3128"),
        ({"HTTPS_PROXY": "http://me:hidden@proxy.corp:many"}, CheckStatus.FAIL, "HTTPS_PROXY is not"),
        ({"HTTPS_PROXY": "socks5://proxy.corp:1080"}, CheckStatus.FAIL, "HTTPS_PROXY is not"),
        ({"HTTPS_PROXY": "http://"}, CheckStatus.FAIL, "HTTPS_PROXY is not"),
        ({"HTTPS_PROXY": "http://[::1"}, CheckStatus.FAIL, "HTTPS_PROXY is not"),
    ],
)
def test_proxy_is_judged(environ: dict[str, str], status: CheckStatus, words: str) -> None:
    """A proxy has to be the URL of an HTTP proxy; its password is not shown."""
    diagnosis = check_proxy(Mode.LIVE, environ)
    assert (status, True) == (diagnosis.status, words in diagnosis.found)
    assert "hidden" not in str(diagnosis)


def test_emulator_needs_no_proxy() -> None:
    """Calls to an emulator go past every proxy."""
    assert check_proxy(Mode.EMULATOR, {"HTTPS_PROXY": "nonsense://"}).status is CheckStatus.SKIPPED


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_certificates_are_judged(tmp_path: Path, name: str) -> None:
    """A bundle has to be a readable file with a certificate in it; each variable is named."""
    server = ApiServer(tmp_path / "account")
    server.close()
    text, empty = tmp_path / "text.pem", tmp_path / "empty.pem"
    text.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    empty.write_text("")
    assert check_certificates({name: str(tmp_path / "account" / "ca.crt")}).status is CheckStatus.OK
    for path in (text, empty, tmp_path, tmp_path / "absent.pem"):
        diagnosis = check_certificates({name: str(path)})
        assert (CheckStatus.FAIL, True) == (diagnosis.status, f"{name}: {path}" in diagnosis.found)
    assert check_certificates({}).status is CheckStatus.OK


@pytest.mark.parametrize(
    ("timeout", "grace", "status"),
    [
        (25, "", CheckStatus.OK),
        (26, "", CheckStatus.WARN),
        (25, "30", CheckStatus.OK),
        (25, "30s", CheckStatus.OK),
        (25, "29", CheckStatus.WARN),
        (25, "25", CheckStatus.FAIL),
        (25, "1m", CheckStatus.OK),
        (25, "long", CheckStatus.WARN),
    ],
)
def test_shutdown_fits_grace(timeout: int, grace: str, status: CheckStatus) -> None:
    """The drain and five seconds have to fit the grace period; 30 s are assumed where it is not known."""
    assert check_shutdown(timedelta(seconds=timeout), {"POD_TERMINATION_GRACE": grace}).status is status


@pytest.mark.parametrize(
    ("timeout", "grace", "platform", "status"),
    [
        (115, "120s", "AWS_ECS_FARGATE", CheckStatus.OK),
        (116, "120s", "AWS_ECS_FARGATE", CheckStatus.FAIL),
        (116, "300s", "AWS_ECS_FARGATE", CheckStatus.FAIL),
        (116, "", "AWS_ECS_FARGATE", CheckStatus.FAIL),
        (115, "", "AWS_ECS_FARGATE", CheckStatus.WARN),
        (116, "300s", "AWS_ECS_EC2", CheckStatus.OK),
    ],
)
def test_shutdown_fits_fargate(timeout: int, grace: str, platform: str, status: CheckStatus) -> None:
    """Fargate ends a container 120 s after it asked it to, whatever anybody promised the sidecar."""
    environ = {"POD_TERMINATION_GRACE": grace, "AWS_EXECUTION_ENV": platform}
    diagnosis = check_shutdown(timedelta(seconds=timeout), environ)
    assert diagnosis.status is status
    assert ("115s or less" in diagnosis.cure) == (status is CheckStatus.FAIL)


def test_start_tells_of_fargate(tmp_path: Path) -> None:
    """The examination at the start shows it too."""
    settings = Settings(
        product=Product(code="0abc123example"),
        ledger=LedgerSettings(tmp_path / "ledger.db"),
        marketplace=MarketplaceSettings(region="eu-west-1"),
        shutdown=ShutdownSettings(timedelta(seconds=120)),
    )
    found = check_locally(settings, {"AWS_REGION": "eu-west-1", "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"})
    assert ("shutdown", CheckStatus.FAIL) in {(diagnosis.name, diagnosis.status) for diagnosis in found}


def test_cluster_overrules_variable() -> None:
    """What the cluster says of the grace period counts more than the variable."""
    diagnosis = check_shutdown(timedelta(seconds=25), {"POD_TERMINATION_GRACE": "1h"}, timedelta(seconds=10))
    assert (CheckStatus.FAIL, True) == (diagnosis.status, "grace period 10s" in diagnosis.found)


def setup(folder: Path, **marketplace: Any) -> Settings:
    """Return a configuration whose ledger lies in a folder."""
    return Settings(
        product=Product(code="0abc123example"),
        ledger=LedgerSettings(folder / "ledger.db"),
        marketplace=MarketplaceSettings(**marketplace),
    )


def probe() -> ServiceProbe:
    """Return the way to AWS."""
    return ServiceProbe(Endpoint.live({"AWS_REGION": "eu-west-1"}))


def test_running_sidecar_judges_what_is_here(tmp_path: Path) -> None:
    """A running sidecar looks at all that is in its pod and not met in its work."""
    environ = {"AWS_REGION": "us-east-1", "POD_TERMINATION_GRACE": "20", "AWS_CA_BUNDLE": str(tmp_path)}
    diagnoses = check_locally(setup(tmp_path, region="eu-west-1"), environ)
    found = {diagnosis.name: diagnosis.status for diagnosis in diagnoses}
    assert {
        "region": CheckStatus.FAIL,
        "certificates": CheckStatus.FAIL,
        "shutdown": CheckStatus.FAIL,
    }.items() <= found.items()
    assert [subject.name for subject in CHECKS if subject not in SERVICE] == [*found]


def test_emulator_is_asked_nothing(tmp_path: Path) -> None:
    """An emulator's records and faults belong to its user: a running sidecar asks it nothing."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        url = f"http://127.0.0.1:{trap.getsockname()[1]}"
        settings = setup(tmp_path, mode=Mode.EMULATOR, endpoint_url=url)
        assert [] == check_service(settings, {}, probe)
        trap.settimeout(0)
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_way_is_judged_up_to_first_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rests on a fault would only repeat it, so it is left out, and so is a name lookup that hangs."""
    environ = {**NOWHERE, "AWS_REGION": "eu-west-1", "HTTPS_PROXY": "http://sts.invalid:1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert [("dns", CheckStatus.FAIL)] == [
        (each.name, each.status) for each in check_service(setup(tmp_path), environ, probe)
    ]
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait())
    (hanging,) = check_service(setup(tmp_path), environ, probe, 0.3)
    released.set()
    assert ("dns", True) == (hanging.name, "no answer within 0.3 seconds" in hanging.found)


@pytest.mark.parametrize(
    ("start_probe", "asked"), [(StartProbe.RECORD, False), (StartProbe.LICENSE, True)], ids=["record", "license"]
)
def test_permission_is_asked_for_where_no_start_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_probe: StartProbe, *, asked: bool
) -> None:
    """A start probe by license calls no MeterUsage, so a role without it would show only at the first record."""
    monkeypatch.setattr(network, "look_up", lambda _: network.DNS.ok("found"))
    monkeypatch.setattr(network, "check_endpoint", lambda _: [network.ENDPOINT.ok("answers")])
    monkeypatch.setattr(access, "check_sts", lambda _: access.STS.ok("known"))
    monkeypatch.setattr(access, "check_permission", lambda *_: access.PERMISSION.fail("denied", "Attach the policy."))
    monkeypatch.setattr("sidecar.checks.setup.check_identity", lambda *_: network.DNS.ok("irsa"))
    settings = replace(
        setup(tmp_path),
        product=Product(code="0abc123example", pricing=Pricing.CUSTOM, id="prod-abc"),
        entitlement=EntitlementSettings(probe=start_probe),
        metering=MeteringSettings(dimensions=(Dimension("requests", Aggregation.SUM),)),
    )
    found = {each.name: each.status for each in check_service(settings, {}, probe)}
    assert (CheckStatus.FAIL if asked else CheckStatus.SKIPPED) == found["permission"]


def test_broken_sdk_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that is not there is the fault of the credentials, and nothing else is judged."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    (diagnosis,) = [each for each in check_service(setup(tmp_path), {}, probe) if each.cure]
    assert ("sts", CheckStatus.FAIL, True) == (
        diagnosis.name,
        diagnosis.status,
        "AWS_PROFILE is 'nobody'" in diagnosis.found,
    )
