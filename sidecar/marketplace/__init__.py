"""The AWS Marketplace Metering Service as an asyncio library.

Open a `MarketplaceMeteringClient` on an `Endpoint` and call the four operations; `call` and `submit_batch` retry
them; docs/library.md has a program for each. Importing this package does not load the AWS SDK. The packages
`license_manager` and `entitlements` inside it have AWS License Manager and the AWS Marketplace Entitlement Service, and
are loaded only by their own names.
"""
# ruff: noqa: F403 - errors and types that are added to their modules are exported without another list

from sidecar.marketplace.client import MarketplaceMetering as MarketplaceMetering
from sidecar.marketplace.client import MarketplaceMeteringClient as MarketplaceMeteringClient
from sidecar.marketplace.endpoint import Endpoint as Endpoint
from sidecar.marketplace.errors import *
from sidecar.marketplace.identity import Identity as Identity
from sidecar.marketplace.identity import IdentityKind as IdentityKind
from sidecar.marketplace.identity import find_identity as find_identity
from sidecar.marketplace.regions import REGIONS as REGIONS
from sidecar.marketplace.regions import named_region as named_region
from sidecar.marketplace.regions import region_from as region_from
from sidecar.marketplace.retrying import BackOff as BackOff
from sidecar.marketplace.retrying import call as call
from sidecar.marketplace.sdk_variables import without_effect as without_effect
from sidecar.marketplace.service_errors import *
from sidecar.marketplace.submission import FailedPart as FailedPart
from sidecar.marketplace.submission import SubmittedBatch as SubmittedBatch
from sidecar.marketplace.submission import submit_batch as submit_batch
from sidecar.marketplace.types import *
from sidecar.marketplace.validation import faults as faults
