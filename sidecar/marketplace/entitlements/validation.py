"""What the Entitlement Service would refuse, found before sending.

`faults` lists every fault of a request with its path in the service's own member names. It refuses to know products
and customers.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from sidecar.marketplace.entitlements.types import GetEntitlementFilterName, GetEntitlementsRequest
from sidecar.marketplace.errors import RequestFault
from sidecar.marketplace.limits import Limit, check_each, check_text, check_whole_number

LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        "FilterValueList": Limit(minimum=1),
        "NonEmptyString": Limit(pattern=r"\S+"),
        "PageSizeInteger": Limit(1, 25),
        "ProductCode": Limit(1, 255),
    }
)
"""Every bound of the service model that a request can break, by the name of its shape."""

_ANY_TEXT = Limit(minimum=1)
"""A value of a filter, which the model leaves without bounds; empty it would name nothing."""


def faults(request: GetEntitlementsRequest) -> list[RequestFault]:
    """Return everything that is wrong with `request`, in the order of its members; empty when it may be sent."""
    return [
        *check_text("ProductCode", request.product_code, LIMITS["ProductCode"]),
        *_filter(request.filter),
        *check_whole_number("MaxResults", request.max_results, LIMITS["PageSizeInteger"], optional=True),
    ]


def _filter(given: object) -> Iterator[RequestFault]:
    if given is None:
        return
    if not isinstance(given, Mapping):
        yield RequestFault("Filter", "must be a mapping from a filter's name to its values")
        return
    for name, values in given.items():
        if name not in list(GetEntitlementFilterName):
            yield RequestFault("Filter", f"has a key other than {', '.join(GetEntitlementFilterName)}")
            continue
        yield from check_each(
            f"Filter.{name}",
            values,
            LIMITS["FilterValueList"],
            str,
            lambda path, value: check_text(path, value, _ANY_TEXT),
        )
    names = GetEntitlementFilterName
    if names.CUSTOMER_IDENTIFIER in given and names.CUSTOMER_AWS_ACCOUNT_ID in given:
        yield RequestFault("Filter", "has CUSTOMER_IDENTIFIER and CUSTOMER_AWS_ACCOUNT_ID; give only one of them")
