"""What watches the set-up of the running process: the checks of `sidecar.checks`, run again until all is right."""

import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from sidecar.checks import variables
from sidecar.domain.check_result import CheckResult
from sidecar.marketplace import MarketplaceMeteringClient
from sidecar.services.faults import FaultRegister
from sidecar.services.setup_watch import ClockWatch, SetupWatch
from sidecar.settings import Settings

SPREAD = timedelta(seconds=20)
"""Over which pods that start together spread their questions: 200 of them stay within MeterUsage's 10 in a second."""


def watch_clock(settings: Settings, client: MarketplaceMeteringClient) -> list[ClockWatch]:
    """Return the watch over the clock; none with an emulator, which has a clock of its own."""
    service_clock = client.service_clock
    if service_clock is None:
        return []
    service = "meteringmarketplace" if settings.meters else "license-manager"

    def look() -> None:
        from sidecar.marketplace.probing import ProbeFailed, ServiceProbe  # noqa: PLC0415 - must not delay the probes

        with suppress(ProbeFailed, RuntimeError):  # no answer, or the process ends
            probe = ServiceProbe(client.endpoint, connection=client.connection)
            asked_at = service_clock.asked()
            service_clock.note(asked_at, probe.reach(probe.address(service)))

    return [ClockWatch(service_clock, look, random=random.random)]


def watch_setup(
    settings: Settings, environ: Mapping[str, str], client: MarketplaceMeteringClient, faults: FaultRegister
) -> list[SetupWatch]:
    """Return the watch over what needs no network, and the one over the way to AWS, at the pace of AWS's quota."""

    def check_locally() -> list[CheckResult]:
        from sidecar.checks import setup  # noqa: PLC0415 - must not delay the probes

        return setup.check_locally(settings, environ)

    def check_service() -> list[CheckResult]:
        from sidecar.checks import setup  # noqa: PLC0415 - must not delay the probes
        from sidecar.marketplace.probing import ServiceProbe  # noqa: PLC0415 - must not delay the probes

        def make_probe() -> ServiceProbe:
            return ServiceProbe(client.endpoint, connection=client.connection)

        return setup.check_service(settings, environ, make_probe)

    return [
        SetupWatch(
            check_locally,
            faults,
            spread=timedelta(),
            random=random.random,
            first=lambda: [variables.check_variables(environ)],
        ),
        SetupWatch(check_service, faults, spread=SPREAD, random=random.random),
    ]
