"""Whether the account has a license that gives the pod its right. Reads the list of licenses and takes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sidecar.domain import timestamps
from sidecar.domain.check_result import Check, CheckResult
from sidecar.domain.entitlement.licenses import License, Survey, Worth, judge
from sidecar.domain.entitlement.licensing import refusal, right_of_expired
from sidecar.marketplace import Endpoint, MarketplaceError
from sidecar.services.entitlement_fault import LICENSE_CURES
from sidecar.services.license_calls import LicenseCalls
from sidecar.services.license_clients import RegionalClients
from sidecar.services.license_finder import LicenseAnswer, LicenseFinder
from sidecar.services.license_report import EXPIRED_CURE, EXPIRING_CURE, UNIT_CURE, wrong_unit
from sidecar.settings import Settings
from sidecar.upstream import clock_of

LICENSE = Check(
    "license",
    "With a contract price, or entitlement.probe: license, a license of the account that runs the pod admits it.",
)
_WITHIN: Final = timedelta(seconds=2)
"""For connecting, and for an answer."""


def check_license(settings: Settings, endpoint: Endpoint) -> CheckResult:
    """Judge the licenses that the account has received, in the Regions that the running sidecar asks."""
    if not settings.asks_license:
        return LICENSE.skipped("the entitlement does not rest on a license")
    try:
        answer, others, now = asyncio.run(
            _find(settings, replace(endpoint, connect_timeout=_WITHIN, read_timeout=_WITHIN))
        )
    except MarketplaceError as error:
        return LICENSE.fail(str(error), error.cure)
    if answer.license is not None:
        return _accept(settings, answer.license, now)
    if answer.error is not None:
        return LICENSE.fail(str(answer.error), answer.error.cure)
    # A custom price is not a contract: its start probe admits nothing by an expired license.
    expired = None if settings.probes_license else right_of_expired(answer.survey, settings.license)
    if expired is not None:
        words = f"the license {expired.arn} has expired; license.on_expired: warn admits the pod with a fault"
        return LICENSE.warn(words, EXPIRED_CURE)
    return _refuse(settings, answer.survey, others, now)


async def _find(settings: Settings, endpoint: Endpoint) -> tuple[LicenseAnswer, Sequence[License], datetime]:
    """Return what the sidecar would see; without a good license also the licenses of other products."""
    clients = RegionalClients(endpoint, None)
    calls = LicenseCalls(clients.connect)
    others: list[License] = []
    try:
        async with clock_of(settings.marketplace) as clock:
            finder = LicenseFinder.configured(settings, calls, endpoint.region_name, clock)
            answer = await finder.find()
            if answer.license is None and answer.error is None:
                for region in finder.regions:
                    others += await calls.list_licenses(region, None)
            return answer, others, clock.now()
    finally:
        await clients.close()


def _accept(settings: Settings, license_: License, now: datetime) -> CheckResult:
    names = ", ".join(each.name for each in license_.entitlements)
    end = "" if license_.end is None else f" until {timestamps.render(license_.end)}"
    words = f"the license {license_.arn} is good{end}; it grants {names}"
    unit = wrong_unit(license_, settings.license)
    if unit:
        return LICENSE.warn(f"{words}. {unit}", UNIT_CURE)
    if license_.end is not None and license_.end - now < settings.license.warn_before:
        return LICENSE.warn(words, EXPIRING_CURE)
    return LICENSE.ok(words)


def _refuse(settings: Settings, found: Survey, licenses: Sequence[License], now: datetime) -> CheckResult:
    sku = settings.product.id or ""
    reason, detail = refusal(found.nearest(), sku, settings.license)
    others = {each.sku for each in licenses if judge(each, each.sku, settings.license, now) is not Worth.FOREIGN} - {
        sku
    }
    if others:
        detail += f" It has licenses of other products: {', '.join(sorted(others))}."
    return LICENSE.fail(f"{reason}: {detail}", LICENSE_CURES[reason])
