"""Series over which each alert fires, and the near misses over which it does not.

A near miss is checked while its condition holds, but not for long enough, or just below a limit. A case puts changes
over the series of a healthy pod; None takes a series away. Values are in promtool's notation, one a minute: `1x60` is 1
for an hour, `0+5x60` rises by 5 each minute, `_x10` is nothing for ten minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

POD = 'namespace="acme", pod="shop-1", job="acme/shop-marketplace", instance="10.0.0.5:8788"'
STATES = ("pending", "entitled", "denied", "unavailable", "suspended")
LONG = 600
"""Minutes that the series of a healthy pod last."""


def series(name: str, **labels: str) -> str:
    """Return a series of the pod."""
    own = "".join(f', {label}="{value}"' for label, value in labels.items())
    return f"{name}{{{POD}{own}}}"


def entitlement(**values: str) -> dict[str, str]:
    """Return the series of the entitlement's states; a state that is not named is 0."""
    return {series("marketplace_entitlement_state", state=state): values.get(state, f"0x{LONG}") for state in STATES}


HEALTHY: Mapping[str, str] = {
    series("up"): f"1x{LONG}",
    series("marketplace_build_info", version="0.1.0"): f"1x{LONG}",
    series("marketplace_entitled"): f"1x{LONG}",
    **entitlement(entitled=f"1x{LONG}"),
    series("marketplace_metering_state", state="ok"): f"1x{LONG}",
    **{series("marketplace_metering_state", state=state): f"0x{LONG}" for state in ("failing", "gated", "stopped")},
    series("marketplace_records_in_doubt"): f"0x{LONG}",
    series("marketplace_ledger_balanced"): f"1x{LONG}",
    series("marketplace_clock_skew_seconds"): f"0x{LONG}",
    series("marketplace_last_submission_success_age_seconds"): f"0+60x{LONG}",
    series("marketplace_usage_accepted", dimension="requests"): f"0+5x{LONG}",
    series("marketplace_usage_open", dimension="requests"): f"5x{LONG}",
    series("marketplace_usage_sealed", dimension="requests"): f"0x{LONG}",
    series("marketplace_usage_submitted", dimension="requests"): f"0+5x{LONG}",
    series("marketplace_usage_unbilled", dimension="requests"): f"0x{LONG}",
    series("marketplace_usage_requests_refused_total", reason="invalid-usage"): f"0x{LONG}",
    series("marketplace_usage_requests_refused_total", reason="not-entitled"): f"0x{LONG}",
    series("marketplace_usage_requests_refused_total", reason="ledger-unavailable"): f"0x{LONG}",
    series("marketplace_submission_answers_total", answer="accepted"): f"0+1x{LONG}",
}
"""Series of a pod that meters."""


@dataclass(frozen=True, slots=True)
class Case:
    """What happens, and which alerts fire then."""

    name: str
    at: str
    changes: Mapping[str, str | None] = field(default_factory=dict)
    firing: tuple[str, ...] = ()
    near: str = ""
    """The alert that this case narrowly misses."""

    def __str__(self) -> str:
        """Name it in pytest's words."""
        return self.name

    @property
    def series(self) -> dict[str, str]:
        """All series of the case."""
        return {name: values for name, values in {**HEALTHY, **self.changes}.items() if values is not None}


def _state(metering: str, values: str) -> dict[str, str | None]:
    return {
        series("marketplace_metering_state", state="ok"): f"0x{LONG}",
        series("marketplace_metering_state", state=metering): values,
    }


def _waiting(*, left: int, age: int, sealed: int, success: int | None) -> dict[str, str | None]:
    """Return an hour that waits: seconds left and its age, units in it, and how long ago the last success was."""
    last = series("marketplace_last_submission_success_age_seconds")
    return {
        series("marketplace_submission_window_left_seconds"): f"{left}-60x{LONG}",
        series("marketplace_oldest_unsent_hour_age_seconds"): f"{age}+60x{LONG}",
        series("marketplace_usage_sealed", dimension="requests"): f"{sealed}x{LONG}",
        last: None if success is None else f"{success}x{LONG}",
    }


