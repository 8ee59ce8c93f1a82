"""Resolving by hand: what a person may decide about an unbilled record.

Only an unbilled record is anybody's to decide, and only once: a record that is being tried decides itself, and one that
AWS took or that was carried counts where it is. Refuses to accept what was never sent, since nothing at AWS can be it.
"""

from dataclasses import dataclass
from enum import StrEnum

from sidecar.domain.metering.records import RecordStatus


class Action(StrEnum):
    """What becomes of the record."""

    ACCEPT = "accept"  # AWS holds it: its metering record id was seen there
    CARRY = "carry"  # AWS does not hold it: its quantity joins the current hour
    WRITE_OFF = "write-off"  # it stays unbilled for good


@dataclass(frozen=True, slots=True)
class Resolution:
    """A person's decision."""

    action: Action
    reason: str
    """For the audit trail."""
    metering_record_id: str | None = None
    """What AWS gave for the record, as CloudTrail shows it; with `accept` only."""
    without_tags: bool = False
    """The quantity leaves its tag sets: AWS would refuse the same tags again; with `carry` only."""


@dataclass(frozen=True, slots=True)
class Disputed:
    """What judging a decision needs to know about its record."""

    status: RecordStatus
    attempts: int
    resolved: bool
    """A person has decided before."""


def objection(record: Disputed, action: Action) -> str | None:
    """Return why a record cannot be resolved so, with what to do instead; None when it can."""
    if record.resolved:
        return "it was resolved before, and a record is resolved only once; `ledger records --audit` shows the decision"
    match record.status:
        case RecordStatus.SEALED:
            return "it is still being submitted; wait until it is accepted, carried or unbilled"
        case RecordStatus.ACCEPTED:
            return "AWS has taken it, so there is nothing to resolve"
        case RecordStatus.CARRIED:
            return "its quantity was carried to a later hour and is counted there, so there is nothing to resolve"
        case RecordStatus.UNBILLED:
            if action is Action.ACCEPT and not record.attempts:
                return "it was never sent to AWS, so no metering record there can be it; use carry or write-off"
            return None
