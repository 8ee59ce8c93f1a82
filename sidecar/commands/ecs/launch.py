"""What the two launch types of ECS allow: sizes of a task, time limits, and how long a start may take.

Pure tables and rules, from the ECS API reference. The service's model does not hold them, so that the SDK would let
every breach through.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sidecar.checks.shutdown import FARGATE_LONGEST


class LaunchType(StrEnum):
    """Where the task runs."""

    FARGATE = "fargate"  # on AWS's own machines; limits of its own
    EC2 = "ec2"  # on the account's instances


class LedgerVolume(StrEnum):
    """How long the ledger lives."""

    TASK = "task"  # as long as the task
    INSTANCE = "instance"  # as long as the EC2 instance; the next task there finds it


LONGEST: Final = FARGATE_LONGEST.seconds
"""Seconds that Fargate waits at most, for a start as for an end."""
SHORTEST: Final = 2
"""Seconds of the shortest limit that ECS takes."""

RESTART_AFTER: Final = 60
"""Seconds that a container must have run for ECS to start it again; it takes nothing shorter."""

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
"""The MiB of memory that go with so many CPU units."""
SIDECAR_MEMORY: Final = 128
"""MiB that are set aside for the sidecar; it takes some 80 with a wide product."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How ECS asks the sidecar, in seconds and attempts."""

    interval: int
    timeout: int
    retries: int
    start_period: int


def health_check(launch: LaunchType) -> HealthCheck:
    """Return how the health check goes.

    Every 5 seconds, the least that ECS takes: the first check comes after one interval, and the app waits for it. A
    check costs some 70 ms of one vCPU, so that even a quarter of one spends no more than 6 % on it. The command gives
    the sidecar 5 seconds to answer; another 5 let a busy machine start the command. It takes 10 failures in a row,
    because a busy machine is no reason to end a task that has usage to report. Failures count only once the start has
    had its time: before, `startTimeout` alone ends the task.
    """
    return HealthCheck(interval=5, timeout=10, retries=10, start_period=start_timeout(launch))


def start_timeout(launch: LaunchType) -> int:
    """Return how many seconds the app waits for the entitlement before ECS ends the task.

    On Fargate as long as it can be; the service then starts another task, which asks anew. On EC2 as long as a health
    check may be lenient, so that both limits agree.
    """
    return LONGEST if launch is LaunchType.FARGATE else 300


def judge_memory(launch: LaunchType, cpu: int, memory: int) -> tuple[str, str] | None:
    """Return why `memory` MiB do not go with `cpu` units, and the cure; None when they do."""
    if launch is LaunchType.EC2:
        return None
    if cpu not in FARGATE_SIZES:
        known = ", ".join(str(each) for each in FARGATE_SIZES)
        return f"is not what Fargate gives with {cpu} CPU units, of which it has no size", f"take --cpu {known}"
    if memory not in FARGATE_SIZES[cpu]:
        shown = ", ".join(str(each) for each in FARGATE_SIZES[cpu])
        return f"is not a memory that Fargate gives with {cpu} CPU units", f"take one of {shown}"
    return None
