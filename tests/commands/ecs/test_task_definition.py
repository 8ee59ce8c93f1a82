"""The task definition: what ECS and the SDK make of it, and what is refused instead of printed."""

import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ParamValidationError
from botocore.loaders import Loader

from sidecar import cli
from sidecar.commands.ecs.definition import IMAGE_PROGRAM, IMAGE_USER, IMAGE_VOLUME
from sidecar.commands.ecs.launch import FARGATE_SIZES
from sidecar.exit_codes import ExitCode
from tests.support.reading import ROOT

ROLE = "arn:aws:iam::111122223333:role/metering"
ECR = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop:2.1"
CONFIGURATION = """\
product: {code: 0abc123example, public_keys: {1: /etc/marketplace-sidecar/keys/1.pem}}
metering: {dimensions: [{name: requests, aggregation: sum}]}
"""
BASE = ("--family", "shop", "--app-image", "acme/shop:2.1", "--sidecar-image", "acme/metering", "--task-role-arn", ROLE)
ON_EC2 = ("--launch-type", "ec2", "--region", "eu-west-1")
LOGGED = ("--region", "eu-west-1", "--log-group", "/ecs/shop", "--execution-role-arn", ROLE)


class Teller:
    """Runs the command on one configuration, and hears what it says."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = folder / "config.yaml"
        self.path.write_text(CONFIGURATION)
        self._capsys = capsys

    def define(self, *arguments: str) -> dict[str, Any]:
        """Return the task definition."""
        assert 0 == cli.main(self.command(*arguments))
        document: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        return document

    def refuse(self, *arguments: str) -> list[str]:
        """Return the problems, one line each; nothing is printed instead of a definition."""
        assert 2 == cli.main(self.command(*arguments))
        shown = self._capsys.readouterr()
        assert "" == shown.out
        return [line.strip() for line in shown.err.splitlines()[1:]]

    def command(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return ["ecs", "task-definition", "--config", str(self.path), *BASE, *arguments]


@pytest.fixture(name="ecs")
def _ecs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Teller:
    """The command."""
    return Teller(tmp_path, capsys)


def containers(definition: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sidecar's container and the app's."""
    sidecar, app = definition["containerDefinitions"]
    assert ("marketplace-sidecar", "app") == (sidecar["name"], app["name"])
    return sidecar, app


def variables(container: dict[str, Any]) -> dict[str, str]:
    """Return a container's environment."""
    return {each["name"]: each["value"] for each in container["environment"]}


def register(definition: dict[str, Any]) -> list[bytes]:
    """Hand a definition to the SDK's real client, whose network ends here; the bodies that it would have sent."""
    client: Any = boto3.client("ecs", region_name="eu-west-1", aws_access_key_id="no", aws_secret_access_key="no")
    sent: list[bytes] = []

    def answer(request: Any, **_: object) -> AWSResponse:
        sent.append(request.body)
        response = AWSResponse(request.url, 200, {}, None)
        response._content = b'{"taskDefinition": {}}'
        return response

    client.meta.events.register("before-send.ecs.RegisterTaskDefinition", answer)
    client.register_task_definition(**definition)
    client.close()
    return sent


def foreign_words(value: Any, shape: str, shapes: dict[str, Any]) -> list[str]:
    """Return the strings that are not among those that the model lists; the SDK's validator does not look."""
    model = shapes[shape]
    match model["type"]:
        case "structure":
            inner = [foreign_words(each, model["members"][name]["shape"], shapes) for name, each in value.items()]
        case "list":
            inner = [foreign_words(each, model["member"]["shape"], shapes) for each in value]
        case _:
            return [value] if value not in model.get("enum", [value]) else []
    return [word for words in inner for word in words]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        LOGGED,
        ON_EC2,
        (*ON_EC2, "--ledger-volume", "instance", "--log-group", "/ecs/shop"),
        ("--app-port", "8080", "--architecture", "arm64", "--cpu", "4096", "--memory", "30720"),
        ("--env", "SIDECAR_PROBES__HOST=::", "--env", "SIDECAR_SHUTDOWN__TIMEOUT=115s", "--app-stop-timeout", "120"),
    ],
)
def test_sdk_takes_it(ecs: Teller, arguments: tuple[str, ...]) -> None:
    """The SDK sends each definition as it is, and every word in it is one of the model's."""
    definition = ecs.define(*arguments)
    shapes = Loader().load_service_model("ecs", "service-2")["shapes"]

    assert [definition] == [json.loads(body) for body in register(definition)]
    assert [] == foreign_words(definition, "RegisterTaskDefinitionRequest", shapes)


