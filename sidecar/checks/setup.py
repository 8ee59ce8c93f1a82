"""The checks that a running sidecar makes of its own set-up: what is here, and the way to AWS.

Of `doctor`'s checks these are left out, each for its reason: configuration, keys, the API's token and ports, because
without them there would be no process to ask; key rotation, identity, the ledger, sources and the cluster, because the
process meets them in its work and reports them itself (`public-key-rotated`, `identity-not-accepted`,
`ledger-unavailable`, `source-unreadable`, `kubernetes-...`); the SDK's variables, because they have no effect, which
the process logs at its start.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from sidecar.checks import access, environment, network, volume
from sidecar.checks.check_run import CheckRun, run_checks
from sidecar.checks.identity import check_identity
from sidecar.checks.region import REGION, check_region
from sidecar.checks.reliance import skip_repeated
from sidecar.checks.shutdown import SHUTDOWN, check_shutdown
from sidecar.checks.token import TOKEN, check_token
from sidecar.checks.variables import VARIABLES, check_variables
from sidecar.domain.check_result import CheckResult, CheckStatus, failed
from sidecar.marketplace.probing import ProbeFailed, ServiceProbe
from sidecar.settings import EntitlementCheck, Mode, Settings

SERVICE = (network.DNS, network.ENDPOINT, network.CLOCK, access.STS, access.PERMISSION)
"""The checks on the way to AWS, each of which rests on those before it."""
CHECKS = (
    *(VARIABLES, REGION, TOKEN, environment.PROXY, environment.CERTIFICATES, volume.VOLUME, volume.ROOM, SHUTDOWN),
    *SERVICE,
)

_ALL_WITHIN = 20.0
"""Seconds for the whole way to AWS, asked step by step."""


def check_locally(settings: Settings, environ: Mapping[str, str]) -> list[CheckResult]:
    """Judge what needs no network. Blocks for a few seconds if the ledger's volume does not answer."""
    mode, path = settings.marketplace.mode, settings.ledger.path
    return skip_repeated(
        run_checks(
            [
                CheckRun([VARIABLES], lambda: [check_variables(environ)]),
                CheckRun([REGION], lambda: [check_region(settings, environ)]),
                CheckRun([TOKEN], lambda: [check_token(environ, datetime.now(UTC))]),
                CheckRun([environment.PROXY], lambda: [environment.check_proxy(mode, environ)]),
                CheckRun([environment.CERTIFICATES], lambda: [environment.check_certificates(environ)]),
                CheckRun([volume.VOLUME], lambda: [volume.check_volume(path, volume.read_mounts())]),
                CheckRun([volume.ROOM], lambda: [volume.check_room(path, settings.ledger.max_size)]),
                CheckRun([SHUTDOWN], lambda: [check_shutdown(settings.shutdown.timeout, environ)]),
            ]
        )
    )


def check_service(
    settings: Settings, environ: Mapping[str, str], make_probe: Callable[[], ServiceProbe], within: float = _ALL_WITHIN
) -> list[CheckResult]:
    """Judge the way to AWS step by step, up to the first fault: what rests on it would only repeat it.

    Asks nothing of an emulator, because its faults and records belong to its user, and nothing for a contract without
    dimensions, because Metering is not called then. AWS is asked by one dry run
    for one dimension, because policies know no dimensions and the quota is the whole account's; by none where
    the start probe is a call of MeterUsage, too. Blocks for `within` seconds at most.
    """
    if settings.marketplace.mode is Mode.EMULATOR or not settings.meters:
        return []
    judged = []
    for result in run_checks([CheckRun(SERVICE, lambda: _way(settings, environ, make_probe))], within):
        judged.append(result)
        if result.status is CheckStatus.FAIL:
            break
    return judged


def _way(
    settings: Settings, environ: Mapping[str, str], make_probe: Callable[[], ServiceProbe]
) -> Iterator[CheckResult]:
    results: list[CheckResult] = []
    for result in _steps(settings, environ, make_probe):
        results.append(result)
        yield result
        if failed(results):
            break
    names = {result.name for result in results}
    for check in SERVICE:
        if check.name not in names:
            yield check.skipped("not asked")


def _steps(
    settings: Settings, environ: Mapping[str, str], make_probe: Callable[[], ServiceProbe]
) -> Iterator[CheckResult]:
    try:
        probe = make_probe()
    except ProbeFailed as broken:
        yield access.refuse_sdk(broken)
        return
    yield network.look_up(probe)
    yield from network.check_endpoint(probe)
    if failed([check_identity(settings.marketplace.mode, environ)]):
        return  # AWS refuses it for certain, which the process reports by itself
    yield access.check_sts(probe)
    if settings.check is EntitlementCheck.METER and not settings.probes_license:
        return  # its start probe calls MeterUsage itself
    first = [dimension.name for dimension in settings.metering.dimensions[:1]]
    permission = access.check_permission(probe, settings.product.code, first)
    if permission.status is not CheckStatus.WARN:  # AWS was too busy to answer
        yield permission
