"""`doctor` as a command, against the emulator, next to a running sidecar, and with the way out shut."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.commands.demo.environment import free_port
from tests.support import patient
from tests.support.identity import KEYS, ROLE, project
from tests.support.processes import Emulator, Running, Site, Sites, environment, launch_emulator
from tests.support.tools import PATIENCE

pytestmark = pytest.mark.process

NAMES = [
    *("configuration", "variables", "sidecar", "price", "sources", "keys", "key rotation", "region", "pod"),
    *("token", "proxy", "certificates", "sdk variables"),
    *("ledger", "ledger volume", "ledger room", "api port", "api token", "probe port"),
    *(
        "kubernetes",
        "kubernetes role",
        "shutdown",
        "identity",
        "license",
        "dns",
        "endpoint",
        "clock",
        "sts",
        "permission",
    ),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator that takes nothing but roles for service accounts."""
    emulator = launch_emulator(tmp_path_factory.mktemp("doctor") / "emulator.log", "--identity", "irsa-only")
    yield emulator
    emulator.kill()


@pytest.fixture
def emulator(shared: Emulator) -> Emulator:
    """An emulator without customers."""
    shared.begin()
    return shared


@pytest.fixture
def site(emulator: Emulator, tmp_path: Path) -> Iterator[Site]:
    """A site next to the emulator; what runs there ends with the test."""
    sites = Sites(tmp_path)
    yield sites.make(emulator)
    for made in sites.made:
        made.close()


@pytest.fixture
def pod(tmp_path: Path) -> dict[str, str]:
    """What EKS sets for a service account with a role."""
    return project(tmp_path, "uid-of-pod")


def ports() -> dict[str, Any]:
    """Return settings with two free ports."""
    return {"api": {"port": free_port()}, "probes": {"port": free_port()}}


