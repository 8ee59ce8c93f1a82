"""The Regions in which a container product can be metered on Amazon EKS and Amazon ECS.

The SDK builds a host name for any Region, so that a wrong one would show only as a failed name lookup; here it is
refused by name. The pod's Region comes from its environment, because AWS refuses calls from any other.
"""

from collections.abc import Mapping
from typing import Final

from sidecar.marketplace.errors import UnsupportedRegion

REGIONS: Final = (
    "ap-east-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
)
"""Custom metering for containers (AWS Marketplace Seller Guide)."""


def named_region(environ: Mapping[str, str]) -> str | None:
    """Return the Region that the environment names, AWS_REGION before AWS_DEFAULT_REGION; blank ones count as unset."""
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        name = environ.get(variable, "").strip()
        if name:
            return name
    return None


def region_from(environ: Mapping[str, str], configured: str | None = None) -> str:
    """Return the Region to call: `configured`, else the one that the environment names.

    Raises:
        UnsupportedRegion: There is none, or container products are not metered there.
    """
    name = configured or named_region(environ)
    supported = ", ".join(REGIONS)
    if name is None:
        raise UnsupportedRegion(f"neither AWS_REGION nor AWS_DEFAULT_REGION is set; supported are {supported}")
    if name not in REGIONS:
        raise UnsupportedRegion(f"container products are not metered in Region {name}; supported are {supported}")
    return name
