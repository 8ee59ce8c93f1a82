"""What an operator and the app see of the license: its view, and the faults that ask for an action."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from structlog.typing import FilteringBoundLogger

from sidecar.domain.entitlement.checkouts import CheckoutKind, CheckoutState
from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.licenses import License, LicenseStatus, tier_of
from sidecar.domain.entitlement.licensing import LicenseStanding, Licensing, refused_seat
from sidecar.domain.entitlement.states import EntitlementView, LicenseView
from sidecar.domain.timestamps import render
from sidecar.services.checkout_keeper import CheckoutKeeper
from sidecar.services.faults import FaultLog, FaultRegister

EXPIRED_CURE: Final = (
    "Renew the contract in AWS Marketplace. A renewal is taken over without a restart; until then license.on_expired "
    "decides about each new pod."
)
EXPIRING_CURE: Final = "Renew the contract in AWS Marketplace before that; a renewal is taken over without a restart."
TAKEN_CURE: Final = (
    "Run fewer pods, or buy more of the entitlement. A seat that a lost pod held is free again after 65 minutes."
)
MISSING_CURE: Final = (
    "Check in AWS Marketplace whether the subscription still exists. The gate closes if the next look finds no good "
    "license either."
)
UNIT_CURE: Final = "Ask the seller to correct `license.require`: an entitlement without a count cannot be held."
DOUBT_CURE: Final = (
    "Find out from the usage of the license whether AWS counts it, then run `marketplace-sidecar ledger resolve` with "
    "the id."
)


def view(license_: License | None, policy: LicensePolicy, held: Mapping[str, int], now: datetime) -> LicenseView | None:
    """Return the license as apps and operators see it."""
    if license_ is None:
        return None
    over = license_.end is not None and now >= license_.end and license_.status == LicenseStatus.AVAILABLE
    return LicenseView(
        arn=license_.arn,
        status=LicenseStatus.EXPIRED if over else license_.status,
        begin=license_.begin,
        end=license_.end,
        tier=tier_of(license_, policy.tiers),
        entitlements=tuple(
            EntitlementView(each.name, each.unit, each.max_count, held.get(each.name, 0))
            for each in license_.entitlements
        ),
    )


def wrong_unit(license_: License, policy: LicensePolicy) -> str:
    """Return which entitlement the seller wants to hold though it has no count; empty if there is none."""
    for required in policy.require:
        granted = license_.entitlement(required.name)
        if required.hold and granted is not None and not granted.counted:
            return f"license.require holds {required.hold} of {required.name}, and its unit in the license is None"
    return ""


class LicenseFaults:
    """The faults of a license and of its seats."""

    def __init__(self, faults: FaultRegister, policy: LicensePolicy, log: FilteringBoundLogger) -> None:
        self._faults = faults
        self._policy = policy
        self._log = log

    def update(self, licensing: Licensing, checkouts: CheckoutKeeper, now: datetime) -> None:
        """Bring the faults up to date."""
        license_, evidence = licensing.license, licensing.evidence
        granted = licensing.standing is LicenseStanding.GRANTED
        end = None if license_ is None or not granted else license_.end
        expired = granted and license_ is not None and license_.has_expired(now)
        left = None if end is None else end - now
        expiring = left is not None and not expired and left < self._policy.warn_before
        words = "The contract has no end" if end is None else f"The contract ends on {render(end)}"
        self._set(
            "license-expired", "The license has expired; this pod keeps running" if expired else "", EXPIRED_CURE, now
        )
        self._set("license-expiring", words if expiring else "", EXPIRING_CURE, now)
        missing = granted and evidence is not None and evidence.missing_at is not None
        self._set("license-missing", licensing.detail if missing else "", MISSING_CURE, now)
        self._set("license-wrong-unit", "" if license_ is None else wrong_unit(license_, self._policy), UNIT_CURE, now)
        self._set("seats-taken", self._taken(licensing, checkouts), TAKEN_CURE, now)
        ids = ", ".join(f"checkout-{each.seq}" for each in checkouts.in_doubt.values())
        doubt = f"AWS may or may not hold these draw-downs: {ids}" if ids else ""
        self._set("checkout-in-doubt", doubt, DOUBT_CURE, now)

    def _taken(self, licensing: Licensing, checkouts: CheckoutKeeper) -> str:
        if licensing.standing is not LicenseStanding.GRANTED or licensing.license is None:
            return ""
        for required in self._policy.seats:
            granted = licensing.license.entitlement(required.name)
            if granted is None or not granted.counted:
                continue
            found = checkouts.find(CheckoutKind.SEAT, required.name)
            if found is not None and found.being_returned:
                what = f"AWS has not taken back the {found.count} that it returns"
                if not found.is_whole_return:
                    what = f"AWS allows only a part of {found.count}, which is being returned"
                return f"This pod holds no seat of {required.name}: {what}"
            if found is None:
                return f"This pod holds no seat of {required.name}: all {granted.max_count} are taken"
            if found.state is not CheckoutState.HELD:  # the next seats are asked for after this one
                refused = refused_seat(licensing)
                last = "" if refused is None else render(refused[1])
                return f"This pod holds no seat of {required.name}: AWS refused it at {last}" if last else ""
        return ""

    def _set(self, code: str, detail: str, cure: str, now: datetime) -> None:
        report = FaultLog(begins="license.fault", ends="license.fault_over", about={"code": code})
        self._faults.update(code, detail, cure, now, report=report)
