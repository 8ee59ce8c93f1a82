"""The request of the Entitlement Service's operation as a value, and its shape from the service model.

Invariant: a request that exists is well-formed; whether it is allowed is for the rules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sidecar.emulator.protocol.shapes import Many, Structure, Text, Whole

FILTERS = ("CUSTOMER_IDENTIFIER", "DIMENSION", "CUSTOMER_AWS_ACCOUNT_ID", "LICENSE_ARN")
"""What entitlements can be filtered by."""
LARGEST_PAGE = 25


@dataclass(frozen=True, slots=True)
class GetEntitlementsRequest:
    """One page of the entitlements of a product's customers."""

    product_code: str
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The values of each filter; one of them must fit."""
    next_token: str | None = None
    page_size: int = LARGEST_PAGE


ENTITLEMENT_REQUESTS: Mapping[str, Structure] = {
    "GetEntitlements": Structure(
        {
            "ProductCode": Text(1, 255),
            "Filter": Structure(dict.fromkeys(FILTERS, Many(Text(), least=1)), closed=True),
            "NextToken": Text(pattern=re.compile(r"\S+")),
            "MaxResults": Whole(1, LARGEST_PAGE),
        },
        frozenset({"ProductCode"}),
    )
}
"""The request of the operation, from the service model."""


def read_entitlement_request(members: dict[str, Any]) -> GetEntitlementsRequest:
    """Make the request from members that `shapes` has checked."""
    return GetEntitlementsRequest(
        members["ProductCode"],
        {name: tuple(values) for name, values in members.get("Filter", {}).items()},
        members.get("NextToken"),
        members.get("MaxResults", LARGEST_PAGE),
    )