def test_sdk_is_asked_in_earnest(ecs: Teller) -> None:
    """What the model does not know would have been refused, so the test before means something."""
    definition = ecs.define()
    containers(definition)[0]["healthcheck"] = {}
    with pytest.raises(ParamValidationError, match="healthcheck"):
        register(definition)


def test_app_waits_for_entitlement(ecs: Teller) -> None:
    """The app starts when the sidecar is healthy, in one network, and neither lives on without the other."""
    definition = ecs.define("--app-port", "8080")
    sidecar, app = containers(definition)

    assert [{"containerName": "marketplace-sidecar", "condition": "HEALTHY"}] == app["dependsOn"]
    assert (True, True) == (sidecar["essential"], app["essential"])
    assert "awsvpc" == definition["networkMode"]
    assert {"MARKETPLACE_SIDECAR_URL": "http://127.0.0.1:8787"} == variables(app)
    assert [{"containerPort": 8080, "protocol": "tcp"}] == app["portMappings"]


def test_killed_sidecar_comes_back(ecs: Teller) -> None:
    """ECS starts a killed sidecar again on its ledger, but not one that was told to end or would end again."""
    sidecar, app = containers(ecs.define())
    policy = sidecar["restartPolicy"]

    assert policy["enabled"]
    assert policy["ignoredExitCodes"] == [code for code in ExitCode if code is not ExitCode.FAILED]
    assert 60 <= policy["restartAttemptPeriod"] <= 1800
    # An app that ends has nothing to come back to: its end is the task's.
    assert "restartPolicy" not in app


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:9000"), ("::", "http://[::1]:9000"), ("10.0.0.7", "http://10.0.0.7:9000")],
)
def test_health_check_needs_no_shell(ecs: Teller, host: str, url: str) -> None:
    """The health check is the image's program in exec form, at the address where the probes answer."""
    sidecar, _ = containers(ecs.define("--env", f"SIDECAR_PROBES__HOST={host}", "--env", "SIDECAR_PROBES__PORT=9000"))
    assert sidecar["healthCheck"]["command"] == ["CMD", *IMAGE_PROGRAM, "healthcheck", "--url", url]


@pytest.mark.parametrize(("arguments", "longest"), [((), 120), (ON_EC2, 300)])
def test_start_has_its_time(ecs: Teller, arguments: tuple[str, ...], longest: int) -> None:
    """While the start may go on no failed check counts, so the start's own limit is the one that ends a task."""
    sidecar, _ = containers(ecs.define(*arguments))
    check = sidecar["healthCheck"]

    assert sidecar["startTimeout"] == longest == check["startPeriod"]
    assert 5 <= check["interval"] <= 300
    assert 2 <= check["timeout"] <= 60
    assert 1 <= check["retries"] <= 10


@pytest.mark.parametrize(
    ("timeout", "arguments", "seconds"),
    [("25s", (), 30), ("115s", (), 120), ("0s", (), 5), ("116s", ON_EC2, 121), ("1h", ON_EC2, 3605)],
)
def test_drain_has_its_time(ecs: Teller, timeout: str, arguments: tuple[str, ...], seconds: int) -> None:
    """ECS waits 5 seconds longer than the drain may take, and the sidecar is told how long."""
    sidecar, _ = containers(ecs.define("--env", f"SIDECAR_SHUTDOWN__TIMEOUT={timeout}", *arguments))

    assert sidecar["stopTimeout"] == seconds
    assert variables(sidecar)["POD_TERMINATION_GRACE"] == f"{seconds}s"


def test_image_is_as_described() -> None:
    """User, program and volume are those of the Dockerfile: ECS starts nothing but what is in the image."""
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert f"\nUSER {IMAGE_USER}\n" in dockerfile
    assert f"\nVOLUME {IMAGE_VOLUME}\n" in dockerfile
    assert list(IMAGE_PROGRAM) == json.loads(re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)[-1])


def test_sidecar_is_least_privileged(ecs: Teller) -> None:
    """The sidecar has no root, no capability and nothing to write but the ledger's volume."""
    definition = ecs.define()
    sidecar, _ = containers(definition)

    assert (IMAGE_USER, True) == (sidecar["user"], sidecar["readonlyRootFilesystem"])
    assert {"capabilities": {"drop": ["ALL"]}} == sidecar["linuxParameters"]
    assert ["/var/lib/marketplace-sidecar"] == [mount["containerPath"] for mount in sidecar["mountPoints"]]
    assert [{"name": "shop"}] == definition["volumes"]


