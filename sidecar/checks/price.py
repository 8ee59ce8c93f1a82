"""Whether price, check and dimensions go together, where the configuration leaves it open."""

from sidecar.domain.check_result import Check, CheckResult
from sidecar.domain.policy import EntitlementCheck, Pricing, StartProbe
from sidecar.settings import Settings

PRICE = Check(
    "price", "Each price has its own call at AWS; the wrong one refuses a buyer, or lets in one who pays nothing."
)
_NAME_IT = (
    "AWS documents RegisterUsage for hourly and monthly prices and MeterUsage for dimensions, and does not state what "
    "RegisterUsage answers for a product with dimensions. Set product.pricing to hourly or custom."
)
_HOURLY = (
    "AWS documents MeterUsage for products that are priced by dimensions, and refuses it for others. Remove "
    "metering.dimensions, or set product.pricing to custom."
)
_DRY_RUN = (
    "Set entitlement.probe to record. For pods that live for less than an hour set it to license, or name a dimension "
    "without a price in entitlement.probe_dimension."
)


def check_price(settings: Settings) -> CheckResult:
    """Judge the combination; the configuration itself refuses what is impossible."""
    pricing, check = settings.product.pricing, settings.check
    registers = check is EntitlementCheck.REGISTER
    if registers and settings.metering.dimensions:
        names = ", ".join(dimension.name for dimension in settings.metering.dimensions)
        if pricing is Pricing.HOURLY:
            return PRICE.warn(f"product.pricing is hourly, and there are dimensions: {names}", _HOURLY)
        found = f"the pod registers and reports {names}, and product.pricing does not name the price"
        return PRICE.warn(found, _NAME_IT)
    if check is EntitlementCheck.METER and settings.entitlement.probe is StartProbe.DRY_RUN:
        return PRICE.warn("entitlement.probe is dry-run, which checks the permission and no subscription", _DRY_RUN)
    named = "product.pricing is not set" if pricing is None else f"product.pricing is {pricing}"
    proof = f" by a {settings.entitlement.probe} probe" if check is EntitlementCheck.METER else ""
    return PRICE.ok(f"{named}, and entitlement.check is {check}{proof}")
