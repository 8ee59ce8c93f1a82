"""The task definition itself: two containers that share loopback, the app behind the sidecar.

Builds the input of `aws ecs register-task-definition --cli-input-json` from a valid plan. Checks nothing and reads
nothing. Holds the names of what is built into the image, because a task definition must repeat them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any, Final

from sidecar.checks.shutdown import SPARE
from sidecar.commands.ecs.launch import (
    RESTART_AFTER,
    SIDECAR_MEMORY,
    LaunchType,
    LedgerVolume,
    health_check,
    start_timeout,
)

SIDECAR: Final = "marketplace-sidecar"
APP: Final = "app"
IMAGE_USER: Final = "65532:65532"
"""The image's USER."""
IMAGE_PROGRAM: Final = ("/opt/marketplace-sidecar/bin/python", "-I", "-B", "-u", "-m", "sidecar")
"""The image's ENTRYPOINT. A health check bypasses it, and the image has no shell that could find a command."""
IMAGE_VOLUME: Final = PurePosixPath("/var/lib/marketplace-sidecar")
"""The image's VOLUME. ECS gives a mounted volume the owner of this folder; elsewhere the volume belongs to root."""

FINAL: Final = (0, 2, 3, 4)
"""Exit codes after which a restart would end the same way; the task ends and logs the reason."""

Members = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The seller's options and the configuration, checked before."""

    family: str
    launch: LaunchType
    app_image: str
    sidecar_image: str
    task_role_arn: str
    execution_role_arn: str | None
    cpu: int
    memory: int
    architecture: str
    region: str | None
    log_group: str | None
    ledger_volume: LedgerVolume
    app_port: int | None
    app_stop_timeout: int
    environment: Mapping[str, str]
    """Variables of the sidecar that differ from the configuration in its image."""
    api_url: str
    probes_url: str
    shutdown: timedelta

    @property
    def stop_timeout(self) -> int:
        """Seconds that ECS waits for the sidecar's drain."""
        return -int(-(self.shutdown + SPARE).total_seconds() // 1)


def build(plan: Plan) -> Members:
    """Return the task definition.

    The network mode is awsvpc, on EC2 too: in the others each container has a loopback of its own, and the sidecar's
    API listens nowhere else.
    """
    definition: Members = {
        "family": plan.family,
        "taskRoleArn": plan.task_role_arn,
        "networkMode": "awsvpc",
        "requiresCompatibilities": [plan.launch.name],
        "cpu": str(plan.cpu),
        "memory": str(plan.memory),
        "runtimePlatform": {"operatingSystemFamily": "LINUX", "cpuArchitecture": plan.architecture},
        "containerDefinitions": [_sidecar(plan), _app(plan)],
        "volumes": [_volume(plan)],
    }
    if plan.execution_role_arn is not None:
        definition["executionRoleArn"] = plan.execution_role_arn
    return definition


def _sidecar(plan: Plan) -> Members:
    check = health_check(plan.launch)
    variables = {**plan.environment, "POD_TERMINATION_GRACE": f"{plan.stop_timeout}s"}
    if plan.launch is LaunchType.EC2 and plan.region is not None:
        # Agents older than May 2026 do not pass the Region to a container; Fargate does.
        variables["AWS_REGION"] = plan.region
    container: Members = {
        "name": SIDECAR,
        "image": plan.sidecar_image,
        "essential": True,
        "memoryReservation": SIDECAR_MEMORY,
        "user": IMAGE_USER,
        "readonlyRootFilesystem": True,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
        "environment": _environment(variables),
        "mountPoints": [{"sourceVolume": plan.family, "containerPath": str(IMAGE_VOLUME), "readOnly": False}],
        "healthCheck": {
            "command": ["CMD", *IMAGE_PROGRAM, "healthcheck", "--url", plan.probes_url],
            "interval": check.interval,
            "timeout": check.timeout,
            "retries": check.retries,
            "startPeriod": check.start_period,
        },
        "startTimeout": start_timeout(plan.launch),
        "stopTimeout": plan.stop_timeout,
        # A killed sidecar restarts on its ledger. Without a restart the task would end, and the ledger with it.
        "restartPolicy": {"enabled": True, "ignoredExitCodes": list(FINAL), "restartAttemptPeriod": RESTART_AFTER},
    }
    return container | _logging(plan, SIDECAR)


def _app(plan: Plan) -> Members:
    """Return the app's container: ECS starts it when the sidecar is entitled, and stops it before the sidecar.

    ECS stops in the reverse order of `dependsOn`, so the sidecar receives the app's last usage.
    """
    container: Members = {
        "name": APP,
        "image": plan.app_image,
        "essential": True,
        "dependsOn": [{"containerName": SIDECAR, "condition": "HEALTHY"}],
        "environment": _environment({"MARKETPLACE_SIDECAR_URL": plan.api_url}),
        "stopTimeout": plan.app_stop_timeout,
    }
    if plan.app_port is not None:
        container["portMappings"] = [{"containerPort": plan.app_port, "protocol": "tcp"}]
    return container | _logging(plan, APP)


def _environment(variables: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(variables.items())]


def _volume(plan: Plan) -> Members:
    """Return the ledger's volume. A shared volume is found by its name; each product has its own."""
    if plan.ledger_volume is LedgerVolume.TASK:
        return {"name": plan.family}
    shared = {"scope": "shared", "autoprovision": True, "driver": "local"}
    return {"name": plan.family, "dockerVolumeConfiguration": shared}


def _logging(plan: Plan, container: str) -> Members:
    if plan.log_group is None:
        return {}
    options = {
        "awslogs-group": plan.log_group,
        "awslogs-region": str(plan.region),
        "awslogs-stream-prefix": container,
        # A log that cannot be delivered must not block the container.
        "mode": "non-blocking",
    }
    return {"logConfiguration": {"logDriver": "awslogs", "options": options}}
