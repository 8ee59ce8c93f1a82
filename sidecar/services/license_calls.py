"""The calls to License Manager that a licensed pod makes, in the domain's words.

One call is one attempt in one Region: nothing is retried, stored or concluded here.
"""

from collections.abc import Awaitable, Callable

from sidecar.domain.entitlement.checkouts import Checkout, Grant
from sidecar.domain.entitlement.licenses import UNCOUNTED, License, LicenseEntitlement
from sidecar.marketplace.errors import UnknownAnswer
from sidecar.marketplace.license_manager import (
    CheckInLicenseRequest,
    CheckoutLicenseRequest,
    CheckoutType,
    EntitlementData,
    ExtendLicenseConsumptionRequest,
    Filter,
    FilterName,
    GrantedLicense,
    LicenseManager,
    ListReceivedLicensesRequest,
)
from sidecar.marketplace.passage import sends_nothing


class LicenseCalls:
    """License Manager in any Region.

    `connect` returns the open client of a Region.
    """

    def __init__(self, connect: Callable[[str], Awaitable[LicenseManager]]) -> None:
        self._open = connect

    async def _connect(self, region: str) -> LicenseManager:
        with sends_nothing():
            return await self._open(region)

    async def list_licenses(self, region: str, sku: str | None) -> list[License]:
        """Return every license that the account has received, of one product or of all; raises MarketplaceError."""
        client = await self._connect(region)
        wanted = None if sku is None else (Filter(name=FilterName.PRODUCT_SKU, values=(sku,)),)
        answer = await client.list_received_licenses(ListReceivedLicensesRequest(filters=wanted))
        return [_license(each) for each in answer.licenses]

    async def check_out(self, checkout: Checkout) -> Grant:
        """Make a checkout in its Region; raises MarketplaceError. The same one makes the same request each time."""
        client = await self._connect(checkout.region)
        answer = await client.checkout_license(
            CheckoutLicenseRequest(
                product_sku=checkout.sku,
                checkout_type=CheckoutType.PERPETUAL if checkout.drawdown else CheckoutType.PROVISIONAL,
                key_fingerprint=checkout.issuer,
                entitlements=(
                    EntitlementData(
                        name=checkout.entitlement,
                        unit=checkout.unit,
                        value=None if checkout.count is None else str(checkout.count),
                    ),
                ),
                client_token=checkout.client_token,
            )
        )
        allowed = [each for each in answer.entitlements_allowed if each.name == checkout.entitlement]
        if not allowed:
            raise UnknownAnswer(f"the answer does not allow {checkout.entitlement}", request_id=answer.request_id)
        time_to_live = None
        if answer.issued_at is not None and answer.expiration is not None and answer.expiration > answer.issued_at:
            time_to_live = answer.expiration - answer.issued_at
        # AWS's documents do not state whether it ever allows a part.
        in_part = all(_is_below(each.value, checkout.count) for each in allowed)
        return Grant(answer.license_consumption_token or "", time_to_live, answer.license_arn, in_part=in_part)

    async def extend(self, checkout: Checkout) -> Grant:
        """Hold a seat for longer; raises MarketplaceError."""
        client = await self._connect(checkout.region)
        answer = await client.extend_license_consumption(
            ExtendLicenseConsumptionRequest(license_consumption_token=checkout.consumption_token or "")
        )
        return Grant(answer.license_consumption_token or checkout.consumption_token or "")

    async def check_in(self, checkout: Checkout) -> None:
        """Return a seat; raises MarketplaceError."""
        client = await self._connect(checkout.region)
        await client.check_in_license(CheckInLicenseRequest(license_consumption_token=checkout.consumption_token or ""))


def _is_below(value: str | None, count: int | None) -> bool:
    """Return whether an allowed value is given and is less than what was asked for; 0 is that of an unlimited one."""
    return count is not None and value is not None and value.isdecimal() and 0 < int(value) < count


def _license(found: GrantedLicense) -> License:
    received, validity = found.received_metadata, found.validity
    return License(
        arn=found.license_arn,
        sku=found.product_sku or "",
        issuer="" if found.issuer is None else found.issuer.key_fingerprint or "",
        status=str(found.status or ""),
        received="" if received is None else str(received.received_status or ""),
        grant_type=None if received is None or received.grant_type is None else str(received.grant_type),
        begin=None if validity is None else validity.begin,
        end=None if validity is None else validity.end,
        created_at=found.create_time,
        home_region=found.home_region,
        entitlements=tuple(
            LicenseEntitlement(
                name=each.name,
                unit=str(each.unit),
                # A counted entitlement without a maximum grants none that could be asked for.
                max_count=None if str(each.unit) == UNCOUNTED else each.max_count or 0,
                overage=bool(each.overage),
                allow_check_in=each.allow_check_in is not False,
            )
            for each in found.entitlements
        ),
    )
