"""What the emulated Marketplace knows from the start: the product, its dimensions, customers and licenses.

Reads a sidecar configuration and looks at nothing in it but `product`, `metering.dimensions` and the lists
`customers` and `licenses`, which a sidecar does not have. Refuses to judge the rest of the file. Without a seed any
product and any dimension is taken, and there is no license.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.shapes import CUSTOMER, REQUESTS, Flag, Structure, check
from sidecar.emulator.state.customers import Name, named_customer
from sidecar.emulator.state.entitlement_members import read_entitlements
from sidecar.emulator.state.entries import Customer
from sidecar.emulator.state.grants import seeded_license
from sidecar.emulator.state.license_entries import License
from sidecar.emulator.state.license_members import GrantError

Pricing = Literal["hourly", "custom", "contract"]


class SeedError(Exception):
    """The seed file cannot be used; `problems` names every fault with its field."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Seed:
    """The state that `reset` returns to."""

    product_code: str | None = None
    """None takes any product."""
    dimensions: frozenset[str] | None = None
    """None takes any dimension."""
    public_key_version: int = 1
    """Key pairs 1 to this one exist."""
    customers: tuple[Customer, ...] = ()
    entitled: bool = True
    """The account that the pods run in is entitled."""
    product_id: str | None = None
    """The SKU of a license that names none."""
    licenses: tuple[License, ...] = ()
    pricing: Pricing | None = None
    """The kind of price; None takes every operation."""

    @property
    def resolved_product_code(self) -> str:
        """The product that licenses and registration tokens belong to, a made-up one without a seed."""
        return self.product_code or "0abc123example"


NO_SEED = Seed()
"""Any product and any dimension."""


def read_seed(path: Path) -> Seed:
    """Read the seed from a YAML file; raises SeedError if the file cannot be read or has faults."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise SeedError([f"{path}: {error}"]) from error
    return make_seed(document)


def make_seed(document: object) -> Seed:
    """Make the seed from a parsed configuration; raises SeedError with every fault and its field."""
    problems: list[str] = []
    configuration = _mapping(document, "the file", problems)
    product = _mapping(configuration.get("product"), "product", problems)
    metering = _mapping(configuration.get("metering"), "metering", problems)
    code = _checked("ProductCode", product.get("code"), "product.code", problems)
    version = _checked("PublicKeyVersion", product.get("public_key_version"), "product.public_key_version", problems)
    if isinstance(version, int) and version > 100:
        problems.append("product.public_key_version: the emulator makes a key pair per version, at most 100")
    pricing = product.get("pricing")
    if pricing is not None and pricing not in get_args(Pricing):
        problems.append(f"product.pricing: {pricing!r}: must be one of {', '.join(get_args(Pricing))}, or null")
    dimensions = _read_dimensions(metering.get("dimensions"), problems)
    customers, entitled = _read_customers(configuration.get("customers"), problems)
    product_id = _read_product_id(product.get("id"), problems)
    licenses = _read_licenses(configuration.get("licenses"), product_id, problems)
    if problems:
        raise SeedError(problems)
    return Seed(
        product_code=code,
        dimensions=dimensions,
        public_key_version=version or 1,
        customers=customers,
        entitled=entitled,
        product_id=product_id,
        licenses=licenses,
        pricing=pricing,
    )


def _mapping(value: object, field: str, problems: list[str]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        problems.append(f"{field}: must be a mapping")
        return {}
    return value


def _checked(member: str, value: object, field: str, problems: list[str]) -> Any:
    if value is None:
        return None
    try:
        return check(REQUESTS["RegisterUsage"].members[member], value)
    except ServiceError as error:
        problems.append(f"{field}: {value!r}: {error.message}")
        return None


def _read_dimensions(value: object, problems: list[str]) -> frozenset[str] | None:
    if value is None:
        return None
    names = [item.get("name") if isinstance(item, dict) else item for item in value] if isinstance(value, list) else []
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in names):
        problems.append("metering.dimensions: must be a list of mappings with a name")
    return frozenset(str(name) for name in names)


def _read_customers(value: object, problems: list[str]) -> tuple[tuple[Customer, ...], bool]:
    if value is None:
        return (), True
    if not isinstance(value, list):
        problems.append("customers: must be a list")
        return (), True
    account_entitled = True
    customers = []
    for index, item in enumerate(value):
        if not isinstance(item, dict) or item.keys() - {*CUSTOMER, "entitled", "entitlements"}:
            problems.append(f"customers[{index}]: takes only {', '.join(CUSTOMER)}, entitled and entitlements")
            continue
        try:
            members = check(Structure({**CUSTOMER, "entitled": Flag()}), item)
            entitlements = read_entitlements(item.get("entitlements", []))
        except (ServiceError, ValueError) as error:
            problems.append(f"customers[{index}]: {getattr(error, 'message', error)}")
            continue
        entitled = members.pop("entitled", True)
        if members:
            customers.append(named_customer(Name.of(members), entitled=entitled, entitlements=entitlements))
        elif entitlements:
            problems.append(f"customers[{index}]: entitlements need one of {', '.join(CUSTOMER)}")
        else:
            # As in the control API, an empty name means the account that the pods run in.
            account_entitled = entitled
    return tuple(customers), account_entitled


def _read_product_id(value: object, problems: list[str]) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    problems.append(f"product.id: {value!r}: must be text")
    return None


def _read_licenses(value: object, product_id: str | None, problems: list[str]) -> tuple[License, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.append("licenses: must be a list")
        return ()
    licenses: dict[str, License] = {}
    for index, item in enumerate(value):
        try:
            members = {str(name): member for name, member in item.items()} if isinstance(item, dict) else {}
            made = seeded_license(members, number=index, default_sku=product_id)
        except GrantError as error:
            problems.append(f"licenses[{index}].{error}")
            continue
        if made.arn in licenses:
            problems.append(f"licenses[{index}].arn: {made.arn!r}: is the ARN of an earlier one")
        licenses[made.arn] = made
    return tuple(licenses.values())
