"""A sidecar in live mode whose way to AWS is not right: what it says at start, and that it stops saying so."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.checks.setup import SERVICE
from tests.support.aws import Aws
from tests.support.identity import project
from tests.support.processes import Emulator, launch_emulator

if TYPE_CHECKING:
    from tests.support.processes import Sidecar, Site, Sites

pytestmark = pytest.mark.process

CODES = [f"setup-{subject.name}" for subject in SERVICE]
LIVE = {"mode": "live", "endpoint_url": None}
SOME = {"dimensions": [{"name": name, "aggregation": "sum"} for name in ("requests", "gigabytes")]}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator that takes nothing but roles for service accounts, and keeps the system's time."""
    emulator = launch_emulator(tmp_path_factory.mktemp("aws") / "emulator.log", "--identity", "irsa-only")
    yield emulator
    emulator.kill()


@pytest.fixture
def service(shared: Emulator) -> Emulator:
    """The service behind AWS's names, without customers."""
    shared.post("reset")
    shared.post("customers", action="entitle")
    return shared


@pytest.fixture
def aws(service: Emulator, tmp_path: Path) -> Iterator[Aws]:
    """AWS, without a fault."""
    aws = Aws(tmp_path / "aws", service.port)
    yield aws
    aws.close()


@pytest.fixture
def live_site(sites: "Sites", service: Emulator, aws: Aws) -> "Site":
    """A site in live mode next to it."""
    site = sites.make(service, marketplace=LIVE, metering=SOME)
    site.program = aws.program
    return site


def shown(sidecar: "Sidecar") -> list[Any]:
    """Return the faults on the way to AWS that the status shows."""
    return [fault for fault in sidecar.get("/v1/status")["faults"] if fault["code"] in CODES]


def said(sidecar: "Sidecar", event: str) -> list[Any]:
    """Return the log lines of an event about the way to AWS."""
    return [line for line in sidecar.events(event) if f"setup-{line['check']}" in CODES]


def refuse(operation: str) -> Callable[[Aws, Emulator, bool], object]:
    """Return what lets AWS refuse an operation, or take it again."""
    return lambda _, service, wrong: service.order(operation, "access-denied", 1_000_000 if wrong else 0)


def move_clock(aws: Aws, _: Emulator, wrong: bool) -> None:  # noqa: FBT001 - one of several like it
    """Let AWS's clock be off."""
    aws.skew = timedelta(minutes=10 if wrong else 0)


@pytest.mark.parametrize(
    ("disturb", "check", "found", "cure"),
    [
        (lambda aws, _, wrong: aws.name(known=not wrong), "dns", "Name or service not known", "cluster's DNS"),
        (lambda aws, _, wrong: aws.trust(known=not wrong), "endpoint", "CertificateRefused", "AWS_CA_BUNDLE"),
        (move_clock, "clock", "behind the service's", "NTP"),
        (refuse("AssumeRoleWithWebIdentity"), "sts", "AccessDenied", "trust policy"),
        (refuse("MeterUsage"), "permission", "requests: ", "aws-marketplace:MeterUsage"),
    ],
    ids=["no-dns", "foreign-authority", "skewed-clock", "refused-role", "refused-usage"],
)
def test_fault_is_shown_until_mended(
    live_site: "Site",
    aws: Aws,
    service: Emulator,
    tmp_path: Path,
    disturb: Callable[[Aws, Emulator, bool], object],
    check: str,
    found: str,
    cure: str,
) -> None:
    """The first fault on the way to AWS is shown with its cure and logged once; mended, it goes with one line."""
    disturb(aws, service, True)  # noqa: FBT003 - it is wrong
    sidecar = live_site.start(variables={**aws.variables, **project(tmp_path, "uid-of-pod")})
    (finding,) = sidecar.await_for("the finding", lambda: shown(sidecar))
    assert f"setup-{check}" == finding["code"]
    assert found in finding["detail"]
    assert cure in finding["cure"]
    disturb(aws, service, False)  # noqa: FBT003 - it is right
    sidecar.await_for("the end of it", lambda: not shown(sidecar))
    (wrong,), (mended,) = said(sidecar, "setup.wrong"), said(sidecar, "setup.mended")
    assert (check, check) == (wrong["check"], mended["check"])
    assert (finding["cure"], finding["detail"]) == (wrong["cure"], wrong["detail"])
    assert [] == said(sidecar, "setup.doubtful")
    assert [] == sidecar.events("library.message")


