"""The rules that MeterUsage and BatchMeterUsage share: product, dimension, allocations, sameness, record ids.

Refuses floating point and refuses to change anything. Invariant: sameness is judged by value, never by spelling.
"""

import re
from collections.abc import Iterable
from uuid import UUID, uuid5

from sidecar.emulator.protocol.decisions import Rule
from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.requests import Allocation, Tag
from sidecar.emulator.rules.quantities import Quantity
from sidecar.emulator.state.entries import MeteringRecord
from sidecar.emulator.state.seed import Seed
from sidecar.emulator.state.store import Slot

_RECORD_IDS = UUID("5d1c4f5e-6f0b-4b0e-9a55-6f2b7f0c7a11")
_TAG_TEXT = re.compile(r"[a-zA-Z0-9 +\-=._:\\/@]+")
_MOST_TAGS = 5
_MOST_ALLOCATIONS = 2500
_LONGEST_KEY = 100
_LONGEST_VALUE = 256


def check_product(seed: Seed, product_code: str) -> None:
    """Refuse a product that the seed does not have.

    Raises:
        ServiceError: InvalidProductCodeException.
    """
    if not product_code or seed.product_code not in (None, product_code):
        raise ServiceError("InvalidProductCodeException", "The product code does not match a published product.")


def check_price(seed: Seed, operation: str) -> None:
    """Refuse an operation that does not belong to the price of the seeded product.

    With a contract price MeterUsage is for what exceeds the contract.

    Raises:
        ServiceError: InvalidProductCodeException.
    """
    belonging = {"hourly": "RegisterUsage", "custom": "MeterUsage", "contract": "MeterUsage"}
    if seed.pricing is not None and belonging[seed.pricing] != operation:
        raise ServiceError(
            "InvalidProductCodeException",
            f"{operation} does not belong to a product with the price {seed.pricing}.",
            rule=Rule.PRICE,
        )


def check_dimension(seed: Seed, dimension: str) -> None:
    """Refuse a dimension that the seeded product does not have.

    Raises:
        ServiceError: InvalidUsageDimensionException.
    """
    if seed.dimensions is not None and dimension not in seed.dimensions:
        raise ServiceError("InvalidUsageDimensionException", "The product has no such usage dimension.")


def check_allocations(quantity: Quantity, allocations: tuple[Allocation, ...] | None) -> None:
    """Refuse allocations that do not split the quantity exactly into distinct, well-formed sets of tags.

    Raises:
        ServiceError: InvalidTagException or InvalidUsageAllocationsException.
    """
    if allocations is None:
        return
    if not 1 <= len(allocations) <= _MOST_ALLOCATIONS:
        raise _invalid_allocations(f"There must be 1 to {_MOST_ALLOCATIONS} allocations.")
    for allocation in allocations:
        _check_tags(allocation.tags)
    if len({tag.key for allocation in allocations for tag in allocation.tags}) > _MOST_TAGS:
        raise ServiceError("InvalidTagException", f"One record may use at most {_MOST_TAGS} different tag keys.")
    if len(split(allocations)) != len(allocations):
        raise _invalid_allocations("Each allocation must have a unique set of tags.")
    if any(allocation.quantity.decimal != quantity.decimal for allocation in allocations):
        raise _invalid_allocations("Allocations must use the same type of quantity as the usage.")
    if sum(allocation.quantity.millionths for allocation in allocations) != quantity.millionths:
        raise _invalid_allocations("The sum of allocated usage quantities is not equal to the usage quantity.")


def split(allocations: Iterable[Allocation] | None) -> dict[frozenset[Tag], int]:
    """Return the millionths by set of tags, which compares allocations regardless of their order."""
    return {frozenset(allocation.tags): allocation.quantity.millionths for allocation in allocations or ()}


def is_same_usage(record: MeteringRecord, quantity: Quantity, allocations: tuple[Allocation, ...] | None) -> bool:
    """Return whether the record already holds exactly this usage."""
    return record.quantity.millionths == quantity.millionths and split(record.allocations) == split(allocations)


def record_id(slot: Slot) -> str:
    """Name the record of a slot. The same slot has the same id in every run."""
    scope, owner, dimension, hour = slot
    return str(uuid5(_RECORD_IDS, f"{scope}\x1f{owner}\x1f{dimension}\x1f{hour.isoformat()}"))


def _check_tags(tags: tuple[Tag, ...]) -> None:
    if len(tags) > _MOST_TAGS:
        raise ServiceError("InvalidTagException", f"The number of tags is greater than {_MOST_TAGS}.")
    if len({tag.key for tag in tags}) != len(tags):
        raise ServiceError("InvalidTagException", "A tag key appears twice in one allocation.")
    for tag in tags:
        for text, longest in ((tag.key, _LONGEST_KEY), (tag.value, _LONGEST_VALUE)):
            if len(text) > longest or _TAG_TEXT.fullmatch(text) is None:
                raise ServiceError(
                    "InvalidTagException",
                    f"Tag keys have 1 to {_LONGEST_KEY} and values 1 to {_LONGEST_VALUE} characters: "
                    "letters, digits, space and +-=._:\\/@.",
                )


def _invalid_allocations(message: str) -> ServiceError:
    return ServiceError("InvalidUsageAllocationsException", message)
