"""Settings that hold lists and mappings: public keys, trusted codes, dimensions, and the entitlements of a contract.

Refuses more dimensions than a listing can have, and two of one name. Each invalid member is a problem of its own.
"""

from pathlib import Path

from sidecar.domain.entitlement.license_policy import RequiredEntitlement
from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.settings import values
from sidecar.settings.entry import Entry, Kind
from sidecar.settings.groups import LARGEST_VERSION
from sidecar.settings.section import Reading, Section
from sidecar.settings.sources import read_source

MOST_DIMENSIONS = 24
"""Dimensions of one listing, AWS's limit."""
MOST_SEATS = 2**31 - 1
"""Seats that a pod can hold of one entitlement."""


def trusted_codes(reading: Reading, section: Section) -> tuple[str, ...]:
    """Return the product codes that `product.code` is compared with."""
    name = section.dotted("trusted_codes")
    items = _items(reading, section, "trusted_codes")
    return tuple(section.parse(f"{name}[{at}]", item, "", values.product_code) for at, item in enumerate(items))


def public_keys(reading: Reading, section: Section) -> dict[int, Path]:
    """Return the PEM file of each key version."""
    name = section.dotted("public_keys")
    entry = section.take("public_keys")
    keys: dict[int, Path] = {}
    if entry is None or entry.kind is Kind.NOTHING:
        return keys
    if entry.kind is not Kind.MAP:
        reading.complain(name, entry, "is not a mapping", "write it as {1: /path/of/1.pem}")
        return keys
    for version, path in entry.members.items():
        # Tools that go through JSON turn the numbers into text: 1 and "1" name the same version.
        number = Entry(Kind.WHOLE, path.where, version)
        key = section.parse(f"{name}.{version}", number, 0, values.whole(1, LARGEST_VERSION))
        keys[key] = section.parse(f"{name}.{version}", path, Path(), values.path)
    return keys


def dimensions(reading: Reading, section: Section) -> tuple[Dimension, ...]:
    """Return the dimensions of the metering group."""
    name = section.dotted("dimensions")
    items = _items(reading, section, "dimensions")
    if len(items) > MOST_DIMENSIONS:
        entry = Entry(Kind.LIST, items[0].where, items=items)
        reading.complain(name, entry, f"is more than {MOST_DIMENSIONS}, AWS's limit", "name the listing's dimensions")
        return ()
    found: list[Dimension] = []
    for index, item in enumerate(items):
        key = f"{name}[{index}]"
        if item.kind is not Kind.MAP:
            reading.complain(key, item, "is not a mapping", f"write it as {{name: {item.text or 'requests'}}}")
            continue
        member = Section(reading, key, item)
        dimension = Dimension(
            member.demand("name", "", values.dimension_name, "set the dimension's API name from the listing"),
            member.read("aggregation", Aggregation.SUM, values.choice(Aggregation)),
            read_source(reading, member),
        )
        member.close()
        if dimension.name and any(dimension.name == other.name for other in found):
            reading.complain(f"{key}.name", item.members["name"], "is given twice", "name each dimension once")
        if "source" in item.members and dimension.aggregation is not Aggregation.SUM:
            aggregation = item.members["aggregation"]
            reading.complain(f"{key}.aggregation", aggregation, "is of a dimension with a source", "remove it")
        found.append(dimension)
    return tuple(found)


def required_entitlements(reading: Reading, section: Section) -> tuple[RequiredEntitlement, ...]:
    """Return what a license must grant."""
    name = section.dotted("require")
    found: list[RequiredEntitlement] = []
    for index, item in enumerate(_items(reading, section, "require")):
        key = f"{name}[{index}]"
        if item.kind is not Kind.MAP:
            reading.complain(key, item, "is not a mapping", f"write it as {{name: {item.text or 'users'}}}")
            continue
        member = Section(reading, key, item)
        required = RequiredEntitlement(
            member.demand("name", "", values.entitlement_name, "set the entitlement's API name from the listing"),
            member.read("hold", 0, values.whole(0, MOST_SEATS)),
        )
        member.close()
        if required.name and any(required.name == other.name for other in found):
            reading.complain(f"{key}.name", item.members["name"], "is given twice", "name each entitlement once")
        found.append(required)
    return tuple(found)


def tiers(reading: Reading, section: Section) -> tuple[str, ...]:
    """Return the tiered entitlements, lowest first."""
    name = section.dotted("tiers")
    found: list[str] = []
    for index, item in enumerate(_items(reading, section, "tiers")):
        tier = section.parse(f"{name}[{index}]", item, "", values.entitlement_name)
        if tier and tier in found:
            reading.complain(f"{name}[{index}]", item, "is given twice", "name each tier once")
        found.append(tier)
    return tuple(found)


def _items(reading: Reading, section: Section, name: str) -> tuple[Entry, ...]:
    entry = section.take(name)
    if entry is None or entry.kind is Kind.NOTHING:
        return ()
    if entry.kind is not Kind.LIST:
        reading.complain(section.dotted(name), entry, "is not a list", "write it as [...]")
    return entry.items
