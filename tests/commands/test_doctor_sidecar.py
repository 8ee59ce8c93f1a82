"""What doctor reports of the sidecar that runs next to it."""

import pytest

from sidecar.checks.running import RunningSidecar
from sidecar.checks.sidecar import check_sidecar
from sidecar.domain.check_result import CheckStatus


def running(*codes: str, state: str = "entitled") -> RunningSidecar:
    """Return a sidecar with faults."""
    faults = [{"code": code, "since": "", "detail": f"{code} it is", "cure": f"Mend {code}."} for code in codes]
    return RunningSidecar({"entitlement": {"state": state}, "faults": faults})


@pytest.mark.parametrize(
    "code", ["entitlement-denied", "entitlement-suspended", "entitlement-unavailable", "metering-failing"]
)
def test_denied_sidecar_fails(code: str) -> None:
    """With a running sidecar that is denied, suspended, unavailable or failing doctor fails and repeats the cure."""
    diagnosis = check_sidecar(running("setup-dns", code))
    assert (CheckStatus.FAIL, f"{code}: {code} it is", f"Mend {code}.") == (
        diagnosis.status,
        diagnosis.found,
        diagnosis.cure,
    )


@pytest.mark.parametrize(
    ("codes", "status"),
    [([], CheckStatus.OK), (["setup-dns", "kubernetes-forbidden"], CheckStatus.OK), (["in-doubt"], CheckStatus.WARN)],
)
def test_other_faults_warn(codes: list[str], status: CheckStatus) -> None:
    """A fault that costs nothing yet is a warning; what another check looks at is left to it."""
    assert status is check_sidecar(running(*codes)).status


def test_absent_sidecar_is_skipped() -> None:
    """Without a sidecar there is nothing to judge."""
    assert CheckStatus.SKIPPED is check_sidecar(None).status
