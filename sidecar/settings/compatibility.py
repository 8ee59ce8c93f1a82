"""Compares settings with each other: refuses combinations that cannot work, or that would fail silently later.

A rule applies only if all settings that it compares are valid.
"""

import ipaddress
from datetime import timedelta

from sidecar.domain import durations
from sidecar.domain.policy import EntitlementCheck
from sidecar.settings.groups import ApiSettings, MarketplaceSettings, MeteringSettings, Mode, ProbeSettings, Settings
from sidecar.settings.problems import Problem
from sidecar.settings.section import Reading


def compare(settings: Settings, reading: Reading) -> None:
    """Report a problem for each combination of settings that cannot work."""
    _product(settings, reading)
    _entitlement(settings, reading)
    _window(settings.metering, reading)
    _listeners(settings.api, settings.probes, reading)
    _endpoint(settings.marketplace, reading)


def _product(settings: Settings, reading: Reading) -> None:
    code, trusted = settings.product.code, settings.product.trusted_codes
    if trusted and code not in trusted and reading.sound("product.code", "product.trusted_codes"):
        _note(reading, "product.code", repr(code), "is not one of product.trusted_codes", "correct one of the two")


def _entitlement(settings: Settings, reading: Reading) -> None:
    product, check = settings.product, settings.entitlement.check
    if check is EntitlementCheck.REGISTER and reading.sound("entitlement.check", "product.public_key_version"):
        version = product.public_key_version
        if (
            reading.sound("product.public_keys", f"product.public_keys.{version}")
            and version not in product.public_keys
        ):
            _note(
                reading,
                "product.public_keys",
                None,
                f"has no key of version {version}, which entitlement.check: register needs to verify signatures",
                f"add {version}: /path/of/{version}.pem",
            )
    if check is EntitlementCheck.METER and reading.sound("metering.dimensions") and not settings.metering.dimensions:
        _note(
            reading,
            "entitlement.check",
            "meter",
            "asks AWS about metering.dimensions, which is empty",
            "add a dimension, or set entitlement.check to register",
        )


def _window(metering: MeteringSettings, reading: Reading) -> None:
    due = timedelta(hours=1) + metering.settle + metering.spread
    if reading.sound("metering.window", "metering.settle", "metering.spread") and due >= metering.window:
        _note(
            reading,
            "metering.window",
            durations.render(metering.window),
            f"closes before every hour is due: 1h + settle + spread is {durations.render(due)}",
            "raise metering.window (up to 6h), or lower settle or spread",
        )


def _listeners(api: ApiSettings, probes: ProbeSettings, reading: Reading) -> None:
    if not reading.sound("api.host", "api.port", "probes.host", "probes.port") or api.port != probes.port:
        return
    if api.port and _overlap(api.host, probes.host):
        _note(
            reading,
            "probes.port",
            str(probes.port),
            f"is api.port too, and the listeners share an address: {probes.host} covers {api.host}",
            "set two different ports",
        )


def _overlap(loopback: str, host: str) -> bool:
    """Return whether two listeners on one port conflict; a name other than localhost counts as another address."""
    if host == loopback:
        return True
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    if address.is_unspecified:  # every address of every family
        return True
    if loopback == "localhost":
        return str(address) in {"127.0.0.1", "::1"}
    return address == ipaddress.ip_address(loopback)


def _endpoint(marketplace: MarketplaceSettings, reading: Reading) -> None:
    if not reading.sound("marketplace.mode", "marketplace.endpoint_url"):
        return
    if marketplace.mode is Mode.LIVE and marketplace.endpoint_url is not None:
        _note(
            reading,
            "marketplace.endpoint_url",
            repr(marketplace.endpoint_url),
            "has an effect only with mode: emulator",
            "remove it, or set marketplace.mode to emulator",
        )
    if marketplace.mode is Mode.EMULATOR and marketplace.endpoint_url is None:
        _note(
            reading,
            "marketplace.endpoint_url",
            None,
            "is missing, and mode: emulator needs it",
            "set the emulator's address, such as http://127.0.0.1:8789",
        )


def _note(reading: Reading, key: str, value: str | None, reason: str, cure: str) -> None:
    reading.problems.append(Problem(key, value, reason, cure))
