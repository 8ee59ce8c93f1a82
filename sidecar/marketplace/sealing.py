"""Keeps the SDK's calls on their way to AWS, regardless of the environment and the SDK's files.

Models and endpoint rules come from the package of the SDK alone, and every setting that chooses an address has one
value. Just before a request is sent, its address is judged once more: it must be https and the host of the service in
the Region that is called. The call that sends a web-identity token is judged too, because the credential chain of the
SDK makes its client in the same session. Proxies and certificates are the choice of the operator and stay in force.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import botocore.exceptions

from sidecar.marketplace.endpoint import Endpoint
from sidecar.marketplace.package_data import package_data
from sidecar.marketplace.sdk_variables import PINNED

HOSTS: Final[Mapping[str, str]] = {
    "marketplace-metering": "metering.marketplace",
    "sts": "sts",
    "license-manager": "license-manager",
    "marketplace-entitlement-service": "entitlement.marketplace",
}
"""Every service that is called: its id in the SDK's events, and how its host begins."""
_HTTPS_PORT = 443


class Misdirected(botocore.exceptions.EndpointConnectionError):  # type: ignore[misc]
    """The request was about to go elsewhere and was not sent."""

    fmt = (
        'The request was not sent: its address "{endpoint_url}" is not https://{expected}. Remove what leads the AWS '
        "SDK elsewhere; `marketplace-sidecar doctor` names it"
    )


def seal(session: Any, endpoint: Endpoint) -> None:
    """Seal a session of the SDK before its first client is made. An emulator's address is not checked."""
    loader = package_data()
    session.register_component("data_loader", loader)
    settings = session.get_component("config_store")
    for name, (_, value) in PINNED.items():
        settings.set_config_variable(name, value)
    if endpoint.endpoint_url is None:
        suffix = _suffix(loader.load_data("partitions"), endpoint.region_name)
        hosts = {service: f"{prefix}.{endpoint.region_name}.{suffix}" for service, prefix in HOSTS.items()}
        session.register("before-send", _Guard(hosts))


class _Guard:
    """Judges each request just before it is sent."""

    def __init__(self, hosts: Mapping[str, str]) -> None:
        self._hosts = hosts

    def __call__(self, request: Any, event_name: str, **_: Any) -> None:
        """Raise `Misdirected` unless the request goes to its service."""
        service = event_name.split(".")[1]
        expected = self._hosts.get(service, f"a service that the sidecar calls ({service})")
        if not _leads_to(request.url, expected):
            raise Misdirected(endpoint_url=_address(request.url), expected=expected)


def _leads_to(url: str, host: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and parts.hostname == host and parts.port in {None, _HTTPS_PORT}


def _address(url: str) -> str:
    """Return scheme, host and port: the rest of a URL may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _suffix(data: Mapping[str, Any], region: str) -> str:
    """Return the DNS suffix of the partition that a Region belongs to, by the SDK's own table."""
    for partition in data["partitions"]:
        if region in partition["regions"] or re.fullmatch(partition["regionRegex"].strip("^$"), region):
            return str(partition["outputs"]["dnsSuffix"])
    return "amazonaws.com"
