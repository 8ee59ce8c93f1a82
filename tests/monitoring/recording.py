"""Hours of a real sidecar's /metrics as series for promtool, one value for each minute of the emulated clock.

The clock runs fast, and minutes may pass without a scrape; they repeat what was seen last, for a machine that stalls a
moment must not look like a sidecar that does.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from tests.monitoring.cases import POD
from tests.support.processes import Emulator, Sidecar, parse

_MINUTE = timedelta(minutes=1)

Samples = dict[str, float]


def record(emulator: Emulator, sidecar: Sidecar, until: datetime, each_time: Callable[[], object]) -> dict[str, str]:
    """Scrape the sidecar until the emulated clock shows an instant, and return what promtool takes.

    Args:
        emulator: Its clock is the one that counts.
        sidecar: Is scraped.
        until: When to stop.
        each_time: Is called before every scrape.
    """
    began = now = parse(emulator.get("clock")["now"])
    minutes: dict[int, Samples] = {}
    while now < until:
        minute = (now - began) // _MINUTE
        if minute not in minutes:
            each_time()
            minutes[minute] = {f"up{{{POD}}}": 1, **scrape(sidecar)}
        now = parse(emulator.get("clock")["now"])
    series = {name for samples in minutes.values() for name in samples}
    return {name: _notation(name, minutes) for name in sorted(series)}


def scrape(sidecar: Sidecar) -> Samples:
    """Return the samples of one scrape, with the labels that Prometheus adds."""
    samples = {}
    for family in text_string_to_metric_families(sidecar.probe("metrics").body.decode()):
        for sample in family.samples:
            labels = [POD, *(f'{label}="{value}"' for label, value in sample.labels.items())]
            samples[f"{sample.name}{{{', '.join(labels)}}}"] = sample.value
    return samples


def _notation(name: str, minutes: dict[int, Samples]) -> str:
    """Return a value for each minute. A series that a scrape does not have any more is stale, not merely missing."""
    values, samples, there = [], Samples(), False
    for minute in range(max(minutes) + 1):
        samples = minutes.get(minute, samples)
        if name in samples:
            values.append(repr(samples[name]))
        else:
            values.append("stale" if there else "_")
        there = name in samples
    return " ".join(values)
