"""The AWS Marketplace Entitlement Service as an asyncio library: what the customers of a SaaS contract have bought.

Open an `EntitlementServiceClient` on an `Endpoint` and call `get_entitlements`; `sidecar.marketplace.call` retries it.
Importing this package does not load the AWS SDK, and `sidecar.marketplace` does not load this package.
"""
# ruff: noqa: F403 - errors and types that are added to their modules are exported without another list

from sidecar.marketplace.entitlements.client import REGION as REGION
from sidecar.marketplace.entitlements.client import EntitlementService as EntitlementService
from sidecar.marketplace.entitlements.client import EntitlementServiceClient as EntitlementServiceClient
from sidecar.marketplace.entitlements.errors import *
from sidecar.marketplace.entitlements.types import *
from sidecar.marketplace.entitlements.validation import faults as faults
