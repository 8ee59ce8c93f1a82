"""Which pod `doctor` takes the process for: as `run` finds it."""

import pytest

from sidecar.checks.pod import check_pod
from sidecar.domain.check_result import CheckStatus


@pytest.mark.parametrize(
    ("environ", "status", "found"),
    [
        ({"POD_UID": "u-1"}, CheckStatus.OK, "u-1, from downward-api"),
        ({}, CheckStatus.OK, "the ledger keeps"),
        ({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, CheckStatus.FAIL, "POD_UID is not set"),
        ({"POD_UID": "$(UID)"}, CheckStatus.FAIL, "which is not a UID"),
        ({"ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1:1/v4"}, CheckStatus.FAIL, "cannot be read"),
    ],
    ids=["named", "plain process", "nameless pod", "unresolved", "silent ECS"],
)
def test_pod_is_judged_as_run_does(environ: dict[str, str], status: CheckStatus, found: str) -> None:
    """What `run` would refuse fails with its words and its cure; what it takes is named with its source."""
    diagnosis = check_pod(environ)
    assert (status, True) == (diagnosis.status, found in diagnosis.found)
    assert bool(diagnosis.cure) == (status is CheckStatus.FAIL)
