"""`doctor` names what is set for the AWS SDK and has no effect."""

from pathlib import Path

from sidecar.checks.sdk_variables import check_sdk_variables
from sidecar.domain.check_result import CheckStatus
from sidecar.settings import Mode


def test_ignored_variables_are_named(tmp_path: Path) -> None:
    """Each variable, setting and folder that would lead the SDK elsewhere is named in a warning, with the cure."""
    (tmp_path / ".aws" / "models").mkdir(parents=True)
    (tmp_path / ".aws" / "config").write_text("[default]\nendpoint_url = http://127.0.0.1:9\n", encoding="utf-8")
    environ = {"HOME": str(tmp_path), "AWS_USE_FIPS_ENDPOINT": "true", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"}
    diagnosis = check_sdk_variables(Mode.LIVE, environ)
    assert CheckStatus.WARN is diagnosis.status
    for name in ("AWS_USE_FIPS_ENDPOINT", "AWS_ENDPOINT_URL_STS", "endpoint_url in the SDK's", "~/.aws/models"):
        assert name in diagnosis.found
    assert "Remove it" in diagnosis.cure


def test_plain_environment_is_fine(tmp_path: Path) -> None:
    """What EKS sets is no finding, and an emulator is called whatever is set."""
    environ = {"HOME": str(tmp_path), "AWS_STS_REGIONAL_ENDPOINTS": "regional", "AWS_REGION": "eu-west-1"}
    assert CheckStatus.OK is check_sdk_variables(Mode.LIVE, environ).status
    assert CheckStatus.SKIPPED is check_sdk_variables(Mode.EMULATOR, {"AWS_ENDPOINT_URL": "http://x"}).status
