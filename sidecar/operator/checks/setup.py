"""The checks that need neither the network nor AWS, for a sidecar that has just started."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sidecar.domain.diagnosis import Diagnosis, Result
from sidecar.operator.checks import environment, volume
from sidecar.operator.checks.examination import Examination, examine
from sidecar.operator.checks.region import REGION, check_region
from sidecar.operator.checks.shutdown import SHUTDOWN, check_shutdown
from sidecar.operator.checks.token import TOKEN, check_token
from sidecar.settings import Settings


def examine_setup(settings: Settings, environ: Mapping[str, str]) -> list[Diagnosis]:
    """Return what is doubtful or wrong. Blocks for a few seconds if the ledger's volume does not answer.

    Keys, listeners and the ledger itself are left out: without them there would be no process to ask. So is the
    identity, which the process judges by itself.
    """
    mode, path = settings.marketplace.mode, settings.ledger.path
    found = examine(
        [
            Examination([REGION], lambda: [check_region(settings.marketplace, environ)]),
            Examination([TOKEN], lambda: [check_token(environ, datetime.now(UTC))]),
            Examination([environment.PROXY], lambda: [environment.check_proxy(mode, environ)]),
            Examination([environment.CERTIFICATES], lambda: [environment.check_certificates(environ)]),
            Examination([volume.VOLUME], lambda: [volume.check_volume(path, volume.read_mounts())]),
            Examination([volume.ROOM], lambda: [volume.check_room(path)]),
            Examination([SHUTDOWN], lambda: [check_shutdown(settings.shutdown.timeout, environ)]),
        ]
    )
    return [diagnosis for diagnosis in found if diagnosis.status in {Result.WARN, Result.FAIL}]
