"""How the benchmarks compare and tell: ours and a baseline in turn, medians, and one line for each comparison.

A line ends in OK or MISSED and fails nothing: on a shared machine time is a report, not a test.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
"""How often each side is measured."""
MOST_ROUNDS = 2
"""By how much that may grow on a restless machine."""
AGREEMENT = 1.2

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Target:
    """The ratio of ours to the baseline that is aimed at."""

    bound: float
    at_least: bool

    def met(self, ratio: float) -> bool:
        """Return whether `ratio` is on the right side."""
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


def at_least(bound: float) -> Target:
    """Return the target of a rate."""
    return Target(bound, at_least=True)


def at_most(bound: float) -> Target:
    """Return the target of a duration or a size."""
    return Target(bound, at_least=False)


def alternate(
    ours: Callable[[], float], baseline: Callable[[], float], rounds: int = ROUNDS
) -> tuple[list[float], list[float]]:
    """Measure both sides in turn, so what else the machine does meets both; longer when the rounds disagree.

    The side that begins changes from round to round: a machine that only gets slower is unfair to neither.
    """
    pairs: list[tuple[float, float]] = []
    while len(pairs) < rounds or (len(pairs) < MOST_ROUNDS * rounds and _disagree(pairs)):
        if len(pairs) % 2:
            theirs, mine = baseline(), ours()
        else:
            mine, theirs = ours(), baseline()
        pairs.append((mine, theirs))
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _disagree(pairs: list[tuple[float, float]]) -> bool:
    """Return whether the middle half of the ratios is wider than `AGREEMENT`."""
    if len(pairs) < 4:
        return False
    first, _, third = statistics.quantiles((mine / theirs for mine, theirs in pairs), n=4)
    return third / first > AGREEMENT


def compare(name: str, unit: str, target: Target, measured: tuple[list[float], list[float]]) -> None:
    """Print the medians of both sides, the median of the rounds' ratios with their spread, and the target."""
    ours, baseline = measured
    pairs = sorted(mine / theirs for mine, theirs in zip(ours, baseline, strict=True))
    ratio = statistics.median(pairs)
    tell(
        f"{name:<44} ours {statistics.median(ours):>10,.4g} {unit:<8} baseline {statistics.median(baseline):>10,.4g} "
        f"{unit:<8} ratio {ratio:5.2f} ({pairs[0]:.2f}..{pairs[-1]:.2f})  target {target!s:<7} "
        f"{'OK' if target.met(ratio) else 'MISSED'}"
    )


def compare_costs(ours: list[float], baseline: list[float], target: Target) -> None:
    """Print the processor time of a request on both sides, in microseconds, and their ratio."""
    compare("  processor of a request", "us", target, (ours, baseline))


def judge(name: str, unit: str, value: float, target: Target) -> None:
    """Print a figure that is judged by itself."""
    verdict = "OK" if target.met(value) else "MISSED"
    tell(f"{name:<44} ours {value:>10,.4g} {unit:<8} target {target} {unit} {verdict}")


def tell(line: str) -> None:
    """Print a line immediately."""
    sys.stdout.write(f"\n{line}")
    sys.stdout.flush()


def seconds(run: Callable[[], object]) -> float:
    """Return how long `run` takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def cpu_seconds(pid: int) -> float:
    """Return the processor time, user and system, that a process has used in all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory(pid: int) -> dict[str, float]:
    """Return the resident and the proportional memory of a process in MiB, by `Rss` and `Pss`."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    fields = (line.split() for line in text.splitlines()[1:])
    return {field[0].rstrip(":"): int(field[1]) / 1024 for field in fields if field[0] in ("Rss:", "Pss:")}
