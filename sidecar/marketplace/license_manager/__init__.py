"""AWS License Manager as an asyncio library: the license of a product with a contract price.

Open a `LicenseManagerClient` on an `Endpoint` and call the six operations; `sidecar.marketplace.call` retries them.
Importing this package does not load the AWS SDK, and `sidecar.marketplace` does not load this package.
"""
# ruff: noqa: F403 - errors and types that are added to their modules are exported without another list

from sidecar.domain.entitlement.licenses import MARKETPLACE_FINGERPRINT as MARKETPLACE_FINGERPRINT
from sidecar.domain.entitlement.licenses import LicenseStatus as LicenseStatus
from sidecar.marketplace.license_manager.client import LicenseManager as LicenseManager
from sidecar.marketplace.license_manager.client import LicenseManagerClient as LicenseManagerClient
from sidecar.marketplace.license_manager.errors import *
from sidecar.marketplace.license_manager.types import *
from sidecar.marketplace.license_manager.validation import faults as faults
