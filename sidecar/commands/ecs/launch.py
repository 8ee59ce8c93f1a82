"""What the two launch types of ECS allow: task sizes, time limits, and the duration of a start.

Pure tables and rules, from the ECS API reference. The service's model does not hold them, so the SDK does not check
them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sidecar.checks.shutdown import FARGATE_LONGEST


class LaunchType(StrEnum):
    """Where the task runs."""

    FARGATE = "fargate"  # on AWS's machines, with their own limits
    EC2 = "ec2"  # on the account's instances


class LedgerVolume(StrEnum):
    """How long the ledger lives."""

    TASK = "task"  # lives with the task
    INSTANCE = "instance"  # lives with the EC2 instance; the next task there uses it


LONGEST: Final = FARGATE_LONGEST.seconds
"""Longest seconds that Fargate waits, for a start and for an end."""
SHORTEST: Final = 2
"""Shortest limit that ECS accepts, in seconds."""

RESTART_AFTER: Final = 60
"""Seconds that a container must have run before ECS restarts it; ECS accepts nothing shorter."""

FARGATE_SIZES: Final[Mapping[int, Sequence[int]]] = MappingProxyType(
    {
        256: (512, 1024, 2048),
        512: range(1024, 4097, 1024),
        1024: range(2048, 8193, 1024),
        2048: range(4096, 16385, 1024),
        4096: range(8192, 30721, 1024),
        8192: range(16384, 61441, 4096),
        16384: range(32768, 122881, 8192),
    }
)
"""Memory sizes in MiB by CPU units."""
SIDECAR_MEMORY: Final = 128
"""MiB that are reserved for the sidecar; it uses about 80 with a product of many dimensions."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """The health check of the sidecar, in seconds and attempts."""

    interval: int
    timeout: int
    retries: int
    start_period: int


def health_check(launch: LaunchType) -> HealthCheck:
    """Return the health check.

    Every 5 seconds, the shortest interval of ECS: the first check comes after one interval, and the app waits for it. A
    check uses about 70 ms of one vCPU, at most 6 % of a quarter. The command waits 5 seconds for the sidecar; another 5
    are for a busy machine to start the command. ECS stops the task after 10 failures in a row, because a busy machine
    is no reason to stop a task that has usage to report. Failures count only after the start's time: until then only
    `startTimeout` stops the task.
    """
    return HealthCheck(interval=5, timeout=10, retries=10, start_period=start_timeout(launch))


def start_timeout(launch: LaunchType) -> int:
    """Return how many seconds the app waits for the entitlement before ECS ends the task.

    On Fargate the longest possible time; the service then starts another task, which asks again. On EC2 the longest
    start period of a health check, because both limits must agree.
    """
    return LONGEST if launch is LaunchType.FARGATE else 300


def judge_memory(launch: LaunchType, cpu: int, memory: int) -> tuple[str, str] | None:
    """Return why `memory` MiB do not fit `cpu` units, and the cure; None when they do."""
    if launch is LaunchType.EC2:
        return None
    if cpu not in FARGATE_SIZES:
        known = ", ".join(str(each) for each in FARGATE_SIZES)
        return f"does not fit --cpu {cpu}, which Fargate does not offer", f"set --cpu to one of {known}"
    if memory not in FARGATE_SIZES[cpu]:
        shown = ", ".join(str(each) for each in FARGATE_SIZES[cpu])
        return f"is not a memory size that Fargate offers with {cpu} CPU units", f"set one of {shown}"
    return None
