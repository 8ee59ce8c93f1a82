"""`ecs task-definition`: checks options and configuration together, and prints the task definition.

The configuration is the one in the sidecar's image; --env overrides it in the task, and is checked as the sidecar
checks it. The settings that decide whether and how usage is paid for come from the file in the image alone: no variable
of a task definition changes them. The ledger cannot be on a network file system: SQLite's write-ahead log does not
work there.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from sidecar.checks.region import is_doubtful
from sidecar.checks.shutdown import FARGATE_LONGEST, SPARE
from sidecar.commands.arguments import whole
from sidecar.commands.ecs.definition import IMAGE_VOLUME, Plan, build
from sidecar.commands.ecs.launch import LONGEST, SHORTEST, SIDECAR_MEMORY, LaunchType, LedgerVolume, judge_memory
from sidecar.commands.ecs.policy import region
from sidecar.domain import durations
from sidecar.domain.metering.sources import Resource
from sidecar.exit_codes import ExitCode
from sidecar.http_client import http_url, reachable
from sidecar.marketplace.regions import UNLISTED_CURE, unlisted
from sidecar.settings import KubernetesUse, Problem, Settings, SettingsError, load

_CONFIG = "SIDECAR_CONFIG"
_USUAL_STOP = 30
_FAMILY = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}", re.ASCII)
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]{1,512}", re.ASCII)
_LOG_GROUP = re.compile(r"[A-Za-z0-9_./#-]{1,512}", re.ASCII)
_PRIVATE_ECR = re.compile(r"[0-9]{12}\.dkr\.ecr[.-]", re.ASCII)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"the configuration in the sidecar's image (default: {_CONFIG}, else the default path)",
    )
    parser.add_argument(
        "--env",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a SIDECAR_ variable that overrides the configuration in the task; may be repeated",
    )
    parser.add_argument("--family", metavar="F", required=True, help="the name of the task definition")
    parser.add_argument("--app-image", metavar="I", required=True, help="the image of the app")
    parser.add_argument(
        "--sidecar-image", metavar="J", required=True, help="the image with the sidecar and its configuration"
    )
    parser.add_argument(
        "--task-role-arn", metavar="A", required=True, help="the role with the permissions of `ecs policy`"
    )
    parser.add_argument(
        "--execution-role-arn", metavar="A", help="the role that pulls images from ECR and writes logs on Fargate"
    )
    parser.add_argument(
        "--launch-type",
        type=LaunchType,
        choices=[*LaunchType],
        default=LaunchType.FARGATE,
        help="where the task runs (default: fargate)",
    )
    parser.add_argument(
        "--cpu",
        metavar="UNITS",
        type=whole(128, 196608),
        default=512,
        help="CPU units of the task; 1024 are one vCPU (default: 512)",
    )
    parser.add_argument(
        "--memory",
        metavar="MIB",
        type=whole(SIDECAR_MEMORY, 2**31 - 1),
        default=1024,
        help="memory of the task in MiB (default: 1024)",
    )
    parser.add_argument(
        "--architecture",
        choices=["x86_64", "arm64"],
        default="x86_64",
        help="processor architecture of both images (default: x86_64)",
    )
    parser.add_argument("--app-port", metavar="P", type=whole(1, 65535), help="the port that the app serves on")
    parser.add_argument(
        "--app-stop-timeout",
        metavar="S",
        type=whole(SHORTEST, 2**31 - 1),
        default=_USUAL_STOP,
        help=f"seconds that the app has to end, before ECS stops the sidecar (default: {_USUAL_STOP})",
    )
    parser.add_argument(
        "--region", metavar="R", type=region, help="the Region of the task; required with --log-group and on EC2"
    )
    parser.add_argument("--log-group", metavar="G", help="write both containers' logs to this CloudWatch log group")
    parser.add_argument(
        "--ledger-volume",
        type=LedgerVolume,
        choices=[*LedgerVolume],
        default=LedgerVolume.TASK,
        help="what the ledger ends with: the task (the default) or, on EC2 only, the instance. There the next task"
        " submits the rest, so only one task of the product may run there at a time. EFS is not offered: the ledger's"
        " locks fail on it",
    )


def run(args: argparse.Namespace) -> int:
    """Print the task definition; 0. Raises SettingsError with every problem of the options and the configuration."""
    problems = [*_of_options(args)]
    environment = _variables(args.env, problems)
    settings: Settings | None = None
    try:
        settings = load(args.config, {**environment, **_named_config(args.config)})
    except SettingsError as error:
        problems += error.problems
    else:
        problems += _of_settings(settings, args)
    if settings is None or problems:
        raise SettingsError(problems)
    if args.region is not None and is_doubtful(settings, args.region):
        sys.stderr.write(f"warning: {unlisted(args.region)}. {UNLISTED_CURE}\n")
    sys.stdout.write(f"{json.dumps(build(_plan(args, settings, environment)), indent=2)}\n")
    return ExitCode.CLEAN


def _plan(args: argparse.Namespace, settings: Settings, environment: Mapping[str, str]) -> Plan:
    return Plan(
        family=args.family,
        launch=args.launch_type,
        app_image=args.app_image,
        sidecar_image=args.sidecar_image,
        task_role_arn=args.task_role_arn,
        execution_role_arn=args.execution_role_arn,
        cpu=args.cpu,
        memory=args.memory,
        architecture=args.architecture.upper(),
        region=args.region,
        log_group=args.log_group,
        ledger_volume=args.ledger_volume,
        app_port=args.app_port,
        app_stop_timeout=args.app_stop_timeout,
        environment=environment,
        api_url=http_url(settings.api.host, settings.api.port),
        probes_url=http_url(reachable(settings.probes.host), settings.probes.port),
        shutdown=settings.shutdown.timeout,
    )


def _of_options(args: argparse.Namespace) -> Iterator[Problem]:
    for option, pattern, what in (
        ("--family", _FAMILY, "up to 255 letters, digits, - and _"),
        ("--app-image", _IMAGE, "an image's name like 111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop:2.1"),
        ("--sidecar-image", _IMAGE, "an image's name like 111122223333.dkr.ecr.eu-west-1.amazonaws.com/sidecar:2.1"),
        ("--task-role-arn", _ROLE, "a role's ARN like arn:aws:iam::111122223333:role/metering"),
        ("--execution-role-arn", _ROLE, "a role's ARN like arn:aws:iam::111122223333:role/ecsTaskExecutionRole"),
        ("--log-group", _LOG_GROUP, "a log group's name like /ecs/shop"),
    ):
        value = getattr(args, option.removeprefix("--").replace("-", "_"))
        if value is not None and pattern.fullmatch(value) is None:
            yield Problem(option, repr(value), f"is not {what}", "correct it")
    wrong = judge_memory(args.launch_type, args.cpu, args.memory)
    if wrong is not None:
        yield Problem("--memory", str(args.memory), *wrong)
    if args.log_group is not None and args.region is None:
        yield Problem("--region", None, "is missing, and --log-group requires it", "name the Region of the log group")
    if args.launch_type is LaunchType.EC2:
        if args.region is None:
            reason = "is missing, and required on EC2, where older container agents do not pass it to a container"
            yield Problem("--region", None, reason, "name the Region")
        return
    yield from _of_fargate(args)


def _of_fargate(args: argparse.Namespace) -> Iterator[Problem]:
    if args.app_stop_timeout > LONGEST:
        reason = f"is longer than the {LONGEST} s that Fargate waits"
        yield Problem("--app-stop-timeout", str(args.app_stop_timeout), reason, f"set {LONGEST} or less")
    if args.ledger_volume is not LedgerVolume.TASK:
        reason = "is not available on Fargate, where a task's storage is deleted with the task"
        yield Problem(
            "--ledger-volume", args.ledger_volume, reason, "set task; within stopTimeout the sidecar submits the rest"
        )
    private = any(_PRIVATE_ECR.match(image) for image in (args.app_image, args.sidecar_image))
    if args.execution_role_arn is None and (private or args.log_group is not None):
        what = "pull an image from ECR" if private else "write logs"
        yield Problem(
            "--execution-role-arn",
            None,
            f"is missing, and Fargate requires it to {what}",
            "name a role with the policy AmazonECSTaskExecutionRolePolicy",
        )


def _of_settings(settings: Settings, args: argparse.Namespace) -> Iterator[Problem]:
    for key, port in (("api.port", settings.api.port), ("probes.port", settings.probes.port)):
        if port == 0:
            yield Problem(key, "0", "means any free port, so the task definition cannot name it", "set a port number")
        elif port == args.app_port:
            yield Problem(key, str(port), "is also the app's port, and both share the network", "choose another port")
    path = PurePosixPath(str(settings.ledger.path))
    if path.parent != IMAGE_VOLUME:
        reason = (
            f"is not in {IMAGE_VOLUME}, the only folder of the image in which the sidecar's user can write to a volume"
        )
        yield Problem("ledger.path", str(path), reason, f"set it to {IMAGE_VOLUME / path.name}")
    if settings.api.socket is not None and settings.api.socket.parent != settings.ledger.path.parent:
        reason = "is on the container's read-only root file system"
        yield Problem(
            "api.socket", str(settings.api.socket), reason, "set it to null; a task's containers share loopback"
        )
    if settings.kubernetes.enabled is KubernetesUse.ALWAYS:
        yield Problem("kubernetes.enabled", "true", "requires a cluster, and ECS has none", "set it to auto")
    for index, dimension in enumerate(settings.metering.dimensions):
        if isinstance(dimension.source, Resource):
            reason = "requires the downward API of Kubernetes, and ECS has none: nothing would be billed"
            yield Problem(f"metering.dimensions[{index}].source", "resource", reason, "use pod_time")
    longest = FARGATE_LONGEST - SPARE
    if args.launch_type is LaunchType.FARGATE and settings.shutdown.timeout > longest:
        yield Problem(
            "shutdown.timeout",
            durations.render(settings.shutdown.timeout),
            f"is too long: Fargate kills a container {LONGEST} s after it asks it to end, and "
            f"{durations.render(SPARE)} are reserved for work before and after the drain",
            f"set it to {durations.render(longest)} or less, here with --env SIDECAR_SHUTDOWN__TIMEOUT=115s",
        )


def _variables(given: list[str], problems: list[Problem]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.startswith("SIDECAR_") or name == _CONFIG:
            cure = "write it as SIDECAR_LOG__LEVEL=debug; other variables, and SIDECAR_CONFIG, belong in the image"
            problems.append(Problem("--env", repr(name), "is not a variable of a setting with its value", cure))
        elif name in variables:
            problems.append(Problem("--env", repr(name), "is given twice", "leave one out"))
        else:
            variables[name] = value
    return variables


def _named_config(option: str | None) -> dict[str, str]:
    """Return the variable that names the configuration; no other variable of this shell reaches the task."""
    named = os.environ.get(_CONFIG)
    return {} if option is not None or named is None else {_CONFIG: named}
