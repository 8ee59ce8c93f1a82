"""The bounds of License Manager's model, for its six operations."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from sidecar.marketplace.limits import LIMITS as METERING_LIMITS
from sidecar.marketplace.limits import Limit

LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        "Arn": Limit(maximum=2048, pattern=METERING_LIMITS["LicenseArn"].pattern),
        "ClientToken": Limit(maximum=2048, pattern=r"\S+"),
        "MaxSize100": Limit(1, 100),
    }
)
"""Every bound of the service model that a request can break, by the name of its shape."""

COUNTED = Limit(pattern=r"[1-9][0-9]{0,18}")
"""A value of a counted entitlement, a rule of ours: the model takes any text."""
ONE_OR_MORE = Limit(minimum=1)
"""The length of a list that means nothing when it is empty, a rule of ours."""
ONE = Limit(1, 1)
"""The length of a filter's values; the model says so in its words only."""
ANY_TEXT = Limit(minimum=1)
"""Text that the model leaves without bounds; empty it would name nothing."""
