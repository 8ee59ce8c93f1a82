"""Where each service that is called has its address, by the SDK's own rules in its package and by nothing else.

A host is not always the service's name before the Region: partitions differ, and some Regions have names of their own.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final
from urllib.parse import urlsplit

from botocore.endpoint_provider import EndpointProvider

from sidecar.marketplace.package_data import package_data

CALLED: Final[Mapping[str, str]] = {
    "marketplace-metering": "meteringmarketplace",
    "sts": "sts",
    "license-manager": "license-manager",
    "marketplace-entitlement-service": "marketplace-entitlement",
}
"""Every service that is called: its id in the SDK's events, and the name that the SDK makes a client by."""
SIGN_IN: Final = frozenset({"sso", "sso-oidc", "signin"})
"""What the SDK asks for the credentials of a person who has signed in; id and name are the same."""
_REGION = re.compile(r"[a-z]+(?:-[a-z0-9]+)+")


@cache
def address_of(service: str, region: str) -> str:
    """Return the URL of a service in a Region, `https://sts.eu-west-1.amazonaws.com`; asks no network.

    Args:
        service: The name that the SDK makes a client by.
        region: Any Region; one that is too new for the SDK has the address that its partition's rules give.
    """
    data = package_data()
    rules = data.load_service_model(service, "endpoint-rule-set-1")
    provider = EndpointProvider(rules, data.load_data("partitions"))
    return str(provider.resolve_endpoint(Region=region, UseDualStack=False, UseFIPS=False).url)


def is_sign_in(service: str, host: str) -> bool:
    """Return whether a host is that of a service of `SIGN_IN`: in any Region, for the person's profile names it."""
    regions = filter(_REGION.fullmatch, host.split("."))
    return service in SIGN_IN and any(host == host_of(service, region) for region in regions)


def host_of(service: str, region: str) -> str:
    """Return the host of a service in a Region."""
    return str(urlsplit(address_of(service, region)).hostname)
