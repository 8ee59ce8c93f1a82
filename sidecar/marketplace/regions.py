"""The Regions in which a container product can be metered on Amazon EKS and Amazon ECS.

AWS adds Regions on request, so the library calls a Region outside this list as well; `is_listed` is for a
warning. The SDK builds a host name for any Region: where there is no metering, the name is not found. What is not the
name of a Region at all is refused. The pod's Region comes from its environment: AWS refuses calls from another one.
"""

import re
from collections.abc import Mapping
from typing import Final

from sidecar.marketplace.environment import describe_padding
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

SHAPE = re.compile(r"[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}", re.ASCII)
"""The name of a Region in any partition, such as us-gov-west-1 or eusc-de-east-1."""


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
        UnsupportedRegion: There is none, or what is named is no Region.
    """
    name = configured or named_region(environ)
    if name is None:
        raise UnsupportedRegion("neither AWS_REGION nor AWS_DEFAULT_REGION is set")
    if not SHAPE.fullmatch(name):
        padding = describe_padding(name)
        why = "is not the name of a Region" if padding is None else padding
        raise UnsupportedRegion(f"the Region {name!r} {why}")
    return name


def is_listed(region: str) -> bool:
    """Return whether AWS lists the Region for custom metering of container products."""
    return region in REGIONS


def unlisted(region: str) -> str:
    """Return a sentence about what a Region outside the list means."""
    return (
        f"Region {region} is not among the {len(REGIONS)} in which AWS lists custom metering for containers; AWS adds "
        "Regions on request, so it is called all the same"
    )


UNLISTED_CURE: Final = (
    "Ask AWS Marketplace whether the product is metered in this Region; if it is not, run the pod in one of "
    f"{', '.join(REGIONS)}."
)
