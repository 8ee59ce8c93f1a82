"""Every subject of `doctor` with a fault provoked in a real pod, as the command tells it in each of its three forms."""

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest

from sidecar.domain.diagnosis import Subject
from sidecar.operator import checks
from tests.adapters.apiserver import ApiServer
from tests.operator.pods import (
    GATE,
    Pod,
    associate_identity,
    break_here,
    break_key,
    break_names,
    break_permission,
    break_trust,
    claim,
    leave_account,
    move_away,
    outlive_grace,
    sign_in_as_node,
    take_other_key,
    trust_others,
)
from tests.process.aws import REGION, Aws
from tests.process.processes import Emulator, Sites, launch_emulator
from tests.process.test_process_identity import project

pytestmark = pytest.mark.process

BOUND = 15
"""Seconds within which everything is told, whatever does not answer."""


@dataclass(frozen=True)
class Told:
    """What is expected of one subject."""

    status: str
    found: str
    cure: str


@dataclass(frozen=True)
class Sickness:
    """What is wrong with a pod, and what of it has to be told."""

    provoke: Callable[[Pod], None]
    exit_code: int
    told: Mapping[str, Told]


SICKNESSES = {
    "nothing-here-is-right": Sickness(
        break_here,
        1,
        {
            "keys": Told("fail", "1.pem (version 1)", "Mount the file there"),
            "region": Told("fail", "the pod runs in us-east-1", "Leave marketplace.region unset"),
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
        },
    ),
    "no-names": Sickness(
        break_names,
        1,
        {
            "dns": Told("fail", "Name or service not known", "cluster's DNS"),
            "endpoint": Told("fail", f"metering.marketplace.{REGION}.amazonaws.com", "network policy"),
            "sts": Told("fail", f"sts.{REGION}.amazonaws.com", "network policy"),
        },
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
        variables = {**project(tmp_path, "uid-of-pod"), **aws.variables, **cluster.environ}
        yield Pod(tmp_path, aws, shared, cluster, site, held, variables={**variables, "ACCOUNT": str(cluster.account)})


def examine(pod: Pod) -> tuple[int, dict[str, dict[str, str]]]:
    """Run `doctor --json`; its exit code and its checks by name."""
    command = [sys.executable, *pod.doctor("--json")]
    done = subprocess.run(command, capture_output=True, env=pod.environment(), check=False, timeout=60)
    assert done.stderr == b""
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
    """In the pod in which the faults are provoked nothing is wrong before, so that each is the provoked one."""
    code, told = examine(pod)
    unsound = {name for name, check in told.items() if check["status"] in {"fail", "skipped"}}
    # Nothing was registered yet that could tell of a rotation.
    assert (0, {"key rotation"}) == (code, unsound)


@pytest.mark.parametrize("name", SICKNESSES)
def test_provoked_fault_is_told(pod: Pod, name: str) -> None:
    """What was found, why it matters and the cure are in the document, in the lines and in the table; 1 if it fails."""
    sickness = SICKNESSES[name]
    sickness.provoke(pod)
    code, told = examine(pod)
    assert sickness.exit_code == code
    table = show(pod)
    lines = subprocess.run(
        [sys.executable, *pod.doctor()], capture_output=True, text=True, env=pod.environment(), check=False, timeout=60
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
    return {value.name for module in modules for value in vars(module).values() if isinstance(value, Subject)}


def test_every_subject_is_provoked() -> None:
    """There is no check whose fault is not provoked above."""
    assert subjects() == {subject for sickness in SICKNESSES.values() for subject in sickness.told}


@pytest.mark.parametrize(
    ("provoke", "subject", "expected"),
    [
        (take_other_key, "keys", Told("fail", "RSA", "AWS Marketplace")),
        (move_away, "region", Told("fail", "not metered in Region af-south-1", "supported")),
        (sign_in_as_node, "identity", Told("fail", "node-role", "IRSA")),
        (associate_identity, "identity", Told("fail", "eks-pod-identity", "pod identity association")),
        (leave_account, "identity", Told("fail", "no credentials are configured", "IRSA")),
        (claim(aud=["https://kubernetes.default.svc"]), "token", Told("fail", "is meant for", "sts.amazonaws.com")),
        (claim(aud=["https://kubernetes.default.svc"]), "sts", Told("fail", "InvalidIdentityToken", "OIDC provider")),
        (claim(exp=1_700_000_000), "token", Told("fail", "expired at 2023-11-14", "projected volume")),
        (claim(sub="system:node:ip-10-0-0-1"), "token", Told("fail", "no service account", "the pod's own")),
        (trust_others, "endpoint", Told("fail", "CertificateRefused", "AWS_CA_BUNDLE")),
        (trust_others, "sts", Told("fail", "CertificateRefused", "AWS_CA_BUNDLE")),
        (outlive_grace, "shutdown", Told("fail", "grace period 20s", "terminationGracePeriodSeconds")),
    ],
)
def test_kind_of_fault_is_told(pod: Pod, provoke: Callable[[Pod], None], subject: str, expected: Told) -> None:
    """Where one subject has faults of several kinds, each is told as what it is and has its own cure."""
    provoke(pod)
    code, told = examine(pod)
    check = told[subject]
    assert (1, expected.status) == (code, check["status"]), check
    assert expected.found in check["found"]
    assert expected.cure in check["cure"]


def test_hanging_credentials_hide_nothing(pod: Pod) -> None:
    """While whoever gives out the credentials is silent, the way to AWS is judged all the same."""
    leave_account(pod)
    pod.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://127.0.0.1:{pod.take_port()}/credentials"
    code, told = examine(pod)
    assert (1, "fail") == (code, told["sts"]["status"])
    assert ["ok"] * 3 == [told[name]["status"] for name in ("dns", "endpoint", "clock")]


@pytest.mark.parametrize("silence", [Aws.hang, Aws.swallow, break_names], ids=["lookup", "connection", "names"])
def test_without_network_the_rest_is_told(pod: Pod, silence: Callable[[Any], None]) -> None:
    """Whether lookups never end, packets vanish or no name is known: within 15 s all is told that can be."""
    silence(pod if silence is break_names else pod.aws)
    pod.site.key.unlink()
    began_at = time.monotonic()
    code, told = examine(pod)
    assert time.monotonic() - began_at < BOUND
    assert code == 1
    assert subjects() == set(told)
    online = {"dns", "endpoint", "clock", "sts", "permission"}
    assert "fail" == told["endpoint"]["status"]
    assert {"keys"} == {name for name, check in told.items() if check["status"] == "fail"} - online
    assert {"fail", "skipped"} == {told[name]["status"] for name in online - {"dns"}} | {"skipped"}
