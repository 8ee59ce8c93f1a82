"""Compares settings with each other: refuses combinations that cannot work, or that would fail silently later.

A rule applies only if all settings that it compares are valid.
"""

import ipaddress
from datetime import timedelta

from sidecar.domain import durations
from sidecar.domain.entitlement.price import contradict
from sidecar.domain.policy import EntitlementCheck, Pricing, StartProbe
from sidecar.settings.groups import (
    ApiSettings,
    MarketplaceSettings,
    MeteringSettings,
    Mode,
    ProbeSettings,
    Product,
    Settings,
)
from sidecar.settings.problems import Problem
from sidecar.settings.section import Reading
from sidecar.settings.values import suggest


def compare(settings: Settings, reading: Reading) -> None:
    """Report a problem for each combination of settings that cannot work."""
    _product(settings, reading)
    _entitlement(settings, reading)
    _probe_dimension(settings, reading)
    _license(settings, reading)
    _window(settings.metering, reading)
    _listeners(settings.api, settings.probes, reading)
    _endpoint(settings.marketplace, reading)


def _product(settings: Settings, reading: Reading) -> None:
    code, trusted = settings.product.code, settings.product.trusted_codes
    if trusted and code not in trusted and reading.sound("product.code", "product.trusted_codes"):
        _note(reading, "product.code", repr(code), "is not one of product.trusted_codes", "correct one of the two")


def _entitlement(settings: Settings, reading: Reading) -> None:
    if not reading.sound("entitlement.check", "product.pricing"):
        return
    product, chosen = settings.product, settings.entitlement.check
    if contradict(chosen, product.pricing):
        _note(
            reading,
            "entitlement.check",
            chosen.value,
            f"is not the check of product.pricing: {product.pricing}",
            "remove it (auto takes the check of the price), or correct product.pricing",
        )
        if product.pricing is Pricing.CONTRACT:
            _sku(product, reading, "contract prices need it")
        return
    match settings.check:
        case EntitlementCheck.REGISTER:
            _keys(settings, reading)
        case EntitlementCheck.METER:
            _metered(settings, reading)
        case EntitlementCheck.LICENSE:
            _sku(product, reading, "contract prices need it")
        case EntitlementCheck.NONE | EntitlementCheck.AUTO:
            pass


def _keys(settings: Settings, reading: Reading) -> None:
    product = settings.product
    version = product.public_key_version
    if not reading.sound("product.public_key_version", "product.public_keys", f"product.public_keys.{version}"):
        return
    if version not in product.public_keys:
        _note(
            reading,
            "product.public_keys",
            None,
            f"has no key of version {version}, which entitlement.check: register needs to verify signatures",
            f"add {version}: /path/of/{version}.pem",
        )


def _metered(settings: Settings, reading: Reading) -> None:
    if settings.entitlement.probe is StartProbe.LICENSE and reading.sound("entitlement.probe"):
        _sku(settings.product, reading, "entitlement.probe: license needs it")
    if not reading.sound("metering.dimensions", "product.public_keys"):
        return
    undecided = settings.product.pricing is None and settings.entitlement.check is EntitlementCheck.AUTO
    if not settings.metering.dimensions and undecided:
        if reading.sound("product.public_key_version"):
            version = settings.product.public_key_version
            _note(
                reading,
                "product.public_keys",
                None,
                f"has no key of version {version}, which hourly prices need to verify signatures; and there is no "
                "dimension, which custom prices need",
                f"add {version}: /path/of/{version}.pem or a dimension, and set product.pricing",
            )
    elif not settings.metering.dimensions:
        _note(
            reading,
            "entitlement.check",
            settings.entitlement.check.value,
            "asks AWS about metering.dimensions, which is empty",
            "add a dimension for a custom price, or set product.pricing to hourly and add a public key",
        )


def _sku(product: Product, reading: Reading, why: str) -> None:
    if product.id is None and reading.sound("product.id"):
        _note(
            reading,
            "product.id",
            None,
            f"is missing, and {why}",
            "set the product ID of the listing, such as prod-abcdefghijklm",
        )


def _probe_dimension(settings: Settings, reading: Reading) -> None:
    name, dimensions = settings.entitlement.probe_dimension, settings.metering.dimensions
    if name is None or not reading.sound("entitlement.probe_dimension", "metering.dimensions"):
        return
    names = [dimension.name for dimension in dimensions]
    if name not in names:
        cure = suggest(name, names) or "name one of them, or remove the key to use the first"
        _note(reading, "entitlement.probe_dimension", repr(name), "is not one of metering.dimensions", cure)


def _license(settings: Settings, reading: Reading) -> None:
    policy = settings.license
    if not reading.sound("license.require", "license.tiers"):
        return
    if settings.check in {EntitlementCheck.REGISTER, EntitlementCheck.METER} and reading.sound(
        "entitlement.check", "product.pricing", "product.public_keys"
    ):
        for key, names in (("license.require", policy.require), ("license.tiers", policy.tiers)):
            if names:
                _note(
                    reading,
                    key,
                    f"a list of {len(names)}",
                    f"is of a contract price, and the check in force is {settings.check}",
                    "set product.pricing to contract, or remove it",
                )
    for at, required in enumerate(policy.require):
        if required.hold and required.name in policy.tiers:
            _note(
                reading,
                f"license.require[{at}].hold",
                str(required.hold),
                f"is of {required.name}, which is one of license.tiers, and a tier has no seats",
                "remove hold, or take the name out of license.tiers",
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
