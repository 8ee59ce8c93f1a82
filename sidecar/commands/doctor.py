"""The `doctor` command: checks everything that must be right before the first call to AWS, and after it.

Every check runs, whatever the others find, and each has a time limit: without a network the whole report takes at most
15 seconds. Registers nothing, meters nothing, and leaves no files behind.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from sidecar.checks import access, cluster, environment, identity, keys, licenses, network, ports, volume
from sidecar.checks.check_run import CheckRun, run_checks
from sidecar.checks.configuration import CONFIGURATION, check_configuration, refuse_configuration
from sidecar.checks.pod import POD, check_pod
from sidecar.checks.price import PRICE, check_price
from sidecar.checks.region import REGION, check_region
from sidecar.checks.reliance import skip_repeated
from sidecar.checks.running import RunningSidecar, find_running
from sidecar.checks.sdk_variables import SDK_VARIABLES, check_sdk_variables
from sidecar.checks.setup import SERVICE
from sidecar.checks.shutdown import SHUTDOWN, check_shutdown
from sidecar.checks.sidecar import SIDECAR, check_sidecar
from sidecar.checks.sources import SOURCES, check_sources
from sidecar.checks.token import TOKEN, check_token
from sidecar.checks.variables import VARIABLES, check_variables
from sidecar.commands.arguments import add_config
from sidecar.commands.preflight import refuse_all
from sidecar.commands.report import print_document, print_lines, print_table
from sidecar.domain.check_result import CheckResult, failed
from sidecar.exit_codes import ExitCode
from sidecar.marketplace import UnsupportedRegion
from sidecar.marketplace.probing import ProbeFailed, ServiceProbe
from sidecar.settings import Settings, SettingsError, load
from sidecar.upstream import endpoint_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table or lines")


def run(args: argparse.Namespace) -> int:
    """Check, print, and return 1 if any check failed, else 0; 2 for a faulty configuration."""
    try:
        settings = load(args.config, os.environ)
    except SettingsError as error:
        if not args.json:
            raise refuse_all(error, os.environ, diagnosing=True) from None
        print_document(refuse_configuration(refuse_all(error, os.environ, diagnosing=True).problems))
        return ExitCode.BAD_COMMAND
    diagnoses = diagnose(settings, args.config, os.environ)
    if args.json:
        print_document(diagnoses)
    elif sys.stdout.isatty():
        print_table(diagnoses)
    else:
        print_lines(diagnoses)
    return ExitCode.FAILED if failed(diagnoses) else ExitCode.CLEAN


def diagnose(settings: Settings, config: str | None, environ: Mapping[str, str]) -> list[CheckResult]:
    """Run every check of a sound configuration; blocks until the slowest has ended.

    `config` is what named the file, if not the environment.
    """
    running = find_running(settings.api)
    checks = [
        CheckRun([CONFIGURATION], lambda: [check_configuration(settings, config, environ)]),
        CheckRun([VARIABLES], lambda: [check_variables(environ)]),
        CheckRun([SIDECAR], lambda: [check_sidecar(running)]),
        *_of_setup(settings, environ, running),
    ]
    mode, meters = settings.marketplace.mode, settings.meters
    alone = CheckRun([identity.IDENTITY], lambda: [identity.check_identity(mode, environ, meters=meters)])
    try:
        probe = ServiceProbe(endpoint_of(settings.marketplace, environ))
    except UnsupportedRegion:
        return skip_repeated([*run_checks([*checks, alone]), *_unasked("there is no Region to send requests to")])
    except ProbeFailed as broken:
        results = [*run_checks([*checks, alone]), *_unasked("the AWS SDK does not start", access.refuse_sdk(broken))]
        return skip_repeated(results)
    return skip_repeated(run_checks([*checks, *_of_service(settings, environ, probe)]))


def _unasked(words: str, *results: CheckResult) -> list[CheckResult]:
    known = {diagnosis.name: diagnosis for diagnosis in results}
    return [known.get(subject.name, subject.skipped(words)) for subject in (licenses.LICENSE, *SERVICE)]


def _of_setup(settings: Settings, environ: Mapping[str, str], running: RunningSidecar | None) -> Iterator[CheckRun]:
    """Yield what needs no network beyond the pod and its cluster."""
    path, mode = settings.ledger.path, settings.marketplace.mode
    ours = running is not None and running.uses(path)
    yield CheckRun([PRICE], lambda: [check_price(settings)])
    dimensions = settings.metering.dimensions
    yield CheckRun([SOURCES], lambda: [check_sources(dimensions, settings.api, environ, running if ours else None)])
    yield CheckRun([keys.KEYS], lambda: [keys.check_keys(settings.product, settings.marketplace)])
    yield CheckRun([keys.ROTATION], lambda: [keys.check_rotation(settings, running)])
    yield CheckRun([REGION], lambda: [check_region(settings, environ)])
    yield CheckRun([POD], lambda: [check_pod(environ)])
    yield CheckRun([TOKEN], lambda: [check_token(environ, datetime.now(UTC))])
    yield CheckRun([environment.PROXY], lambda: [environment.check_proxy(mode, environ)])
    yield CheckRun([environment.CERTIFICATES], lambda: [environment.check_certificates(environ)])
    yield CheckRun([SDK_VARIABLES], lambda: [check_sdk_variables(mode, environ)])
    yield CheckRun([volume.LEDGER], lambda: [volume.check_ledger(path, in_use=ours)])
    yield CheckRun([volume.VOLUME], lambda: [volume.check_volume(path, volume.read_mounts())])
    yield CheckRun([volume.ROOM], lambda: [volume.check_room(path, settings.ledger.max_size)])
    yield CheckRun([ports.API], lambda: [ports.check_api_port(settings.api, running=ours)])
    yield CheckRun([ports.TOKEN_FILE], lambda: [ports.check_token_file(settings.api)])
    yield CheckRun([ports.PROBES], lambda: [ports.check_probe_port(settings.probes, running=ours)])
    yield CheckRun([cluster.KUBERNETES, cluster.ROLE, SHUTDOWN], lambda: _of_pod(settings, environ, running))


def _of_pod(settings: Settings, environ: Mapping[str, str], running: RunningSidecar | None) -> Iterator[CheckResult]:
    tie, role, pod = cluster.check_kubernetes(settings.kubernetes, environ, running)
    yield from (tie, role)
    yield check_shutdown(settings.shutdown.timeout, environ, None if pod is None else pod.grace)


def _of_service(settings: Settings, environ: Mapping[str, str], probe: ServiceProbe) -> Iterator[CheckRun]:
    """Yield what asks AWS, or the node's metadata service."""
    code, mode, meters = settings.product.code, settings.marketplace.mode, settings.meters
    dimensions = [dimension.name for dimension in settings.metering.dimensions]
    yield CheckRun(
        [identity.IDENTITY], lambda: [identity.check_identity(mode, environ, probe.credentials_method, meters=meters)]
    )
    endpoint = endpoint_of(settings.marketplace, environ)
    yield CheckRun([licenses.LICENSE], lambda: [licenses.check_license(settings, endpoint)])
    if not meters:
        yield CheckRun([access.STS], lambda: [access.check_sts(probe)])
        yield CheckRun([network.CLOCK], lambda: [network.check_license_clock(probe)])
        unneeded = (network.DNS, network.ENDPOINT, access.PERMISSION)
        yield CheckRun(unneeded, lambda: [each.skipped("AWS Marketplace Metering is not called") for each in unneeded])
        return
    yield CheckRun([network.DNS], lambda: [network.look_up(probe)])
    yield CheckRun([network.ENDPOINT, network.CLOCK], lambda: network.check_endpoint(probe))
    yield CheckRun([access.STS], lambda: [access.check_sts(probe)])
    yield CheckRun([access.PERMISSION], lambda: [access.check_permission(probe, code, dimensions)])
