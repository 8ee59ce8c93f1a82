"""The way to AWS: names, the connection with its certificate, and the service's clock."""

import socket
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from sidecar.domain import skew
from sidecar.domain.check_result import Check, CheckResult
from sidecar.domain.plaintext import reason_of
from sidecar.marketplace.emulation import EmulatorUnreachable
from sidecar.marketplace.probing import NO_BUNDLE, ProbeFailed, ServiceProbe
from sidecar.marketplace.unreachable import CertificateRefused, ProxyUnreachable

DNS = Check("dns", "Without its name's address no service can be called.")
ENDPOINT = Check("endpoint", "Registration and every hour's usage go to this address.")
CLOCK = Check("clock", "AWS refuses calls signed more than 5 minutes off, and hours are cut by this clock.")

_OPEN = (
    "Allow the pod to reach it on its port (network policy, security group, route to the internet or a VPC endpoint)."
)
_NAMES = (
    "Allow the pod to query the cluster's DNS (network policy, port 53), and the cluster the internet's or the VPC's."
)
_EMULATED = "an emulator has a clock of its own, which the sidecar follows"
_BUNDLE = "Set AWS_CA_BUNDLE to a readable file of PEM certificates, or unset it."
CURES = {
    "ProxyConnectionError": ProxyUnreachable.cure,
    CertificateRefused.__name__: CertificateRefused.cure,
    "SSLError": "Check that the address speaks TLS, and that nothing between cuts the connection.",
    NO_BUNDLE: _BUNDLE,
}
"""What to do about a connection that fails, by its code, whatever service it leads to."""


def check_dns(urls: Iterable[str], cure: str = _NAMES) -> CheckResult:
    """Look up the hosts of `urls`; of a proxied one the caller names the proxy."""
    found, missing = [], []
    for host, port in dict.fromkeys(map(_address, urls)):
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            missing.append(f"{host}: {reason_of(error)}")
        else:
            found.append(f"{host} is {addresses[0][4][0]}")
    if missing:
        return DNS.fail("; ".join(missing), cure)
    return DNS.ok("; ".join(found))


def open_way(probe: ServiceProbe, otherwise: str = _OPEN) -> str:
    """Return the cure of a connection that fails: the emulator's own, or `otherwise` on the way to AWS."""
    return EmulatorUnreachable.cure if probe.emulated else otherwise


def look_up(probe: ServiceProbe) -> CheckResult:
    """Look up the services that a probe leads to, or the proxies before them."""
    addresses = [probe.address(service) for service in ("meteringmarketplace", "sts")]
    return check_dns((probe.proxy(address) or address for address in addresses), open_way(probe, _NAMES))


def check_license_clock(probe: ServiceProbe) -> CheckResult:
    """Compare License Manager's clock with this machine's, where AWS Marketplace Metering is not called."""
    if probe.emulated:
        return CLOCK.skipped(_EMULATED)
    asked_at = datetime.now(UTC)
    try:
        shown = probe.reach(probe.address("license-manager"))
    except ProbeFailed as failed:
        return CLOCK.skipped(f"License Manager gave no answer to compare with: {failed}")
    return _judge_shown(shown, asked_at)


def check_endpoint(probe: ServiceProbe) -> Iterator[CheckResult]:
    """Ask the metering service anything, and compare its clock with this machine's."""
    url = probe.address("meteringmarketplace")
    proxy = probe.proxy(url)
    way = f"{url} through {proxy}" if proxy else url
    asked_at = datetime.now(UTC)
    try:
        shown = probe.reach(url)
    except ProbeFailed as failed:
        yield ENDPOINT.fail(f"{way}: {failed}", failed.cure or CURES.get(failed.code, open_way(probe)))
        yield CLOCK.skipped("the service gave no answer to compare with")
        return
    clock = CLOCK.skipped(_EMULATED) if probe.emulated else _judge_shown(shown, asked_at)
    yield ENDPOINT.ok(f"{way} answers")
    yield clock


def _judge_shown(shown: datetime | None, asked_at: datetime) -> CheckResult:
    if shown is None:
        return CLOCK.skipped("the service's answer has no date")
    return judge_clock(shown, asked_at, datetime.now(UTC))


def judge_clock(shown: datetime, asked_at: datetime, answered_at: datetime) -> CheckResult:
    """Compare the date of an answer, in whole seconds, with the instants between which it was given."""
    off = skew.measure(shown, asked_at, answered_at)
    found = skew.describe(off)
    if abs(off) > skew.WRONG_FROM:
        return CLOCK.fail(found, skew.CURE)
    return CLOCK.warn(found, skew.CURE) if abs(off) > skew.DOUBTFUL_FROM else CLOCK.ok(found)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
