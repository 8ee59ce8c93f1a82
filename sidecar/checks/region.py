"""The Region that is called: one that AWS lists for metering containers, and the pod's own."""

from collections.abc import Mapping

from sidecar.domain.check_result import Check, CheckResult
from sidecar.marketplace import UnsupportedRegion, named_region, region_from
from sidecar.marketplace.regions import UNLISTED_CURE, is_listed, unlisted
from sidecar.settings import EntitlementCheck, Mode, Settings

REGION = Check("region", "AWS Marketplace takes calls in the pod's own Region only, and meters containers in some.")
_LET_AWS = "Unset marketplace.region, and keep AWS_REGION as EKS or ECS sets it: the pod's own Region."


def is_doubtful(settings: Settings, region: str) -> bool:
    """Return whether the configuration calls for custom metering, and AWS does not list the Region for it.

    The list is not about RegisterUsage, nor about License Manager.
    """
    custom = settings.check is EntitlementCheck.METER or bool(settings.metering.dimensions)
    return custom and not is_listed(region)


def check_region(settings: Settings, environ: Mapping[str, str]) -> CheckResult:
    """Judge the Region that is configured, and the one that the environment names."""
    marketplace = settings.marketplace
    own = named_region(environ)
    if marketplace.mode is Mode.EMULATOR:
        return REGION.skipped("an emulator serves any Region")
    try:
        region = region_from(environ, marketplace.region)
    except UnsupportedRegion as unsupported:
        return REGION.fail(unsupported.message, unsupported.cure)
    if own is not None and own != region:
        return REGION.fail(f"marketplace.region is {region}, but the pod runs in {own}", _LET_AWS)
    if is_doubtful(settings, region):
        return REGION.warn(unlisted(region), UNLISTED_CURE)
    return _compare(region, own, environ)


def _compare(region: str, own: str | None, environ: Mapping[str, str]) -> CheckResult:
    other = environ.get("AWS_DEFAULT_REGION", "").strip()
    if other and other != region:
        return REGION.warn(f"{region} is used, but AWS_DEFAULT_REGION names {other}", "Remove AWS_DEFAULT_REGION.")
    if own is None:
        return REGION.warn(f"{region} is configured; no variable names the Region of the pod", _LET_AWS)
    return REGION.ok(f"{region}, as the pod's environment names it")
