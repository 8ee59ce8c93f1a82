"""What AWS allows the caller: assume the role, and meter each dimension. Meters nothing and registers no pod."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sidecar.checks import network
from sidecar.domain.check_result import Check, CheckResult
from sidecar.marketplace import (
    AccessDenied,
    CredentialsMissing,
    MarketplaceError,
    NoAnswer,
    NotSent,
    ThrottlingException,
)
from sidecar.marketplace.probing import ProbeFailed, ServiceProbe
from sidecar.marketplace.unreachable import TokenServiceUnreachable

STS = Check("sts", "AWS's token service gives the credentials that every call is signed with.")
PERMISSION = Check("permission", "Without the permission AWS refuses registration and usage alike.")

ASK_WITHIN = timedelta(seconds=4)
"""After this long no further dimension is asked about."""
_TRUST = (
    "Make the role's trust policy allow sts:AssumeRoleWithWebIdentity to this cluster's OIDC provider, with the "
    "service account in the condition on its :sub and sts.amazonaws.com in the one on its :aud."
)
_RENEW = "Mount the token as a projected volume, which the kubelet renews, and check the clock."
_NO_SDK = "Correct or remove the SDK's files (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE), or unset AWS_PROFILE."
_KEYS = "Remove the static keys: they are not valid, and AWS Marketplace does not take such keys."
_CURES = network.CURES | {
    "AccessDenied": _TRUST,
    "AccessDeniedException": _TRUST,
    "InvalidIdentityToken": "Create the IAM OIDC provider of this cluster in the role's account, for its audience "
    "sts.amazonaws.com.",
    "ExpiredTokenException": _RENEW,
    "ExpiredToken": _RENEW,
    "ValidationError": "Correct the role's ARN in the service account's annotation eks.amazonaws.com/role-arn.",
    "RegionDisabledException": "Activate the token service for this Region in the account's IAM settings.",
    "InvalidClientTokenId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "CredentialRetrievalError": "On ECS give the task a task role; elsewhere correct what gives out the credentials.",
}


def refuse_sdk(broken: ProbeFailed) -> CheckResult:
    """Return the failure of an SDK that cannot be loaded, without which there are no credentials."""
    return STS.fail(f"the SDK does not start: {broken}", broken.cure or _NO_SDK)


def check_sts(probe: ServiceProbe) -> CheckResult:
    """Get credentials as the sidecar does, and ask which identity they belong to."""
    try:
        arn = probe.caller()
    except ProbeFailed as failed:
        return STS.fail(
            str(failed), failed.cure or _CURES.get(failed.code, network.open_way(probe, TokenServiceUnreachable.cure))
        )
    if arn is None:
        return STS.fail("there are no credentials", CredentialsMissing.cure)
    return STS.ok(f"AWS knows the caller as {arn}")


def check_permission(probe: ServiceProbe, product_code: str, dimensions: Sequence[str]) -> CheckResult:
    """Ask by dry runs whether the caller may meter each dimension. RegisterUsage has none and is not tried."""
    if not dimensions:
        return PERMISSION.skipped("there is no dimension to try MeterUsage with; RegisterUsage has no dry run")
    allowed: list[str] = []
    refused: dict[str, MarketplaceError] = {}
    deadline = time.monotonic() + ASK_WITHIN.total_seconds()
    for dimension in dimensions:
        if time.monotonic() > deadline:
            break
        try:
            probe.try_meter_usage(product_code, dimension, datetime.now(UTC))
        except (CredentialsMissing, TokenServiceUnreachable):
            return PERMISSION.skipped("there are no credentials to ask with")
        except MarketplaceError as error:
            refused[dimension] = error
            if isinstance(error, AccessDenied | NotSent | NoAnswer):
                break  # neither policies nor the network know dimensions
        else:
            allowed.append(dimension)
    return _judge(allowed, refused, [name for name in dimensions if name not in allowed and name not in refused])


def _judge(allowed: Sequence[str], refused: dict[str, MarketplaceError], unasked: Sequence[str]) -> CheckResult:
    parts = [f"MeterUsage would be taken for {', '.join(allowed)}"] if allowed else []
    parts += [f"{dimension}: {error}" for dimension, error in refused.items()]
    parts += [f"not asked about {', '.join(unasked)}"] if unasked else []
    found = "; ".join(parts)
    faults = [error for error in refused.values() if not isinstance(error, ThrottlingException)]
    if faults:
        return PERMISSION.fail(found, " ".join(dict.fromkeys(error.cure for error in faults)))
    if refused or unasked:
        return PERMISSION.warn(found, "Ask again later: the account's calls are many, or its answers slow.")
    return PERMISSION.ok(found)
