"""A connection that failed: which address, for what cause, and the cure that fits this way to the service.

The SDK's own words name a proxy's URL or hide the cause in a class name. This text names the address, without anything
secret, and the cause as the operating system or OpenSSL gives it.
"""

import os
import ssl
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions
from botocore.utils import should_bypass_proxies

from sidecar.marketplace.emulation import EmulatorUnreachable
from sidecar.marketplace.errors import CredentialsMissing, MarketplaceError, NoAnswer, NotSent
from sidecar.marketplace.proxies import CURE, https_proxy
from sidecar.marketplace.sdk_settings import SettingRefused, refused_setting
from sidecar.marketplace.sealing import Misdirected

TRANSPORT = (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError)
"""What the SDK raises for a connection that fails or breaks."""
_DEEPEST = 8


class TokenServiceUnreachable(NotSent):
    """AWS's token service does not answer, so there are no credentials to sign with and the request never left."""

    cure = (
        "Allow the pod to reach the token service (STS) of its Region on port 443 (DNS, network policy, proxy, VPC "
        "endpoint for STS)."
    )


class ProxyUnreachable(NotSent):
    """The proxy does not answer or refuses the call, so the request never left."""

    cure = "Correct HTTPS_PROXY, or allow calls to this host in the proxy; NO_PROXY lists the hosts that need no proxy."


class CertificateRefused(NotSent):
    """The server's certificate is not trusted, so the request never left."""

    cure = (
        "If a proxy or firewall opens TLS, set AWS_CA_BUNDLE to a file with the certificate of its CA and the public "
        "ones; otherwise another server answers in AWS's place. Python 3.13 and later refuse certificates without key "
        "identifiers: such a CA must issue new ones."
    )


class ProxyUnusable(NotSent):
    """The environment names a proxy by a value that is not a URL, so nothing was called."""

    cure = CURE.format(name="the variable")


def require_usable_proxy(url: str) -> None:
    """Refuse a proxy that the SDK would take for another host, before any part of its URL gets into a name look-up.

    Args:
        url: What is called; a host that NO_PROXY names is called without the proxy.

    Raises:
        ProxyUnusable: With the variable's name, and without its value.
    """
    proxy = https_proxy(os.environ)
    if proxy is not None and proxy.fault is not None and not should_bypass_proxies(url):
        raise ProxyUnusable(f"{proxy.name} {proxy.fault}", NotSent.__name__)


def explain(
    failure: MarketplaceError, error: Exception, endpoint_url: str | None, *, for_credentials: bool
) -> MarketplaceError:
    """Return `failure` with address and cause, as the kind whose cure fits; unchanged if no connection failed.

    Args:
        failure: The error of the call so far; a kind that may have been sent stays that kind.
        error: What the SDK raised.
        endpoint_url: The emulator that is called, None for AWS.
        for_credentials: The call asked the token service; the request itself never left.
    """
    if isinstance(error, Misdirected):
        return failure  # its own sentence names the address and the cause
    refused = refused_setting(error, os.environ) if for_credentials and not isinstance(error, TRANSPORT) else None
    if refused is not None:
        return SettingRefused(refused, CredentialsMissing.__name__)
    if not isinstance(error, TRANSPORT) or not (for_credentials or isinstance(failure, NotSent | NoAnswer)):
        return failure
    text = describe(error)
    if isinstance(failure, NoAnswer) and not for_credentials:
        return NoAnswer(text, failure.code, failure.request_id)
    kind: type[NotSent] = NotSent
    if certificate_fault(error) is not None:
        kind = CertificateRefused
    elif endpoint_url is not None:
        kind = EmulatorUnreachable
    elif isinstance(error, botocore.exceptions.ProxyConnectionError):
        kind = ProxyUnreachable
    elif for_credentials:
        kind = TokenServiceUnreachable
    # One code for all of them, the documented one.
    return kind(text, NotSent.__name__)


def describe(error: Any) -> str:
    """Return the address and the cause of the SDK's error, `https://sts...: Connection refused`."""
    proxy = https_proxy(os.environ)
    if proxy is not None and proxy.fault is not None:
        # Whatever failed, the SDK's words may hold a part of the password.
        return f"{type(error).__name__}, and {proxy.name} {proxy.fault}"
    address = _without_user(str(error.kwargs.get("proxy_url") or error.kwargs.get("endpoint_url") or ""))
    cause = _cause(error)
    proxied = "the proxy " if isinstance(error, botocore.exceptions.ProxyConnectionError) else ""
    return f"{proxied}{address}: {cause}" if address else cause


def certificate_fault(error: Any) -> ssl.SSLCertVerificationError | None:
    """Return the refusal of a certificate behind the SDK's error, None if it has another cause."""
    return next((part for part in _chain(error) if isinstance(part, ssl.SSLCertVerificationError)), None)


def _cause(error: Any) -> str:
    refused = certificate_fault(error)
    if refused is not None:
        return f"the certificate is refused: {refused.verify_message or refused}"
    chain = _chain(error)
    for part in reversed(chain):
        if isinstance(part, OSError) and part.strerror:
            return part.strerror
    if isinstance(error, botocore.exceptions.ConnectTimeoutError):
        return "no connection within the time limit"
    if isinstance(error, botocore.exceptions.ReadTimeoutError):
        return "no answer within the time limit"
    # The innermost words, without the object that urllib3 puts before them.
    words = str(chain[-1]) if len(chain) > 1 else type(error).__name__
    return words.rpartition(">: ")[2].rpartition(" object at ")[2] if words.startswith("<") else words


def _chain(error: Any) -> list[BaseException]:
    """Return the errors behind an error of the SDK, the outermost first."""
    found: list[BaseException] = [error]
    for _ in range(_DEEPEST):
        last: Any = found[-1]
        inner = (
            getattr(last, "kwargs", {}).get("error") if isinstance(last, botocore.exceptions.BotoCoreError) else None
        )
        candidates = [inner, *getattr(last, "args", ()), last.__cause__, last.__context__]
        deeper = next((each for each in candidates if isinstance(each, BaseException) and each not in found), None)
        if deeper is None:
            break
        found.append(deeper)
    return found


def _without_user(url: str) -> str:
    """Return scheme, host and port of a URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
