"""Hours of a real sidecar's /metrics as series for promtool, one value for each minute of the emulated clock.

The clock goes on in steps, each once the sidecar has followed the last one: a machine that stalls must not look like a
sidecar that does.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from sidecar.commands.demo.environment import wait_for
from tests.monitoring.cases import POD
from tests.support.processes import Emulator, Sidecar, parse

_MINUTE = timedelta(minutes=1)
_STEP = 2
"""Minutes, well below the shortest range of an alert, 15 minutes."""

Samples = dict[str, float]


def record(emulator: Emulator, sidecar: Sidecar, until: datetime, each_time: Callable[[], object]) -> dict[str, str]:
    """Step the emulated clock to an instant, scrape the sidecar at each step, and return what promtool takes.

    Args:
        emulator: Its clock is the one that counts.
        sidecar: Is scraped.
        until: When to stop.
        each_time: Is called before every scrape.
    """
    began = now = parse(emulator.post("clock", speed=0)["now"])
    minutes: dict[int, Samples] = {}
    while now < until:
        each_time()
        minutes[(now - began) // _MINUTE] = {f"up{{{POD}}}": 1, **scrape(sidecar)}
        now = parse(emulator.post("clock", advance=f"{_STEP}m")["now"])
        _await_clock(sidecar, now)
    series = {name for samples in minutes.values() for name in samples}
    return {name: _notation(name, minutes) for name in sorted(series)}


def _await_clock(sidecar: Sidecar, instant: datetime) -> None:
    wait_for(f"the sidecar's clock to show {instant}", lambda: instant <= parse(sidecar.get("/v1/status")["now"]))


def scrape(sidecar: Sidecar) -> Samples:
    """Return the samples of one scrape, with the labels that Prometheus adds."""
    samples = {}
    for family in text_string_to_metric_families(sidecar.probe("metrics").body.decode()):
        for sample in family.samples:
            labels = [POD, *(f'{label}="{value}"' for label, value in sample.labels.items())]
            samples[f"{sample.name}{{{', '.join(labels)}}}"] = sample.value
    return samples


def _notation(name: str, minutes: dict[int, Samples]) -> str:
    """Return a value for each minute; one between two scrapes repeats the earlier. A series that has gone is stale."""
    values, samples, there = [], Samples(), False
    for minute in range(max(minutes) + 1):
        samples = minutes.get(minute, samples)
        if name in samples:
            values.append(repr(samples[name]))
        else:
            values.append("stale" if there else "_")
        there = name in samples
    return " ".join(values)
