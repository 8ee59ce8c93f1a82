"""The check of the price: what it names, and that the start logs the same."""

from pathlib import Path

import pytest

from sidecar.checks.price import check_price
from sidecar.domain.check_result import CheckStatus
from sidecar.domain.metering.events import Dimension
from sidecar.settings import (
    EntitlementCheck,
    EntitlementSettings,
    MeteringSettings,
    Pricing,
    Product,
    Settings,
    StartProbe,
)

USAGE = MeteringSettings(dimensions=(Dimension("requests"),))
KEY = {1: Path("/1.pem")}
CASES = [
    (None, KEY, MeteringSettings(), StartProbe.RECORD, CheckStatus.OK, "product.pricing is not set, and"),
    (Pricing.HOURLY, KEY, MeteringSettings(), StartProbe.RECORD, CheckStatus.OK, "product.pricing is hourly, and"),
    (Pricing.CUSTOM, {}, USAGE, StartProbe.RECORD, CheckStatus.OK, "product.pricing is custom, and"),
    (Pricing.CUSTOM, {}, USAGE, StartProbe.DRY_RUN, CheckStatus.WARN, "entitlement.probe is dry-run"),
    (Pricing.HOURLY, KEY, USAGE, StartProbe.RECORD, CheckStatus.WARN, "product.pricing is hourly, and there are"),
    (None, KEY, USAGE, StartProbe.RECORD, CheckStatus.WARN, "the pod registers and reports requests"),
]


@pytest.mark.parametrize(("pricing", "keys", "metering", "probe", "status", "found"), CASES)
def test_price_is_judged(
    pricing: Pricing | None,
    keys: dict[int, Path],
    metering: MeteringSettings,
    probe: StartProbe,
    status: CheckStatus,
    found: str,
) -> None:
    """A price that is left open is named, with what AWS documents; a sound combination is right."""
    settings = Settings(
        product=Product("0abc123example", pricing, public_keys=keys),
        entitlement=EntitlementSettings(check=EntitlementCheck.AUTO, probe=probe),
        metering=metering,
    )
    result = check_price(settings)

    assert (status, True) == (result.status, result.found.startswith(found))
    assert (status is CheckStatus.WARN) == bool(result.cure)
