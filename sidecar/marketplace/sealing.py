"""Keeps the SDK's calls on their way to AWS, regardless of the environment and the SDK's files.

Models and endpoint rules come from the package of the SDK alone, and every setting that chooses an address has one
value. Just before a request is sent, its address is judged once more: it must be https and the host of the service in
the Region that is called. The call that sends a web-identity token is judged too, because the credential chain of the
SDK makes its client in the same session, and so are those for a person who has signed in (IAM Identity Center, `aws
login`), whose Region is the profile's. Proxies and certificates are the choice of the operator and stay in force.
"""

from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions

from sidecar.marketplace.addresses import CALLED, host_of, is_sign_in
from sidecar.marketplace.endpoint import Endpoint
from sidecar.marketplace.package_data import package_data
from sidecar.marketplace.sdk_variables import PINNED

_HTTPS_PORT = 443


class Misdirected(botocore.exceptions.EndpointConnectionError):  # type: ignore[misc]
    """The request was about to go elsewhere and was not sent."""

    fmt = (
        'The request was not sent: its address "{endpoint_url}" is not https://{expected}. Remove what leads the AWS '
        "SDK elsewhere; `marketplace-sidecar doctor` names it"
    )


def seal(session: Any, endpoint: Endpoint) -> None:
    """Seal a session of the SDK before its first client is made. An emulator's address is not checked."""
    session.register_component("data_loader", package_data())
    settings = session.get_component("config_store")
    for name, (_, value) in PINNED.items():
        settings.set_config_variable(name, value)
    if endpoint.endpoint_url is None:
        session.register("before-send", _Guard(endpoint.region_name))


class _Guard:
    """Judges each request just before it is sent."""

    def __init__(self, region: str) -> None:
        self._region = region

    def __call__(self, request: Any, event_name: str, **_: Any) -> None:
        """Raise `Misdirected` unless the request goes to its service."""
        event_id = event_name.split(".")[1]
        service = CALLED.get(event_id)
        host = urlsplit(request.url).hostname or ""
        if service is None:
            expected = host if is_sign_in(event_id, host) else f"a service that the sidecar calls ({event_id})"
        else:
            expected = host_of(service, self._region)
        if not _leads_to(request.url, expected):
            raise Misdirected(endpoint_url=_address(request.url), expected=expected)


def _leads_to(url: str, host: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" and parts.hostname == host and parts.port in {None, _HTTPS_PORT}


def _address(url: str) -> str:
    """Return scheme, host and port: the rest of a URL may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
