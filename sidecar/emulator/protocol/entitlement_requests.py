"""The shape of the request of the Entitlement Service's operation, from the service model.

Whether a request is allowed is for the rules.
"""

import re
from collections.abc import Mapping

from sidecar.emulator.protocol.shapes import Many, Structure, Text, Whole

FILTERS = ("CUSTOMER_IDENTIFIER", "DIMENSION", "CUSTOMER_AWS_ACCOUNT_ID", "LICENSE_ARN")
"""What entitlements can be filtered by."""
LARGEST_PAGE = 25

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
