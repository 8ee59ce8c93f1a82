"""The service models of the installed SDK: what each operation of a service may answer."""

from typing import Any

import botocore.loaders

MODEL: dict[str, Any] = botocore.loaders.Loader().load_service_model("meteringmarketplace", "service-2")
"""AWS Marketplace Metering."""
LICENSE_MODEL: dict[str, Any] = botocore.loaders.Loader().load_service_model("license-manager", "service-2")
"""AWS License Manager."""
ENTITLEMENT_MODEL: dict[str, Any] = botocore.loaders.Loader().load_service_model("marketplace-entitlement", "service-2")
"""AWS Marketplace Entitlement Service."""
LICENSE_OPERATIONS = (
    "CheckoutLicense",
    "CheckInLicense",
    "ExtendLicenseConsumption",
    "GetLicense",
    "GetLicenseUsage",
    "ListReceivedLicenses",
)
"""Those of License Manager's operations that a licensed product calls."""


def modelled(operation: str, model: dict[str, Any] = MODEL) -> frozenset[str]:
    """Return the names of the errors that the model gives `operation`."""
    return frozenset(error["shape"] for error in model["operations"][operation]["errors"])
