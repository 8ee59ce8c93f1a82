"""Examines the product's license at License Manager: what AWS's documents leave open about it.

It takes nothing: it checks out an entitlement without a count twice by one client token, compares the consumption
tokens, and returns it. Refuses to check out a counted entitlement, because a seat of the account could be missing
meanwhile. Consumption tokens stay out of the report.
"""

from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

from sidecar.commands.certify.report import LicenseCall
from sidecar.domain import timestamps
from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.licenses import MARKETPLACE_USAGE, License
from sidecar.domain.entitlement.licensing import refusal
from sidecar.marketplace import Disposition, MarketplaceError
from sidecar.marketplace.license_manager import (
    CheckInLicenseRequest,
    CheckoutLicenseRequest,
    CheckoutType,
    EntitlementData,
    LicenseManager,
    Unit,
)
from sidecar.services.entitlement_fault import LICENSE_CURES
from sidecar.services.license_calls import LicenseCalls
from sidecar.services.license_clients import RegionalClients
from sidecar.services.license_finder import LicenseAnswer, LicenseFinder

if TYPE_CHECKING:
    from sidecar.commands.certify.calls import Certifier

_ANY = LicensePolicy()
"""The license is examined, whatever the product requires of it."""


async def examine_license(certifier: "Certifier", found: LicenseCall) -> bool:
    """Examine the license of the product; return whether there is a good one and AWS answered all calls."""
    found.asked_at = timestamps.render(await certifier.present())
    clients = RegionalClients(certifier.endpoint, None)
    finder = LicenseFinder(
        lister=LicenseCalls(clients.connect),
        sku=found.sku,
        policy=_ANY,
        region=certifier.endpoint.region_name,
        clock=certifier.clock,
        any_issuer=False,
    )
    try:
        answer = await certifier.repeat(partial(_find, finder))
        if answer.license is not None:
            found.region = answer.region
            await _compare_tokens(certifier, await clients.connect(answer.region), found, answer.license)
            await certifier.take(found, found.request_id)
            return True
    except MarketplaceError as error:
        await certifier.note(found, error, refused=error.disposition is not Disposition.RETRY)
        return False
    finally:
        await clients.close()
    reason, found.error = refusal(answer.survey.nearest(), found.sku, _ANY)
    found.cure = LICENSE_CURES[reason]
    await certifier.conclude(found, None)
    return False


async def _find(finder: LicenseFinder) -> LicenseAnswer:
    answer = await finder.find()
    if answer.error is not None:
        raise answer.error
    return answer


async def _compare_tokens(
    certifier: "Certifier", manager: LicenseManager, found: LicenseCall, license_: License
) -> None:
    uncounted = [each.name for each in license_.entitlements if not each.counted]
    found.license_arn = license_.arn
    found.carries_usage = MARKETPLACE_USAGE in uncounted
    if not uncounted:
        return
    found.entitlement = MARKETPLACE_USAGE if found.carries_usage else uncounted[0]
    request = CheckoutLicenseRequest(
        product_sku=found.sku,
        checkout_type=CheckoutType.PROVISIONAL,
        key_fingerprint=license_.issuer,
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
