"""Statuses to show, in the form in which the sidecar itself serves them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sidecar.domain.entitlement.states import Entitlement, EntitlementSource, State
from sidecar.domain.policy import EntitlementCheck
from sidecar.domain.status import Finding, Metering, Status, Terms
from sidecar.serializers import status_members

NOW = datetime(2026, 11, 23, 10, 20, 5, 123456, tzinfo=UTC)
MILLION = 1_000_000
ENTITLED = Entitlement(
    state=State.ENTITLED,
    reason="registered",
    detail="AWS Marketplace has registered this pod, and its signature is right.",
    source=EntitlementSource.LIVE,
    product_code="0abc123example",
    public_key_version=1,
    since=NOW - timedelta(hours=3, minutes=20),
    registered_at=NOW - timedelta(hours=3, minutes=20),
)
WELL = Status(
    versions={"sidecar": "0.1.0", "python": "3.11.7"},
    now=NOW,
    started_at=NOW - timedelta(hours=3, minutes=20, seconds=2),
    check=EntitlementCheck.REGISTER,
    pricing=None,
    entitlement=ENTITLED,
    metering=Metering.OK,
    last_success_at=NOW - timedelta(minutes=17),
    oldest_unsent_hour=None,
    pod="5f0a7c1e-62f5-4b7c-9f0b-6a0d1c3e8b11",
    pod_source="downward-api",
    region="eu-central-1",
    credentials="irsa",
    mode="live",
    ledger_path="/var/lib/marketplace-sidecar/ledger.db",
    ledger_bytes=1_234_567,
    conservation={
        "requests": Terms(accepted=9_500_000, open=2 * MILLION, sealed=1_500_000, submitted=6 * MILLION),
        "gigabytes": Terms(accepted=125_000, submitted=125_000),
    },
    answers={"accepted": 6, "ThrottlingException": 1},
    accepted_events=15852,
    duplicate_events=2,
)
ILL = replace(
    WELL,
    entitlement=replace(
        ENTITLED,
        state=State.SUSPENDED,
        reason="customer-not-entitled",
        detail="The AWS account that runs this pod has no valid subscription to the product. Subscribe to the product "
        "in AWS Marketplace with the account that runs the pod.",
        since=NOW - timedelta(minutes=5),
    ),
    metering=Metering.FAILING,
    oldest_unsent_hour=NOW.replace(hour=5, minute=0, second=0, microsecond=0),
    in_doubt=2,
    findings=[
        Finding(
            "in-doubt",
            "2 records may or may not have been taken by AWS",
            "Compare with CloudTrail's MeterUsage events, then run `marketplace-sidecar ledger resolve`.",
            NOW - timedelta(seconds=17),
        )
    ],
    conservation={"requests": Terms(accepted=2 * MILLION, open=MILLION)},
)


def served(status: Status = WELL) -> dict[str, Any]:
    """Return a status as `/v1/status` serves it."""
    return status_members(status)