def examine(site: Site, config: Path, **variables: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Run `doctor --json`; its exit code and its checks by name."""
    site.program = patient.PROGRAM
    doctor = site.command("doctor", "--json", "--config", str(config), **variables)
    code = doctor.await_end()
    checks = json.loads(doctor.log)["checks"]
    assert NAMES == [check["name"] for check in checks]
    return code, {check["name"]: check for check in checks}


def results(checks: dict[str, dict[str, str]], *names: str) -> list[str]:
    """Return the statuses of some checks."""
    return [checks[name]["status"] for name in names]


def test_sound_setup_is_clean(site: Site, emulator: Emulator, pod: dict[str, str]) -> None:
    """Where all is well the exit code is 0; nothing was registered or metered, and no file is left."""
    config = site.write(**ports())
    before = sorted(site.folder.iterdir())
    code, checks = examine(site, config, **pod)
    assert 0 == code, checks
    assert "fail" not in results(checks, *NAMES)
    assert {"ok"} == set(results(checks, "keys", "token", "identity", "endpoint", "sts", "permission"))
    # An emulator's answers are dated by its machine.
    assert ["skipped"] == results(checks, "clock")
    assert f"assumed-role/{ROLE.rpartition('/')[2]}" in checks["sts"]["found"]
    assert [] == emulator.calls("RegisterUsage")
    assert {} == emulator.held()
    assert before == sorted(path for path in site.folder.iterdir() if not path.name.startswith("command"))


def test_running_sidecar_is_no_fault(site: Site, emulator: Emulator, pod: dict[str, str]) -> None:
    """Next to a running sidecar its ledger and its ports are in use by the right one, and its key is proved."""
    sidecar = site.start_entitled(variables=pod, **ports())
    code, checks = examine(site, site.reach(sidecar), **pod)
    assert 0 == code, checks
    assert "in use by the running sidecar" in checks["ledger"]["found"]
    assert "held by the running sidecar" in checks["api port"]["found"]
    assert "held by the running sidecar" in checks["probe port"]["found"]
    assert ["ok"] == results(checks, "key rotation")
    emulator.post("keys", rotate=True)
    sidecar.kill()
    later = site.start_entitled(variables=pod)
    later.await_for(
        "the rotation",
        lambda: "public-key-rotated" in [fault["code"] for fault in later.get("/v1/status")["faults"]],
    )
    code, checks = examine(site, site.reach(later), **pod)
    assert (0, ["warn"]) == (code, results(checks, "key rotation"))


def test_faults_are_shown_at_start(site: Site, pod: dict[str, str]) -> None:
    """What needs no network is found at start too: logged once and shown in the status."""
    sidecar = site.start_entitled(variables={**pod, "POD_TERMINATION_GRACE": "20"})
    logged = sidecar.await_event("setup.wrong")
    (shown,) = [fault for fault in sidecar.get("/v1/status")["faults"] if fault["code"] == "setup-shutdown"]
    assert ("shutdown", shown["detail"], shown["cure"]) == (logged["check"], logged["detail"], logged["cure"])
    assert [logged] == sidecar.events("setup.wrong")
    _, checks = examine(site, site.reach(sidecar), **{**pod, "POD_TERMINATION_GRACE": "20"})
    assert shown["detail"] == checks["shutdown"]["found"]


@pytest.mark.parametrize(
    ("operation", "fault", "check", "words"),
    [
        ("AssumeRoleWithWebIdentity", "InvalidIdentityToken", "sts", "OIDC provider"),
        ("AssumeRoleWithWebIdentity", "expired-token", "sts", "which the kubelet renews"),
        ("AssumeRoleWithWebIdentity", "access-denied", "sts", "trust policy"),
        ("MeterUsage", "access-denied", "permission", "aws-marketplace:MeterUsage"),
        ("MeterUsage", "InvalidProductCode", "permission", "product.code"),
        ("MeterUsage", "InvalidUsageDimension", "permission", "dimension names"),
    ],
)
def test_refusals_are_told(
    site: Site, emulator: Emulator, pod: dict[str, str], operation: str, fault: str, check: str, words: str
) -> None:
    """What AWS refuses fails its check with the cure; the other checks are reported all the same."""
    emulator.order(operation, fault)
    code, checks = examine(site, site.write(**ports()), **pod)
    assert (1, "fail") == (code, checks[check]["status"])
    assert words in checks[check]["cure"]
    assert ["ok", "ok", "ok"] == results(checks, "keys", "endpoint", "ledger")


def test_each_dimension_is_asked(site: Site, emulator: Emulator, pod: dict[str, str]) -> None:
    """A dimension that AWS does not take is reported by its name, next to those that it takes."""
    emulator.order("MeterUsage", "InvalidUsageDimension", 1)
    dimensions = [{"name": name, "aggregation": "sum"} for name in ("requests", "gigabytes")]
    code, checks = examine(site, site.write(metering={"dimensions": dimensions}, **ports()), **pod)
    found = checks["permission"]["found"]
    assert 1 == code
    assert "taken for gigabytes" in found
    assert "requests: InvalidUsageDimensionException" in found


def test_throttling_is_no_failure(site: Site, emulator: Emulator, pod: dict[str, str]) -> None:
    """A throttled question is doubtful, not wrong."""
    emulator.order("MeterUsage", "throttle")
    code, checks = examine(site, site.write(**ports()), **pod)
    assert (0, "warn") == (code, checks["permission"]["status"])


def test_wrong_platform_is_told(site: Site) -> None:
    """Keys where AWS takes a service account's role only fail with the platform as the reason."""
    code, checks = examine(site, site.write(**ports()), **KEYS)
    assert (1, True) == (code, "PlatformNotSupported" in checks["permission"]["found"])


def test_silence_is_bounded(site: Site, emulator: Emulator, pod: dict[str, str]) -> None:
    """Calls without an answer are given up, and the other checks report what they found."""
    emulator.order("MeterUsage", "timeout")
    emulator.order("AssumeRoleWithWebIdentity", "timeout")
    code, checks = examine(site, site.write(**ports()), **pod, **patient.HANGING)
    assert (1, ["fail", "ok", "ok"]) == (code, results(checks, "sts", "keys", "endpoint"))
    assert checks["permission"]["status"] in {"fail", "skipped"}


def test_shut_way_out_hides_nothing(site: Site, pod: dict[str, str], tmp_path: Path) -> None:
    """Without a way to AWS everything else is reported: shadowed role, missing key."""
    config = site.write(marketplace={"mode": "live", "endpoint_url": None, "region": "eu-west-1"}, **ports())
    site.key.unlink()
    shut = {"HTTPS_PROXY": f"http://127.0.0.1:{free_port()}", "AWS_EC2_METADATA_DISABLED": "true"}
    code, checks = examine(site, config, **{**pod, **KEYS, **shut, "AWS_REGION": "eu-west-1"})
    assert 1 == code
    assert ["fail"] * 4 == results(checks, "keys", "identity", "endpoint", "sts")
    assert ["ok", "ok", "skipped"] == results(checks, "token", "ledger", "clock")
    assert "it hides irsa" in checks["identity"]["found"]
    assert "through http://127.0.0.1" in checks["endpoint"]["found"]


def test_without_region_nobody_is_asked(site: Site) -> None:
    """Without a Region there is no service to ask, which is reported; the rest is judged."""
    config = site.write(marketplace={"mode": "live", "endpoint_url": None}, **ports())
    code, checks = examine(site, config)
    assert (1, ["fail", "fail", "skipped", "ok"]) == (code, results(checks, "region", "identity", "sts", "keys"))


def test_broken_sdk_is_told(site: Site) -> None:
    """A profile that is not there keeps the SDK from starting, which fails; the rest is judged."""
    config = site.write(marketplace={"mode": "live", "endpoint_url": None}, **ports())
    code, checks = examine(site, config, AWS_PROFILE="nobody", AWS_REGION="eu-west-1")
    assert (1, ["fail", "skipped", "ok"]) == (code, results(checks, "sts", "permission", "keys"))
    assert "AWS_PROFILE" in checks["sts"]["found"]


def test_faulty_configuration_is_2(site: Site) -> None:
    """Every problem of the configuration is reported, as lines or as a document, and the exit code is 2."""
    config = site.write(api={"port": 99999}, log={"level": "loud"})
    lines = site.command("doctor", "--config", str(config))
    assert 2 == lines.await_end()
    document = site.command("doctor", "--json", "--config", str(config))
    assert 2 == document.await_end()
    for words in ("api.port = 99999", "log.level = 'loud'"):
        assert words in lines.log
        assert words in " ".join(check["found"] for check in json.loads(document.log)["checks"])


def test_lines_suit_a_log(site: Site, pod: dict[str, str]) -> None:
    """Away from a terminal each check is one line, and nothing of the token is in any."""
    site.program = patient.PROGRAM
    doctor: Running = site.command("doctor", "--config", str(site.write(**ports())), **pod)
    assert 0 == doctor.await_end()
    lines = doctor.log.splitlines()
    assert len(NAMES) + 1 == len(lines)
    token = Path(pod["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text().split(".")
    assert not [part for part in token if part in doctor.log]


def test_terminal_gets_a_table(site: Site, pod: dict[str, str]) -> None:
    """On a terminal the checks are a colored table."""
    ours, theirs = pty.openpty()
    command = [sys.executable, *patient.PROGRAM, "doctor", "--config", str(site.write(**ports()))]
    done = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment(**pod, COLUMNS="100", TERM="xterm"))
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed: how Linux says it
            break
        shown += part
    os.close(ours)
    assert 0 == done.wait(PATIENCE)
    assert b"\x1b[32mok     \x1b[0m  keys" in shown


def test_no_credentials_are_told(site: Site) -> None:
    """Without credentials the token service's check shows it, and no permission is asked for."""
    config = site.write(marketplace={"mode": "live", "endpoint_url": None}, **ports())
    shut = {"HTTPS_PROXY": f"http://127.0.0.1:{free_port()}", "AWS_EC2_METADATA_DISABLED": "true"}
    code, checks = examine(site, config, AWS_REGION="eu-west-1", **shut)
    assert (1, ["fail", "fail", "skipped"]) == (code, results(checks, "identity", "sts", "permission"))
    assert "IRSA" in checks["sts"]["cure"]


def test_guarded_api_is_asked(site: Site, pod: dict[str, str]) -> None:
    """The running sidecar is known also where its API wants a token, over the unix socket too."""
    token = site.folder / "api-token"
    token.write_text("the-word")
    guarded = {"token_file": str(token), "socket": str(site.folder / "api.sock")}
    sidecar = site.launch(site.write(api=guarded), **pod)
    sidecar.await_start()
    config = site.write("reach.yaml", api={**guarded, "port": sidecar.api}, probes={"port": sidecar.probes})
    code, checks = examine(site, config, **pod)
    assert 0 == code, checks
    assert "in use by the running sidecar" in checks["ledger"]["found"]
    assert ["ok", "ok", "ok"] == results(checks, "api port", "api token", "probe port")
