"""Examines the product's license at License Manager: what AWS's documents leave open about it.

It takes nothing: it checks out an entitlement without a count twice by one client token, compares the consumption
tokens, and returns it. Refuses to check out a counted entitlement, because a seat of the account could be missing
meanwhile. Consumption tokens stay out of the report.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from sidecar.commands.certify.report import LicenseCall
from sidecar.domain import timestamps
from sidecar.domain.entitlement.licenses import MARKETPLACE_USAGE
from sidecar.marketplace import Disposition, MarketplaceError
from sidecar.marketplace.license_manager import (
    MARKETPLACE_FINGERPRINT,
    CheckInLicenseRequest,
    CheckoutLicenseRequest,
    CheckoutType,
    EntitlementData,
    Filter,
    FilterName,
    GrantedLicense,
    GrantType,
    LicenseManager,
    LicenseManagerClient,
    LicenseStatus,
    ListReceivedLicensesRequest,
    ReceivedStatus,
    Unit,
)
from sidecar.services.license_finder import HOME_REGION

if TYPE_CHECKING:
    from sidecar.commands.certify.calls import Certifier

_NO_LICENSE_CURE = (
    "Subscribe to the product with this account, and accept the license's grant in the License Manager console."
)


async def examine_license(certifier: "Certifier", found: LicenseCall) -> bool:
    """Examine the license of the product; return whether there is a good one and AWS answered all calls."""
    found.asked_at = timestamps.render(await certifier.present())
    seen: list[GrantedLicense] = []
    try:
        for region in dict.fromkeys((certifier.endpoint.region_name, HOME_REGION)):
            async with LicenseManagerClient(replace(certifier.endpoint, region_name=region)) as manager:
                licenses = await _list(certifier, manager, found.sku)
                seen += licenses
                good = next((each for each in licenses if _gives_right(each)), None)
                if good is not None:
                    found.region = region
                    await _compare_tokens(certifier, manager, found, good)
                    await certifier.take(found, found.request_id)
                    return True
    except MarketplaceError as error:
        await certifier.note(found, error, refused=error.disposition is not Disposition.RETRY)
        return False
    found.error, found.cure = _describe(found.sku, seen), _NO_LICENSE_CURE
    await certifier.conclude(found, None)
    return False


async def _list(certifier: "Certifier", manager: LicenseManager, sku: str) -> tuple[GrantedLicense, ...]:
    request = ListReceivedLicensesRequest(filters=(Filter(name=FilterName.PRODUCT_SKU, values=(sku,)),))
    return (await certifier.repeat(partial(manager.list_received_licenses, request))).licenses


async def _compare_tokens(
    certifier: "Certifier", manager: LicenseManager, found: LicenseCall, license_: GrantedLicense
) -> None:
    uncounted = [each.name for each in license_.entitlements if each.unit == Unit.NONE]
    found.license_arn = license_.license_arn
    found.carries_usage = MARKETPLACE_USAGE in uncounted
    if not uncounted:
        return
    found.entitlement = MARKETPLACE_USAGE if found.carries_usage else uncounted[0]
    request = CheckoutLicenseRequest(
        product_sku=found.sku,
        checkout_type=CheckoutType.PROVISIONAL,
        key_fingerprint=MARKETPLACE_FINGERPRINT,
        entitlements=(EntitlementData(name=found.entitlement, unit=Unit.NONE),),
        client_token=str(uuid4()),
    )
    tokens = []
    for _ in range(2):
        response = await certifier.repeat(partial(manager.checkout_license, request))
        tokens.append(response.license_consumption_token or "")
        found.request_id = response.request_id
    found.same_consumption_token = tokens[0] == tokens[1]
    for token in dict.fromkeys(tokens):
        check_in = CheckInLicenseRequest(license_consumption_token=token)
        await certifier.repeat(partial(manager.check_in_license, check_in))


def _gives_right(license_: GrantedLicense) -> bool:
    received = license_.received_metadata
    return (
        license_.status == LicenseStatus.AVAILABLE
        and license_.issuer is not None
        and license_.issuer.key_fingerprint == MARKETPLACE_FINGERPRINT
        and received is not None
        and received.received_status == ReceivedStatus.ACTIVE
        and received.grant_type != GrantType.DELEGATE_GRANT
    )


def _describe(sku: str, licenses: Iterable[GrantedLicense]) -> str:
    """Return why there is no good license: none at all, or what each one lacks."""
    shown = [
        f"{each.license_arn} is {each.status}, its grant {received.received_status if received else None}, issued by "
        f"{each.issuer.name if each.issuer else None}"
        for each in licenses
        for received in [each.received_metadata]
    ]
    return f"the account has no good license of {sku}: {'; '.join(dict.fromkeys(shown)) or 'there is none'}"
