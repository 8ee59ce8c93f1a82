"""What the tests of emulated licenses ask for, through an AWS SDK."""

from typing import Any

FINGERPRINT = "aws:294406891311:AWS/Marketplace:issuer-fingerprint"
FROZEN = "2026-11-23T10:00:00Z"
USERS = {"Name": "users", "Unit": "Count", "MaxCount": 2, "Overage": False, "AllowCheckIn": True}
USAGE = {"Name": "AWS::Marketplace::Usage", "Unit": "None"}
TIER = {"Name": "pro", "Unit": "None", "Value": "Enabled"}


def check_out(client: Any, token: str, *asked: tuple[str, str, str | None], **members: Any) -> Any:
    """Check out entitlements, by default one user for the time being."""
    entitlements = [
        {"Name": name, "Unit": unit, **({} if value is None else {"Value": value})}
        for name, unit, value in asked or (("users", "Count", "1"),)
    ]
    return client.checkout_license(
        **{
            "ProductSKU": "prod-1",
            "CheckoutType": "PROVISIONAL",
            "KeyFingerprint": FINGERPRINT,
            "Entitlements": entitlements,
            "ClientToken": token,
            **members,
        }
    )


def extend(client: Any, token: str, **members: Any) -> Any:
    """Extend a checkout."""
    return client.extend_license_consumption(LicenseConsumptionToken=token, **members)


def check_in(client: Any, token: str) -> Any:
    """Return a checkout."""
    return client.check_in_license(LicenseConsumptionToken=token)
