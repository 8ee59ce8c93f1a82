"""Licenses, checkouts and their usage in the members of License Manager's answers."""

import base64
import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from sidecar.emulator.protocol.instants import EPOCH, format_instant
from sidecar.emulator.protocol.license_requests import EntitlementAsked
from sidecar.emulator.rules.checkouts import TIME_TO_LIVE
from sidecar.emulator.rules.licenses import NO_COUNT, amount_held, license_status
from sidecar.emulator.state.customers import RUNNING_ACCOUNT
from sidecar.emulator.state.license_entries import Checkout, EntitlementTerms, License
from sidecar.emulator.state.store import State

_SIGNED_TOKEN_LENGTH = 4096
"""The least that the service model has for it."""


def show_license(license_: License, now: datetime) -> dict[str, Any]:
    """Return a license as GetLicense does."""
    validity = {"Begin": format_instant(license_.begin)}
    if license_.end is not None:
        validity["End"] = format_instant(license_.end)
    return {
        "LicenseArn": license_.arn,
        "LicenseName": license_.sku,
        "ProductName": license_.sku,
        "ProductSKU": license_.sku,
        "Issuer": {"Name": license_.issuer, "KeyFingerprint": license_.fingerprint},
        "HomeRegion": license_.home_region,
        "Status": license_status(license_, now),
        "Validity": validity,
        "Beneficiary": RUNNING_ACCOUNT,
        "Entitlements": [_show_terms(terms) for terms in license_.entitlements],
        "ConsumptionConfiguration": {
            "RenewType": "None",
            "ProvisionalConfiguration": {"MaxTimeToLiveInMinutes": int(TIME_TO_LIVE.total_seconds() // 60)},
        },
        # The model has ISO 8601 here, AWS sends seconds.
        "CreateTime": str(int((license_.created_at - EPOCH).total_seconds())),
        "Version": str(license_.version),
    }


def show_granted(license_: License, now: datetime) -> dict[str, Any]:
    """Return a license as ListReceivedLicenses does."""
    received: dict[str, Any] = {"ReceivedStatus": license_.received}
    if license_.received == "ACTIVE":
        received["AllowedOperations"] = [
            "CheckoutLicense",
            "CheckInLicense",
            "ExtendConsumptionLicense",
            "ListReceivedLicenses",
        ]
    if license_.grant_type is not None:
        received["GrantType"] = license_.grant_type
    return {**show_license(license_, now), "ReceivedMetadata": received}


def show_checkout(checkout: Checkout) -> dict[str, Any]:
    """Return a checkout as CheckoutLicense does."""
    shown: dict[str, Any] = {
        "CheckoutType": checkout.request.checkout_type,
        "LicenseConsumptionToken": checkout.consumption_token,
        "EntitlementsAllowed": [_show_asked(asked) for asked in checkout.request.entitlements],
        "SignedToken": _signed_token(checkout),
        "IssuedAt": format_instant(checkout.issued_at),
        "LicenseArn": checkout.license_arn,
    }
    if checkout.request.node_id is not None:
        shown["NodeId"] = checkout.request.node_id
    if checkout.expires_at is not None:
        shown["Expiration"] = format_instant(checkout.expires_at)
    return shown


def show_extension(checkout: Checkout) -> dict[str, Any]:
    """Return an extended checkout as ExtendLicenseConsumption does."""
    return {name: value for name, value in show_checkout(checkout).items() if name in _EXTENSION}


_EXTENSION = ("LicenseConsumptionToken", "Expiration")


def show_usage(state: State, license_: License, now: datetime) -> dict[str, Any]:
    """Return the usage of a license as GetLicenseUsage does."""
    usages = []
    for terms in license_.entitlements:
        held = amount_held(state.checkouts.values(), license_.arn, terms.name, now)
        usage = {"Name": terms.name, "ConsumedValue": _plain(held), "Unit": terms.unit}
        if terms.unit != NO_COUNT and terms.max_count is not None:
            usage["MaxCount"] = str(terms.max_count)
        usages.append(usage)
    return {"EntitlementUsages": usages}


def _show_terms(terms: EntitlementTerms) -> dict[str, Any]:
    shown = {
        "Name": terms.name,
        "Unit": terms.unit,
        "Value": terms.value,
        "MaxCount": terms.max_count,
        "Overage": terms.overage,
        "AllowCheckIn": terms.allow_check_in,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _show_asked(asked: EntitlementAsked) -> dict[str, Any]:
    shown = {"Name": asked.name, "Unit": asked.unit}
    return shown if asked.value is None else {**shown, "Value": asked.value}


def _plain(amount: Decimal) -> str:
    return f"{amount:f}"


def _signed_token(checkout: Checkout) -> str:
    """Return a token of the right form and length. Its signature is filler: the emulator has no key of an issuer."""
    claims = {"sub": checkout.license_arn, "iat": format_instant(checkout.issued_at), "iss": "emulator"}
    parts = (json.dumps(part).encode() for part in ({"alg": "PS256", "typ": "JWT"}, claims))
    encoded = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    return f"{encoded}.".ljust(_SIGNED_TOKEN_LENGTH, "A")
