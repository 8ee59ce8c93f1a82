"""The members by which a person grants and changes licenses, in a control request and in a seed file.

Refuses an unknown member and a value outside the service model; the message has the member, the value and what is
allowed, because a mistake without a message would look like a fault of the product under test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sidecar.emulator.protocol.errors import ServiceError
from sidecar.emulator.protocol.instants import read_instant
from sidecar.emulator.protocol.license_requests import LICENSE_ARN, UNIT
from sidecar.emulator.protocol.shapes import Flag, Structure, Text, Whole, check
from sidecar.emulator.state.license_entries import EntitlementTerms

RECEIVED = (
    *("PENDING_WORKFLOW", "PENDING_ACCEPT", "REJECTED", "ACTIVE"),
    *("FAILED_WORKFLOW", "DELETED", "DISABLED", "WORKFLOW_COMPLETED"),
)
"""What the grant of a license can have come to."""
GRANT_TYPES = ("BuyerGrant", "DelegateGrant", None)
"""What a grant can give; without a type it is a buyer's."""
DELETED = ("DELETED", "PENDING_DELETE")
"""What a license that is deleted can show as."""

_TERMS = Structure(
    {
        "Name": Text(1),
        "Unit": UNIT,
        "Value": Text(),
        "MaxCount": Whole(0, 2**63 - 1),
        "Overage": Flag(),
        "AllowCheckIn": Flag(),
    },
    frozenset({"Name", "Unit"}),
)
_TEXTS: Mapping[str, Text] = {"sku": Text(1), "issuer": Text(1), "home_region": Text(1), "arn": LICENSE_ARN}
_CHOICES: Mapping[str, tuple[str | None, ...]] = {"received": RECEIVED, "grant_type": GRANT_TYPES, "status": DELETED}


class GrantError(ValueError):
    """A member is unknown or its value is not allowed; the message begins with the member."""


@dataclass(frozen=True, slots=True)
class LicenseMembers:
    """What was given of a license; None was not given, also where `grant_type` was given as null."""

    sku: str | None = None
    arn: str | None = None
    entitlements: tuple[EntitlementTerms, ...] | None = None
    begin: datetime | None = None
    end: datetime | None = None
    received: str | None = None
    issuer: str | None = None
    grant_type: str | None = None
    home_region: str | None = None
    status: str | None = None
    given: frozenset[str] = frozenset()


NAMES = tuple(field.name for field in fields(LicenseMembers) if field.name != "given")


def read_license_members(members: Mapping[str, Any], allowed: frozenset[str]) -> LicenseMembers:
    """Read members of which `allowed` have an effect.

    Raises:
        GrantError: A member is not among them, or its value is not valid.
    """
    for name, value in members.items():
        if name not in allowed:
            raise GrantError(f"{name}: {value!r}: is not a member here; allowed are {', '.join(sorted(allowed))}")
    read = {name: _read(name, value) for name, value in members.items()}
    return LicenseMembers(**read, given=frozenset(members))


def _read(name: str, value: Any) -> Any:
    if name in _TEXTS:
        return _checked(name, value, _TEXTS[name])
    if name in _CHOICES:
        return _chosen(name, value, _CHOICES[name])
    return _read_entitlements(value) if name == "entitlements" else _read_instant(name, value)


def _read_entitlements(value: Any) -> tuple[EntitlementTerms, ...]:
    if not isinstance(value, list) or not value:
        raise GrantError(f"entitlements: {value!r}: must be a list of at least one entitlement in AWS's members")
    found = tuple(_read_terms(f"entitlements[{index}]", each) for index, each in enumerate(value))
    if len({terms.name for terms in found}) != len(found):
        raise GrantError("entitlements: each Name may appear once")
    return found


def _read_terms(path: str, value: Any) -> EntitlementTerms:
    for name in value.keys() - _TERMS.members.keys() if isinstance(value, dict) else ():
        allowed = ", ".join(_TERMS.members)
        raise GrantError(f"{path}.{name}: {value[name]!r}: is not a member of an entitlement; allowed are {allowed}")
    members = _checked(path, value, _TERMS)
    if members["Unit"] == "None" and "MaxCount" in members:
        raise GrantError(f"{path}.MaxCount: {members['MaxCount']!r}: the unit None has no count")
    if members["Unit"] != "None" and "MaxCount" not in members:
        raise GrantError(f"{path}.MaxCount: is missing; the unit {members['Unit']} is counted")
    return EntitlementTerms(
        members["Name"],
        members["Unit"],
        members.get("Value"),
        members.get("MaxCount"),
        members.get("Overage"),
        members.get("AllowCheckIn"),
    )


def _read_instant(name: str, value: Any) -> datetime:
    try:
        return read_instant(value)
    except ValueError as error:
        raise GrantError(f"{name}: {value!r}: {error}") from error


def _chosen(name: str, value: Any, choices: tuple[str | None, ...]) -> str | None:
    for choice in choices:
        if value == choice:
            return choice
    allowed = ", ".join("null" if choice is None else choice for choice in choices)
    raise GrantError(f"{name}: {value!r}: must be one of {allowed}")


def _checked(name: str, value: Any, shape: Text | Structure) -> Any:
    try:
        return check(shape, value)
    except ServiceError as error:
        raise GrantError(f"{name}: {value!r}: {error.message}") from error