def test_kept_ledger_is_the_products(ecs: Teller) -> None:
    """A ledger that outlives its task lies in a volume of the product's own name: two products never share one."""
    (volume,) = ecs.define(*ON_EC2, "--ledger-volume", "instance")["volumes"]
    assert {
        "name": "shop",
        "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": True, "driver": "local"},
    } == volume


def test_only_named_variables_go_in(ecs: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs from the image is named by --env; a variable of this shell does not slip into a product."""
    monkeypatch.setenv("SIDECAR_LOG__LEVEL", "error")
    monkeypatch.setenv("SIDECAR_NONSENSE", "1")
    sidecar, _ = containers(ecs.define("--env", "SIDECAR_LOG__FORMAT=json"))
    assert {"SIDECAR_LOG__FORMAT": "json", "POD_TERMINATION_GRACE": "30s"} == variables(sidecar)


def test_region_is_told_on_ec2(ecs: Teller) -> None:
    """On EC2 the sidecar is told its Region, which Fargate does by itself."""
    assert "eu-west-1" == variables(containers(ecs.define(*ON_EC2))[0])["AWS_REGION"]
    assert "AWS_REGION" not in variables(containers(ecs.define(*LOGGED))[0])


def test_region_of_any_partition_is_taken(ecs: Teller) -> None:
    """The European Sovereign Cloud has names with four letters first."""
    definition = ecs.define("--launch-type", "ec2", "--region", "eusc-de-east-1")
    assert "eusc-de-east-1" == variables(containers(definition)[0])["AWS_REGION"]


def test_unlisted_region_is_a_warning(ecs: Teller, capsys: pytest.CaptureFixture[str]) -> None:
    """A Region that AWS does not list gets its definition, and a warning on standard error that names it."""
    shared = ("--launch-type", "ec2", "--region")
    assert 0 == cli.main(ecs.command(*shared, "eu-south-1"))
    shown = capsys.readouterr()
    assert "warning: Region eu-south-1 is not among the 17" in shown.err
    assert "eu-south-1" in shown.out
    assert 0 == cli.main(ecs.command(*shared, "eu-west-1"))
    assert "" == capsys.readouterr().err


def test_logs_hold_nobody_up(ecs: Teller) -> None:
    """Both containers write to the log group, each under its own name, and do not wait for it."""
    options = [each["logConfiguration"]["options"] for each in containers(ecs.define(*LOGGED))]

    assert ["marketplace-sidecar", "app"] == [each["awslogs-stream-prefix"] for each in options]
    assert {"non-blocking"} == {each["mode"] for each in options}
    assert {"/ecs/shop"} == {each["awslogs-group"] for each in options}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--family", "my shop"), "--family = 'my shop': is not up to 255 letters"),
        (("--app-image", "a b"), "--app-image = 'a b': is not an image's name"),
        (
            ("--task-role-arn", "arn:aws:iam::1:role/x"),
            "--task-role-arn = 'arn:aws:iam::1:role/x': is not a role's ARN",
        ),
        (("--cpu", "300"), "--memory = 1024: does not fit --cpu 300, which Fargate does not offer"),
        (("--memory", "1000"), "--memory = 1000: is not a memory size that Fargate offers with 512 CPU units"),
        (("--app-stop-timeout", "121"), "--app-stop-timeout = 121: is longer than the 120 s that Fargate waits"),
        (("--ledger-volume", "instance"), "--ledger-volume = instance: is not available on Fargate"),
        (("--launch-type", "ec2"), "--region: is missing, and required on EC2"),
        (("--log-group", "/ecs/x", "--execution-role-arn", ROLE), "--region: is missing, and --log-group requires it"),
        (
            ("--log-group", "/ecs/x", "--region", "eu-west-1"),
            "--execution-role-arn: is missing, and Fargate requires it",
        ),
        (("--app-image", ECR), "--execution-role-arn: is missing, and Fargate requires it to pull an image from ECR"),
        (("--app-port", "8788"), "probes.port = 8788: is also the app's port"),
        (("--env", "AWS_REGION=eu-west-1"), "--env = 'AWS_REGION': is not a variable of a setting"),
        (("--env", "SIDECAR_CONFIG=/x"), "--env = 'SIDECAR_CONFIG': is not a variable of a setting"),
        (("--env", "SIDECAR_LOG__LEVEL"), "--env = 'SIDECAR_LOG__LEVEL': is not a variable of a setting"),
        (("--env", "SIDECAR_LOG__LEVEL=loud"), "log.level = 'loud': is not one of"),
        (("--env", "SIDECAR_PRODUCT__CODE=other"), "SIDECAR_PRODUCT__CODE = 'other': would change the product"),
        (("--env", "SIDECAR_METERING__SETTLE=5m"), "SIDECAR_METERING__SETTLE = '5m': would change metering"),
        (("--env", "SIDECAR_ENTITLEMENT.CHECK=none"), "SIDECAR_ENTITLEMENT.CHECK = 'none': would change entitlement"),
        (("--env", "SIDECAR_API__PORT=0"), "api.port = 0: means any free port"),
        (
            ("--env", "SIDECAR_LEDGER__PATH=ledger.db"),
            "ledger.path = ledger.db: is not in /var/lib/marketplace-sidecar",
        ),
        (("--env", "SIDECAR_LEDGER__PATH=/efs/ledger.db"), "ledger.path = /efs/ledger.db: is not in"),
        (
            ("--env", "SIDECAR_API__SOCKET=/run/api.sock"),
            "api.socket = /run/api.sock: is on the container's read-only",
        ),
        (("--env", "SIDECAR_KUBERNETES__ENABLED=true"), "kubernetes.enabled = true: requires a cluster"),
        (("--env", "SIDECAR_SHUTDOWN__TIMEOUT=116s"), "shutdown.timeout = 116s: is too long: Fargate kills"),
    ],
)
def test_unfit_choice_is_refused(ecs: Teller, arguments: tuple[str, ...], problem: str) -> None:
    """What ECS would refuse later, or would end badly, is refused now, with a cure."""
    (line,) = ecs.refuse(*arguments)
    assert line.startswith(problem)
    assert "; " in line


@pytest.mark.parametrize(
    ("source", "fits"),
    [
        ("resource: {what: cpu, by: limit, container: app}", False),
        ("pod_time: {while: entitled}", True),
        ("pod_time: {while: ready}", True),
        ("prometheus: {url: 'http://127.0.0.1:9090/metrics', metric: requests}", True),
        ("otlp: {metric: requests}", True),
    ],
)
def test_source_that_nothing_feeds_is_refused(ecs: Teller, source: str, *, fits: bool) -> None:
    """A source that reads the downward API is refused: on ECS it would never bill anything. The others work there."""
    ecs.path.write_text(CONFIGURATION.replace("aggregation: sum", f"source: {{{source}}}"))
    if fits:
        assert ecs.define()
        return
    (line,) = ecs.refuse()
    assert line.startswith("metering.dimensions[0].source = resource: requires the downward API")
    assert "; use pod_time" in line


def test_problems_are_told_together(ecs: Teller) -> None:
    """Options and configuration are judged in one go."""
    found = ecs.refuse("--family", "my shop", "--env", "SIDECAR_LOG__LEVEL=loud", "--env", "A=1", "--memory", "1000")
    assert ["--family", "--memory", "--env", "log.level"] == [line.split()[0] for line in found]


@pytest.mark.parametrize(("cpu", "memory"), [(cpu, sizes[0]) for cpu, sizes in FARGATE_SIZES.items()])
def test_fargate_sizes_are_taken(ecs: Teller, cpu: int, memory: int) -> None:
    """Each of Fargate's sizes is taken from its least memory to its most, and nothing beyond."""
    most = FARGATE_SIZES[cpu][-1]

    for fits in (memory, most):
        definition = ecs.define("--cpu", str(cpu), "--memory", str(fits))
        assert (definition["cpu"], definition["memory"]) == (str(cpu), str(fits))
    for unfit in (memory - 1, memory + 1, most + 1):
        assert ecs.refuse("--cpu", str(cpu), "--memory", str(unfit))


def test_sizes_are_the_documented_ones() -> None:
    """The table is that of the service's own reference, which the SDK carries."""
    model = Loader().load_service_model("ecs", "service-2")["shapes"]["RegisterTaskDefinitionRequest"]
    text = re.sub("<[^>]+>", "", model["members"]["memory"]["documentation"])
    documented = {int(cpu) for cpu in re.findall(r"Available cpu values: (\d+)", text)}

    assert set(FARGATE_SIZES) == documented
    for first, last, cpu in re.findall(r"Between (\d{4,}) \(\d+ GB\) and (\d{4,}) \(\d+ GB\).*?values: (\d+)", text):
        assert (int(first), int(last)) == (FARGATE_SIZES[int(cpu)][0], FARGATE_SIZES[int(cpu)][-1])
