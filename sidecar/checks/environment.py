"""The proxy and the certificates that the environment sets for calls to AWS. Asks no network."""

import ssl
from collections.abc import Mapping

from sidecar.domain.check_result import Check, CheckResult
from sidecar.domain.plaintext import reason_of
from sidecar.marketplace.proxies import https_proxy
from sidecar.settings import Mode

PROXY = Check("proxy", "Calls to AWS go through the proxy that the environment names; a wrong one stops them all.")
CERTIFICATES = Check("certificates", "AWS, or a proxy that opens TLS, is trusted by a certificate in the bundle only.")

_BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
"""In the SDK's order."""


def check_proxy(mode: Mode, environ: Mapping[str, str]) -> CheckResult:
    """Judge the proxy for https; a password in it is not shown."""
    if mode is Mode.EMULATOR:
        return PROXY.skipped("calls to an emulator go past every proxy")
    proxy = https_proxy(environ)
    if proxy is None:
        return PROXY.ok("no proxy is set; calls go directly")
    if not proxy.value:
        return PROXY.warn(
            f"{proxy.name} is empty and hides {proxy.hides}: calls go directly",
            f"Unset {proxy.name} to use the proxy of {proxy.hides}, or unset both.",
        )
    if proxy.fault is not None:
        return PROXY.fail(f"{proxy.name} {proxy.fault}", proxy.cure)
    hidden = f", and hides {proxy.hides}" if proxy.hides and environ[proxy.hides] != proxy.value else ""
    return PROXY.ok(f"{proxy.name} names {proxy.shown}{hidden}")


def check_certificates(environ: Mapping[str, str]) -> CheckResult:
    """Judge the file of certificates, if one replaces the SDK's own."""
    name = next((name for name in _BUNDLES if environ.get(name)), None)
    if name is None:
        return CERTIFICATES.ok("the certificates that come with the SDK")
    path = environ[name]
    cure = f"Set {name} to a readable file of PEM certificates, or unset it."
    try:
        context = ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:  # what ssl finds wrong in the file is an OSError too
        return CERTIFICATES.fail(f"{name}: {path} cannot be used: {reason_of(error)}", cure)
    count = len(context.get_ca_certs())
    if not count:
        return CERTIFICATES.fail(f"{name}: {path} holds no certificate of an authority", cure)
    return CERTIFICATES.ok(f"{name}: {path} holds {count} certificates of authorities")
