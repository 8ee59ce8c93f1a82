"""Faults that no alert names by their code, each with the alert that covers it or the reason why none does.

Keys are regular expressions over whole codes. Codes that are AWS's own answers are not here: records wait then, and
`MarketplaceNoSubmissionSuccess` and `MarketplaceMeteringFailing` follow.
"""

from collections.abc import Mapping

COVERED: Mapping[str, str] = {
    "entitlement-unavailable": "MarketplaceNotEntitled",
    "entitlement-(denied|suspended)": "MarketplaceEntitlementRefused",
    "metering-failing": "MarketplaceMeteringFailing",
    "in-doubt": "MarketplaceRecordsInDoubt",
    "conservation-broken": "MarketplaceConservationBroken",
    "clock-skew|setup-clock": "MarketplaceClockSkew",
    "source-unreadable": "MarketplaceSourceMissesTime",
    "license-missing": "MarketplaceEntitlementRefused",  # if the next look, license.refresh later, finds none either
    "setup-ledger-room": "MarketplaceLedgerFilling",
    "setup-(variables|region|token|proxy|certificates|dns|endpoint|sts|permission)": "MarketplaceNotEntitled",
}
"""The alert on another metric of the same trouble, or on what follows if it lasts."""

SILENT: Mapping[str, str] = {
    "license-wrong-unit": "Only the seller can correct it, with a new version. The pod runs.",
    "kubernetes-.*": "Entitlement and metering go their way without the cluster.",
    "setup-(ledger-volume|shutdown)": "Part of the installation from its first start: its log and doctor name it.",
}
"""Why there is no alert."""