def test_right_way_is_silent(live_site: "Site", aws: Aws, service: Emulator, tmp_path: Path) -> None:
    """Where all is right nothing is reported or metered."""
    sidecar = live_site.start_entitled(variables={**aws.variables, **project(tmp_path, "uid-of-pod")})
    sidecar.await_for("the dry run", lambda: service.calls("MeterUsage"))
    assert {} == service.held()
    assert ([], []) == (shown(sidecar), said(sidecar, "setup.wrong"))


def test_one_dimension_is_asked(live_site: "Site", aws: Aws, service: Emulator, tmp_path: Path) -> None:
    """Each look asks AWS by one dry run for one of the dimensions: the quota is the account's."""
    service.order("MeterUsage", "InvalidUsageDimension", 1)
    sidecar = live_site.start(variables={**aws.variables, **project(tmp_path, "uid-of-pod")})
    sidecar.await_event("setup.wrong")
    sidecar.await_event("setup.mended")
    asked = [call["requestParameters"] for call in service.calls("MeterUsage")]
    assert [("requests", True)] * 2 == [(parameters["usageDimension"], parameters["dryRun"]) for parameters in asked]


@pytest.mark.ending
def test_hanging_look_holds_nothing_up(live_site: "Site", aws: Aws, tmp_path: Path) -> None:
    """While a look hangs in a name lookup the pod is entitled, and the process ends as soon as it is told to."""
    aws.hang()
    variables = {**aws.variables, **project(tmp_path, "uid-of-pod")}
    sidecar = live_site.start_entitled(variables=variables, entitlement={"check": "none"})
    sidecar.await_for("the lookup", lambda: aws.hanging)
    sidecar.signal()
    assert 0 == sidecar.await_end()
    assert 1 == len(sidecar.events("sidecar.stopped"))


def clock_faults(sidecar: "Sidecar") -> set[str]:
    """Return the faults of the clock that the status shows."""
    return {fault["code"] for fault in sidecar.get("/v1/status")["faults"]} & {"clock-skew", "setup-clock"}


def test_skew_ends_with_its_cause(live_site: "Site", aws: Aws, service: Emulator, tmp_path: Path) -> None:
    """A pod that is registered makes no further call, and its clock is compared all the same until it is right."""
    aws.skew = timedelta(minutes=3)
    variables = {**aws.variables, **project(tmp_path, "uid-of-pod")}
    sidecar = live_site.start_entitled(
        variables=variables,
        product={"pricing": "hourly"},
        entitlement={"remember_for": "0s"},
        metering={"dimensions": []},
    )
    sidecar.await_for("both faults", lambda: len(clock_faults(sidecar)) > 1)
    aws.skew = timedelta()
    sidecar.await_for("the end of both", lambda: not clock_faults(sidecar))
    assert 1 == len(service.calls("RegisterUsage"))


def test_contract_compares_the_clock(sites: "Sites", aws: Aws, service: Emulator, tmp_path: Path) -> None:
    """License Manager's answers have AWS's time, too; `doctor` asks it where Metering is not called."""
    usage = {"Name": "AWS::Marketplace::Usage", "Unit": "None"}
    service.post("licenses", action="grant", sku="prod-contract", entitlements=[usage])
    contract = {"pricing": "contract", "id": "prod-contract"}
    site = sites.make(service, marketplace=LIVE, metering={"dimensions": []}, product=contract)
    site.program = aws.program
    aws.skew = timedelta(minutes=10)
    variables = {**aws.variables, **project(tmp_path, "uid-of-pod")}
    sidecar = site.start_entitled(variables=variables)
    assert {"clock-skew"} == clock_faults(sidecar)
    doctor = site.command("doctor", "--json", "--config", str(site.write()), **variables)
    assert 1 == doctor.await_end()
    checks = {check["name"]: check for check in json.loads(doctor.log)["checks"]}
    assert ("fail", "skipped") == (checks["clock"]["status"], checks["endpoint"]["status"])
    aws.skew = timedelta()
    sidecar.await_for("the end", lambda: not clock_faults(sidecar))
