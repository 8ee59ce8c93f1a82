"""The life of a license: granted, renewed, amended, suspended, resumed, expired, deleted.

Refuses to guess: where a product has several licenses, the one to change must be named. Invariant: a license that was
granted stays in the state, so its checkouts keep their license.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sidecar.emulator.state.grants import GRANT_MEMBERS, check_validity, make_arn, new_license
from sidecar.emulator.state.license_entries import License
from sidecar.emulator.state.license_members import GrantError, LicenseMembers, read_license_members
from sidecar.emulator.state.store import State

_NAMED = frozenset({"sku", "arn"})
_TERMS = frozenset({"entitlements", "begin", "end"})
ACTIONS: Mapping[str, frozenset[str]] = {
    "grant": GRANT_MEMBERS,
    "renew": _NAMED | _TERMS,
    "amend": _NAMED | _TERMS | {"received", "grant_type"},
    "suspend": _NAMED,
    "deactivate": _NAMED,
    "resume": _NAMED,
    "expire": _NAMED,
    "delete": _NAMED | {"status"},
    "remove": _NAMED,
}
"""What can be done to a license, with the members that have an effect."""

_SET: Mapping[str, Mapping[str, Any]] = {
    "suspend": {"set_status": "SUSPENDED"},
    "deactivate": {"set_status": "DEACTIVATED"},
    "resume": {"set_status": None},
    "remove": {"removed": True},
}
_OVER = frozenset({"DELETED", "EXPIRED"})


def change_license(state: State, now: datetime, action: object, members: Mapping[str, Any]) -> License:
    """Perform an action, and return the license as it is after it.

    Raises:
        GrantError: The action or a member is unknown or not valid, or no license or several fit.
    """
    if not isinstance(action, str) or action not in ACTIONS:
        raise GrantError(f"action: {action!r}: must be one of {', '.join(ACTIONS)}")
    given = read_license_members(members, ACTIONS[action])
    if action == "grant":
        changed = new_license(given, now, number=len(state.licenses), default_sku=state.seed.product_id)
        if changed.arn in state.licenses:
            raise GrantError(f"arn: {changed.arn!r}: is the ARN of another license")
    else:
        license_ = _find(state, now, given)
        changed = _renewed(state, now, license_, given) if action == "renew" else _changed(now, license_, action, given)
    check_validity(changed)
    state.keep(changed)
    return changed


def _find(state: State, now: datetime, given: LicenseMembers) -> License:
    sku = given.sku or (state.seed.product_id if given.arn is None else None)
    found = [
        each
        for each in state.licenses.values()
        if not each.removed and given.arn in (None, each.arn) and sku in (None, each.sku)
    ]
    if not found:
        named = given.arn or sku
        raise GrantError("sku: there is no license" if named is None else f"sku: no license fits {named!r}")
    living = [each for each in found if not _is_over(each, now)]
    if len(found) > 1 and len(living) != 1:
        arns = ", ".join(each.arn for each in found)
        raise GrantError(f"arn: is missing; {len(found)} licenses fit: {arns}")
    return found[0] if len(found) == 1 else living[0]


def _is_over(license_: License, now: datetime) -> bool:
    return license_.set_status in _OVER or (license_.end is not None and now >= license_.end)


def _renewed(state: State, now: datetime, license_: License, given: LicenseMembers) -> License:
    begin = given.begin or now
    term = None if license_.end is None else license_.end - license_.begin
    account = license_.fingerprint.split(":")[1]
    return replace(
        license_,
        arn=make_arn(account, license_.sku, len(state.licenses)),
        entitlements=given.entitlements or license_.entitlements,
        begin=begin,
        end=given.end or (None if term is None else begin + term),
        created_at=now,
        set_status=None,
        version=1,
    )


def _changed(now: datetime, license_: License, action: str, given: LicenseMembers) -> License:
    changed = replace(license_, version=license_.version + 1)
    if action in _SET:
        return replace(changed, **_SET[action])
    if action == "expire":
        return replace(changed, begin=min(changed.begin, now), end=now, set_status=None)
    if action == "delete":
        return replace(changed, set_status=given.status or "DELETED")
    return replace(
        changed,
        entitlements=given.entitlements or changed.entitlements,
        begin=given.begin or changed.begin,
        end=given.end or changed.end,
        received=given.received or changed.received,
        grant_type=given.grant_type if "grant_type" in given.given else changed.grant_type,
    )
