"""Every check of `doctor` with a fault provoked in a real pod, as the command reports it in its three forms."""

import base64
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest

from sidecar import checks
from sidecar.domain.check_result import Check
from tests.commands.pods import (
    GATE,
    Pod,
    associate_identity,
    break_here,
    break_key,
    break_names,
    break_permission,
    break_trust,
    claim,
    deny,
    leave_account,
    lose_license,
    move_away,
    outlive_grace,
    pad_values,
    sign_in_as_node,
    take_other_key,
    trust_others,
)
from tests.support.apiserver import UID, ApiServer
from tests.support.aws import REGION, Aws
from tests.support.identity import project
from tests.support.patient import HANGING
from tests.support.processes import Emulator, Sites, launch_emulator
from tests.support.tools import PATIENCE

pytestmark = [pytest.mark.process, pytest.mark.unmeasured]


@dataclass(frozen=True)
class Told:
    """What is expected of one subject."""

    status: str
    found: str
    cure: str


@dataclass(frozen=True)
class Sickness:
    """What is wrong with a pod, and what of it has to be reported."""

    provoke: Callable[[Pod], None]
    exit_code: int
    told: Mapping[str, Told]


SICKNESSES = {
    "nothing-here-is-right": Sickness(
        break_here,
        1,
        {
            "keys": Told("fail", "1.pem (version 1)", "Mount the file there"),
            "region": Told("fail", "the pod runs in us-east-1", "Unset marketplace.region"),
            "pod": Told("fail", "$(POD_UID)", "metadata.uid"),
            "token": Told("fail", "does not hold a JSON web token", "eks.amazonaws.com/role-arn"),
            "proxy": Told("fail", "HTTPS_PROXY is not the URL", "http://host:port"),
            "certificates": Told("fail", "AWS_CA_BUNDLE", "PEM certificates"),
            "sdk variables": Told("warn", "AWS_USE_FIPS_ENDPOINT", "Remove it"),
            "ledger": Told("fail", "takes no file", "Make the folder writable"),
            "ledger room": Told("fail", "0 MiB are free", "Make room"),
            "api port": Told("fail", "in use by another process", "set another api.port"),
            "api token": Told("fail", "absent", "Mount the file there"),
            "probe port": Told("fail", "in use by another process", "set another probes.port"),
            "kubernetes": Told("warn", "KUBERNETES_SERVICE_HOST is not set", "kubernetes.enabled to false"),
            "shutdown": Told("fail", "shutdown.timeout is 25s", "terminationGracePeriodSeconds"),
            "identity": Told("fail", "it hides irsa", "Unset AWS_ACCESS_KEY_ID"),
            "sources": Told("fail", "dimension vcpu_hours: ", "Mount the downward API's file"),
            "price": Told("warn", "does not name the price", "Set product.pricing to hourly or custom"),
        },
    ),
    "no-names": Sickness(
        break_names,
        1,
        {
            "dns": Told("fail", f"metering.marketplace.{REGION}.amazonaws.com: Name or service", "cluster's DNS"),
        },
    ),
    "foreign-authority": Sickness(
        trust_others,
        1,
        {
            "endpoint": Told("fail", "CertificateRefused", "AWS_CA_BUNDLE"),
            "sts": Told("fail", "CertificateRefused", "AWS_CA_BUNDLE"),
        },
    ),
    "padded": Sickness(
        pad_values,
        1,
        {
            "variables": Told(
                "fail", "AWS_ROLE_ARN has a line end after its value; HTTPS_PROXY has quotes", "bare value"
            )
        },
    ),
    "denied": Sickness(
        deny,
        1,
        {"sidecar": Told("fail", "entitlement-denied: customer-not-entitled", "Subscribe to the product")},
    ),
    "no-trust": Sickness(
        break_trust,
        1,
        {
            "clock": Told("fail", "behind the service's", "NTP"),
            "sts": Told("fail", "AccessDenied", "trust policy"),
            "kubernetes role": Told("fail", "may not get pods, patch pods/status", '["pods/status"], verbs: ["patch"]'),
        },
    ),
    "no-permission": Sickness(
        break_permission,
        1,
        {
            "permission": Told("fail", "requests: ", "aws-marketplace:MeterUsage"),
            "ledger volume": Told("warn", "tmpfs at /dev/shm", "Use an emptyDir"),
        },
    ),
    "no-license": Sickness(
        lose_license,
        1,
        {"license": Told("fail", "licenses of other products: prod-other", "Subscribe to the product")},
    ),
    "other-key": Sickness(
        break_key,
        0,
        {
            "configuration": Told("warn", "marketplace.mode is emulator", "remove marketplace.mode"),
            "key rotation": Told("warn", "does not verify under the key", "Save the key"),
        },
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator that takes nothing but roles for service accounts, and keeps the system's time."""
    emulator = launch_emulator(tmp_path_factory.mktemp("aws") / "emulator.log", "--identity", "irsa-only")
    yield emulator
    emulator.kill()


@pytest.fixture
def pod(shared: Emulator, tmp_path: Path) -> Iterator[Pod]:
    """A pod in which nothing is wrong, in live mode."""
    shared.post("reset")
    shared.post("customers", action="entitle")
    with ExitStack() as held:
        aws = Aws(tmp_path / "aws", shared.port)
        held.callback(aws.close)
        cluster = ApiServer(tmp_path / "account")
        held.callback(cluster.close)
        cluster.pod["status"]["conditions"].append({"type": GATE, "status": "True"})
        site = Sites(tmp_path).make(shared, marketplace={"mode": "live", "endpoint_url": None})
        held.callback(site.close)
        site.program = aws.program
        variables = {**project(tmp_path, UID), **aws.variables, **cluster.environ}
        yield Pod(tmp_path, aws, shared, cluster, site, held, variables={**variables, "ACCOUNT": str(cluster.account)})


def examine(pod: Pod) -> tuple[int, dict[str, dict[str, str]]]:
    """Run `doctor --json`; its exit code and its checks by name."""
    command = [sys.executable, *pod.doctor("--json")]
    done = subprocess.run(command, capture_output=True, env=pod.environment(), check=False, timeout=PATIENCE)
    assert b"" == done.stderr
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def show(pod: Pod) -> str:
    """Run `doctor` on a terminal that is wide enough for every sentence."""
    ours, theirs = pty.openpty()
    command = [sys.executable, *pod.doctor()]
    variables = {**pod.environment(), "COLUMNS": "4000", "NO_COLOR": "1"}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=variables):
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed: how Linux says it
                break
            shown += part
    os.close(ours)
    return shown.decode()


def test_healthy_pod_is_clean(pod: Pod) -> None:
    """In the pod in which the faults are provoked nothing is wrong before, so each is the provoked one."""
    code, told = examine(pod)
    unsound = {name for name, check in told.items() if check["status"] in {"fail", "skipped"}}
    # Nothing was registered yet that could tell of a rotation, no sidecar runs, the price is no contract, and no
    # dimension is measured.
    assert (0, {"key rotation", "sidecar", "license", "sources"}) == (code, unsound), told


@pytest.mark.parametrize("name", SICKNESSES)
def test_provoked_fault_is_told(pod: Pod, name: str) -> None:
    """What was found, why it matters and the cure are in the document, in the lines and in the table; 1 if it fails."""
    sickness = SICKNESSES[name]
    sickness.provoke(pod)
    code, told = examine(pod)
    assert sickness.exit_code == code
    table = show(pod)
    lines = subprocess.run(
        [sys.executable, *pod.doctor()],
        capture_output=True,
        text=True,
        env=pod.environment(),
        check=False,
        timeout=PATIENCE,
    )
    assert sickness.exit_code == lines.returncode
    for subject, expected in sickness.told.items():
        check = told[subject]
        assert expected.status == check["status"], check
        assert expected.found in check["found"]
        assert expected.cure in check["cure"]
        shown = next(line for line in lines.stdout.splitlines() if line.startswith(f"{expected.status} {subject}: "))
        assert expected.found in shown
        assert f" | why: {check['why']} | cure: {check['cure']}" in shown
        assert expected.found in table
        assert f"why: {check['why']}" in table
        assert f"cure: {check['cure']}" in table


def subjects() -> set[str]:
    """Return the names of everything that any check judges."""
    modules = [import_module(f"{checks.__name__}.{each.name}") for each in iter_modules(checks.__path__)]
    return {value.name for module in modules for value in vars(module).values() if isinstance(value, Check)}


def test_every_subject_is_provoked() -> None:
    """There is no check whose fault is not provoked above."""
    assert subjects() == {subject for sickness in SICKNESSES.values() for subject in sickness.told}


@pytest.mark.parametrize(
    ("provoke", "subject", "expected"),
    [
        (take_other_key, "keys", Told("fail", "RSA", "AWS Marketplace")),
        (move_away, "region", Told("warn", "Region af-south-1 is not among the 17", "Ask AWS Marketplace")),
        (sign_in_as_node, "identity", Told("fail", "node-role", "IRSA")),
        (associate_identity, "identity", Told("fail", "eks-pod-identity", "pod identity association")),
        (leave_account, "identity", Told("fail", "no credentials are configured", "IRSA")),
        (claim(aud=["https://kubernetes.default.svc"]), "token", Told("fail", "is meant for", "sts.amazonaws.com")),
        (claim(exp=1_700_000_000), "token", Told("fail", "expired at 2023-11-14", "projected volume")),
        (claim(sub="system:node:ip-10-0-0-1"), "token", Told("fail", "no service account", "the pod's own")),
        (outlive_grace, "shutdown", Told("fail", "grace period 20s", "terminationGracePeriodSeconds")),
    ],
)
def test_kind_of_fault_is_told(pod: Pod, provoke: Callable[[Pod], None], subject: str, expected: Told) -> None:
    """Where one subject has faults of several kinds, each is reported as what it is and has its own cure."""
    provoke(pod)
    code, told = examine(pod)
    check = told[subject]
    assert (1, expected.status) == (code, check["status"]), check
    assert expected.found in check["found"]
    assert expected.cure in check["cure"]


def failing(told: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Return the checks of the way to AWS that fail; a busy machine answers late for the cluster."""
    return {name for name, check in told.items() if check["status"] == "fail"} - {"kubernetes", "shutdown"}


def test_what_rests_on_a_fault_is_skipped(pod: Pod) -> None:
    """Next to one padded variable nothing else is blamed: what it may have caused is skipped and names it."""
    pad_values(pod)
    code, told = examine(pod)
    assert (1, {"variables"}) == (code, failing(told))
    for name in ("proxy", "sts", "permission"):
        assert ("skipped", "rests on the check `variables`, which failed") == (
            told[name]["status"],
            told[name]["found"],
        )


def test_refused_setting_is_one_fault(pod: Pod) -> None:
    """A variable that the SDK refuses is one failure that names it; one without effect is named and fails nothing."""
    pod.variables |= {"AWS_PROFILE": "missing", "AWS_DEFAULTS_MODE": "fast"}
    code, told = examine(pod)
    assert (1, {"sts"}) == (code, failing(told))
    assert "AWS_PROFILE is 'missing', which the SDK refuses" in told["sts"]["found"]
    assert "AWS_DEFAULTS_MODE" in told["sdk variables"]["found"]
    assert "the check itself failed" not in str(told)


def test_hanging_credentials_hide_nothing(pod: Pod) -> None:
    """While the source of the credentials is silent, the way to AWS is judged all the same."""
    leave_account(pod)
    pod.variables |= HANGING
    pod.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://127.0.0.1:{pod.take_port()}/credentials"
    code, told = examine(pod)
    assert (1, "fail") == (code, told["sts"]["status"])
    assert ["ok"] * 3 == [told[name]["status"] for name in ("dns", "endpoint", "clock")]


@pytest.mark.parametrize("silence", [Aws.hang, Aws.swallow, break_names], ids=["lookup", "connection", "names"])
def test_without_network_the_rest_is_told(pod: Pod, silence: Callable[[Any], None]) -> None:
    """Whether lookups never end, packets vanish or no name is known: each check that can judge does so."""
    silence(pod if silence is break_names else pod.aws)
    pod.site.key.unlink()
    pod.variables |= HANGING
    code, told = examine(pod)
    assert 1 == code
    assert subjects() == set(told)
    online = {"dns", "endpoint", "clock", "sts", "permission"}
    # The first of the two that fails is reported; what rests on it is not.
    assert "fail" in {told["dns"]["status"], told["endpoint"]["status"]}
    assert {"keys"} == {name for name, check in told.items() if check["status"] == "fail"} - online
    assert {told[name]["status"] for name in online - {"dns"}} <= {"fail", "skipped"}


def test_wrong_account_is_named(pod: Pod) -> None:
    """Where the pod's account has no role, doctor and the running sidecar name the account that the pod runs as."""
    leave_account(pod)
    claims = base64.urlsafe_b64encode(b'{"sub": "system:serviceaccount:shop:default"}').rstrip(b"=").decode()
    (pod.cluster.account / "token").write_text(f"e30.{claims}.c2ln\n", encoding="ascii")
    words = "the pod runs as the service account shop/default"
    code, told = examine(pod)
    assert (1, "fail") == (code, told["identity"]["status"])
    assert words in told["identity"]["found"]
    sidecar = pod.site.start(variables={**pod.variables, "AWS_EC2_METADATA_DISABLED": "true"})
    entitlement = sidecar.await_for(
        "the fault", lambda: (got := sidecar.get("/v1/entitlement"))["reason"] == "credentials-missing" and got
    )
    assert entitlement["detail"].endswith("The pod runs as the service account shop/default.")
    (finding,) = [each for each in sidecar.get("/v1/status")["faults"] if each["code"] == "identity-not-accepted"]
    assert words in finding["detail"]