def _fault(code: str, values: str) -> dict[str, str | None]:
    return {series("marketplace_faults", code=code): values}


_OPEN_AGE = series("marketplace_oldest_open_hour_age_seconds")
_UNBILLED = series("marketplace_usage_unbilled", dimension="requests")
_REFUSED = "marketplace_usage_requests_refused_total"
_UNSTORED: dict[str, str | None] = {series(_REFUSED, reason="ledger-unavailable"): "0+9x600"}
_SKEW = series("marketplace_clock_skew_seconds")
_MISSED = series("marketplace_source_missed_seconds_total", dimension="vcpu_hours")
_FOLDED = series("marketplace_source_series_folded", dimension="served")
_THROTTLED = series("marketplace_submission_answers_total", answer="ThrottlingException")
_NO_USAGE: dict[str, str | None] = {
    name: None
    for name in HEALTHY
    if name.startswith(("marketplace_usage_", "marketplace_submission_", "marketplace_last"))
}
_GONE: dict[str, str | None] = dict.fromkeys(HEALTHY, "1x30 stale")
_ANOTHER = f"marketplace_build_info{{{POD.replace('shop-1', 'shop-2').replace('10.0.0.5', '10.0.0.6')}}}"

CASES = (
    Case("healthy", "9h"),
    Case(
        "idle",
        "9h",
        {
            series("marketplace_usage_accepted", dimension="requests"): "0x600",
            series("marketplace_usage_open", dimension="requests"): "0x600",
            series("marketplace_usage_submitted", dimension="requests"): "0x600",
            series("marketplace_last_submission_success_age_seconds"): None,
        },
    ),
    Case("without dimensions", "9h", _NO_USAGE),
    Case(
        "just started",
        "10m",
        {
            **_NO_USAGE,
            series("up"): "_ 0x3 1x600",
            series("marketplace_build_info", version="0.1.0"): "_x4 1x600",
            series("marketplace_entitled"): "_x4 0x8 1x600",
            **entitlement(pending="_x4 1x8 0x600", entitled="_x4 0x8 1x600"),
            _SKEW: None,
        },
    ),
    # Entitlement
    Case("never answered", "20m", entitlement(pending="1x600"), ("MarketplaceNotEntitled",)),
    Case("unavailable", "20m", entitlement(unavailable="1x600"), ("MarketplaceNotEntitled",)),
    Case(
        "answered late", "13m", entitlement(pending="1x14 0x600", entitled="0x14 1x600"), near="MarketplaceNotEntitled"
    ),
    Case(
        "pending, then unavailable",
        "31m",
        entitlement(pending="1x29 0x600", unavailable="0x29 1x600"),
        ("MarketplaceNotEntitled",),
    ),
    Case("denied", "11m", entitlement(denied="1x600"), ("MarketplaceEntitlementRefused",)),
    Case("suspended", "11m", entitlement(suspended="1x600"), ("MarketplaceEntitlementRefused",)),
    Case(
        "denied, then suspended",
        "21m",
        entitlement(denied="1x19 0x600", suspended="0x19 1x600"),
        ("MarketplaceEntitlementRefused",),
    ),
    Case(
        "subscribed late",
        "8m",
        entitlement(denied="1x8 0x600", entitled="0x8 1x600"),
        near="MarketplaceEntitlementRefused",
    ),
    # Metering
    Case("failing", "6m", _state("failing", "1x600"), ("MarketplaceMeteringFailing",)),
    Case("gated", "6m", _state("gated", "1x600"), ("MarketplaceMeteringFailing",)),
    Case("a loop has stopped", "6m", _state("stopped", "1x600"), ("MarketplaceMeteringFailing",)),
    Case(
        "failing, then gated, then stopped",
        "15m",
        {**_state("failing", "1x6 0x600"), **_state("gated", "0x6 1x6 0x600"), **_state("stopped", "0x13 1x600")},
        ("MarketplaceMeteringFailing",),
    ),
    Case("ending", "4m", _state("stopped", "0x1 1x3 stale"), near="MarketplaceMeteringFailing"),
    Case(
        "window closes",
        "10m",
        _waiting(left=7000, age=14600, sealed=3, success=600),
        ("MarketplaceSubmissionWindowClosing",),
    ),
    Case(
        "zeros wait",
        "10m",
        _waiting(left=7000, age=14600, sealed=0, success=600),
        near="MarketplaceSubmissionWindowClosing",
    ),
    Case(
        "time is left",
        "10m",
        _waiting(left=10000, age=11600, sealed=3, success=600),
        near="MarketplaceSubmissionWindowClosing",
    ),
    Case(
        "short window, sent in time",
        "10m",
        _waiting(left=3000, age=5000, sealed=3, success=600),
        near="MarketplaceSubmissionWindowClosing",
    ),
    Case(
        "window closes, seen just now",
        "4m",
        _waiting(left=7000, age=14600, sealed=3, success=600),
        near="MarketplaceSubmissionWindowClosing",
    ),
    Case(
        "no success, seen just now",
        "9m",
        _waiting(left=9000, age=12600, sealed=3, success=12000),
        near="MarketplaceNoSubmissionSuccess",
    ),
    Case(
        "no success",
        "11m",
        _waiting(left=9000, age=12600, sealed=3, success=12000),
        ("MarketplaceNoSubmissionSuccess",),
    ),
    Case(
        "no success yet, nothing used",
        "11m",
        _waiting(left=6000, age=15600, sealed=0, success=None),
        ("MarketplaceNoSubmissionSuccess",),
    ),
    Case(
        "backlog is worked off",
        "11m",
        _waiting(left=9000, age=12600, sealed=3, success=60),
        near="MarketplaceNoSubmissionSuccess",
    ),
    Case(
        "slowest hour in health",
        "20m",
        _waiting(left=11000, age=9000, sealed=3, success=7300),
        near="MarketplaceNoSubmissionSuccess",
    ),
    Case("hours stay open", "31m", {_OPEN_AGE: "10900+60x600"}, ("MarketplaceHoursNotSealed",)),
    Case("late usage, sealed soon", "9m", {_OPEN_AGE: "14000+60x10 30+60x600"}, near="MarketplaceHoursNotSealed"),
    Case("slowest seal in health", "60m", {_OPEN_AGE: "3600+60x600"}, near="MarketplaceHoursNotSealed"),
    Case("in doubt", "11m", {series("marketplace_records_in_doubt"): "2x600"}, ("MarketplaceRecordsInDoubt",)),
    Case(
        "doubt resolved", "8m", {series("marketplace_records_in_doubt"): "2x8 0x600"}, near="MarketplaceRecordsInDoubt"
    ),
    Case("unbilled grows", "100m", {_UNBILLED: "3x90 5x600"}, ("MarketplaceUsageUnbilled",)),
    Case("unbilled long ago", "160m", {_UNBILLED: "3x90 5x600"}, near="MarketplaceUsageUnbilled"),
    Case("unbilled before the start", "30m", {_UNBILLED: "_x5 7x600"}, near="MarketplaceUsageUnbilled"),
    Case(
        "product code changed before the start",
        "30m",
        {**_fault("other-product", "1x600"), _UNBILLED: "900x600"},
        ("MarketplaceOtherProduct",),
    ),
    Case("product code corrected", "6m", _fault("other-product", "1x4 stale"), near="MarketplaceOtherProduct"),
    Case("unbilled was settled", "100m", {_UNBILLED: "5x90 0x600"}, near="MarketplaceUsageUnbilled"),
    Case("throttled", "90m", {_THROTTLED: "1+1x600"}, ("MarketplaceThrottled",)),
    Case("throttled and through", "40m", {_THROTTLED: "0+1x30 31x600"}, near="MarketplaceThrottled"),
    # Usage and the ledger
    Case(
        "bad usage lasts",
        "40m",
        {series(_REFUSED, reason="invalid-usage"): "0+1x600"},
        ("MarketplaceUsageRefused",),
    ),
    Case(
        "one bad event", "19m", {series(_REFUSED, reason="invalid-usage"): "0x10 1x600"}, near="MarketplaceUsageRefused"
    ),
    Case(
        "two reasons",
        "40m",
        {series(_REFUSED, reason="invalid-usage"): "0+1x600", series(_REFUSED, reason="unauthorized"): "0+9x600"},
        ("MarketplaceUsageRefused", "MarketplaceUsageRefused"),
    ),
    Case(
        "refused for want of entitlement",
        "40m",
        {series(_REFUSED, reason="not-entitled"): "0+9x600", **entitlement(suspended="1x600")},
        ("MarketplaceEntitlementRefused",),
        near="MarketplaceUsageRefused",
    ),
    Case(
        "ledger unavailable",
        "40m",
        {**_fault("ledger-unavailable", "1x600"), **_UNSTORED},
        ("MarketplaceLedgerUnavailable", "MarketplaceUsageRefused"),
    ),
    Case(
        "ledger full",
        "40m",
        {**_fault("ledger-full", "1x600"), **_UNSTORED},
        ("MarketplaceLedgerUnavailable", "MarketplaceUsageRefused"),
    ),
    Case(
        "ledger unavailable, then full",
        "7m",
        {**_fault("ledger-unavailable", "1x3 stale"), **_fault("ledger-full", "_x4 1x600")},
        ("MarketplaceLedgerUnavailable",),
    ),
    Case(
        "ledger takes small batches between the refusals",
        "40m",
        {**_fault("ledger-full", " ".join(["1 stale"] * 30)), **_UNSTORED},
        ("MarketplaceUsageRefused",),
        near="MarketplaceLedgerUnavailable",
    ),
    Case("volume moved", "3m", _fault("ledger-unavailable", "1x3 stale"), near="MarketplaceLedgerUnavailable"),
    Case("ledger nearly full", "16m", _fault("ledger-filling", "1x600"), ("MarketplaceLedgerFilling",)),
    Case("old ids were dropped", "16m", _fault("ledger-filling", "1x14 stale"), near="MarketplaceLedgerFilling"),
    Case("sums differ", "1m", {series("marketplace_ledger_balanced"): "1 0x600"}, ("MarketplaceConservationBroken",)),
    Case(
        "another pod's sums differ",
        "1m",
        {'marketplace_ledger_balanced{namespace="other", pod="shop-9"}': "1x600"},
        near="MarketplaceConservationBroken",
    ),
    # Clock, key, identity
    Case("clock ahead", "6m", {_SKEW: "61x600"}, ("MarketplaceClockSkew",)),
    Case("clock behind", "6m", {_SKEW: "-400x600"}, ("MarketplaceClockSkew",)),
    Case("clock nearly right", "60m", {_SKEW: "-60x600"}, near="MarketplaceClockSkew"),
    Case("clock was stepped", "3m", {_SKEW: "400x3 0x600"}, near="MarketplaceClockSkew"),
    Case("key rotated", "6m", _fault("public-key-rotated", "1x600"), ("MarketplacePublicKeyRotated",)),
    Case("key rotated just now", "4m", _fault("public-key-rotated", "1x600"), near="MarketplacePublicKeyRotated"),
    Case("duplicate", "1m", _fault("duplicate-reporter", "1x600"), ("MarketplaceDuplicateReporter",)),
    Case("duplicate of old", "60m", _fault("duplicate-reporter", "1x5 stale"), near="MarketplaceDuplicateReporter"),
    Case("another fault", "60m", _fault("kubernetes-forbidden", "1x600"), near="MarketplacePublicKeyRotated"),
    Case("static keys", "6m", _fault("identity-not-accepted", "1x600"), ("MarketplaceIdentityNotAccepted",)),
    Case("replaced at once", "3m", _fault("identity-not-accepted", "1x3 stale"), near="MarketplaceIdentityNotAccepted"),
    Case("contract ends soon", "6m", _fault("license-expiring", "1x600"), ("MarketplaceLicenseExpiring",)),
    Case("contract is over", "6m", _fault("license-expired", "1x600"), ("MarketplaceLicenseExpiring",)),
    Case("contract was renewed", "6m", _fault("license-expiring", "1x3 stale"), near="MarketplaceLicenseExpiring"),
    Case("no seat", "31m", _fault("seats-taken", "1x600"), ("MarketplaceSeatsTaken",)),
    Case("rolling update on one seat", "29m", _fault("seats-taken", "1x600"), near="MarketplaceSeatsTaken"),
    Case("draw-down in doubt", "6m", _fault("checkout-in-doubt", "1x600"), ("MarketplaceCheckoutInDoubt",)),
    Case("draw-down settled", "6m", _fault("checkout-in-doubt", "1x4 stale"), near="MarketplaceCheckoutInDoubt"),
    # Measured dimensions
    Case("app exposes nothing", "20m", _fault("source-silent", "1x600"), ("MarketplaceSourceSilent",)),
    Case("app restarts", "20m", _fault("source-silent", "1x4 stale"), near="MarketplaceSourceSilent"),
    Case(
        "several workers behind a page",
        "20m",
        _fault("source-inconsistent", "1x600"),
        ("MarketplaceSourceInconsistent",),
    ),
    Case(
        "one counter went down", "20m", _fault("source-inconsistent", "1 stale"), near="MarketplaceSourceInconsistent"
    ),
    Case("a gauge is exported", "20m", _fault("source-refused", "1x600"), ("MarketplaceSourceRefused",)),
    Case("one bad data point", "20m", _fault("source-refused", "1 stale"), near="MarketplaceSourceRefused"),
    Case("label values are no tags", "90m", {_FOLDED: "3x600"}, ("MarketplaceSourceSeriesFolded",)),
    Case("all labels are tags", "90m", {_FOLDED: "0x600"}, near="MarketplaceSourceSeriesFolded"),
    Case("resource unreadable", "30m", {_MISSED: "0+60x600"}, ("MarketplaceSourceMissesTime",)),
    Case("a sample lost now and then", "60m", {_MISSED: "0+12x600"}, near="MarketplaceSourceMissesTime"),
    Case("suspended for six minutes", "12m", {_MISSED: "0x4 0+60x6 360x600"}, near="MarketplaceSourceMissesTime"),
    # The metrics themselves
    Case(
        "probes unreachable",
        "41m",
        {**_GONE, series("up"): "1x30 0x600"},
        ("MarketplaceTargetDown",),
        near="MarketplaceMetricsAbsent",
    ),
    Case(
        "probes unreachable for an hour",
        "90m",
        {**_GONE, series("up"): "1x30 0x600"},
        ("MarketplaceTargetDown", "MarketplaceMetricsAbsent"),
    ),
    Case(
        "one of two pods unreachable for half a day",
        "12h",
        {**_GONE, series("up"): "1x30 0x900", _ANOTHER: "1x900"},
        ("MarketplaceTargetDown",),
        near="MarketplaceMetricsAbsent",
    ),
    Case(
        "unreachable for half a day, then deleted",
        "12h",
        {**_GONE, series("up"): "1x30 0x660 stale", _ANOTHER: "1x900"},
        near="MarketplaceTargetDown",
    ),
    Case(
        "unreachable for half a day, then back",
        "12h",
        {**_GONE, series("up"): "1x30 0x660 1x600", _ANOTHER: "1x900"},
        near="MarketplaceTargetDown",
    ),
    Case("restarted", "36m", {series("up"): "1x30 0x8 1x600"}, near="MarketplaceTargetDown"),
    Case(
        "another's target is down",
        "60m",
        {'up{job="other", instance="10.0.0.9:80"}': "0x600"},
        near="MarketplaceTargetDown",
    ),
    Case("all pods gone", "70m", _GONE, ("MarketplaceMetricsAbsent",)),
    Case(
        "pod replaced",
        "70m",
        {**_GONE, _ANOTHER: "_x40 1x600"},
        near="MarketplaceMetricsAbsent",
    ),
    Case("gone since yesterday", "26h", _GONE, near="MarketplaceMetricsAbsent"),
)
