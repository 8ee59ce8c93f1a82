"""When CloudTrail's files have events that prove them complete: those of a trail that would hold MeterUsage, too.

An account may have several trails, and each may log less than everything. Data events and insights prove nothing. A
read proves something only between two writes of its folder: the trail may log reads alone. Events of global services
prove nothing about the Region that they name: trails of other Regions may hold them.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sidecar.domain.audit.coverage import Activity
from sidecar.domain.metering.hours import hour_of, start_of

SOURCE = "metering-marketplace.amazonaws.com"

_GLOBAL = frozenset({"cloudfront.amazonaws.com", "iam.amazonaws.com", "signin.amazonaws.com", "sts.amazonaws.com"})
_GLOBAL_REGIONS = frozenset({"us-east-1", "us-gov-west-1"})
"""The Regions that events of global services name."""


def folder_of(path: Path) -> str:
    """Return the folder of a trail's file, without the numbers that name account and date."""
    return "/".join(part for part in path.parent.parts if not part.isdigit())


class Proofs:
    """The events that prove hours, by folder and place (see `Charge.account_region`)."""

    def __init__(self) -> None:
        self._writes: dict[tuple[str, str], Activity] = {}
        self._reads: dict[tuple[str, str], set[datetime]] = defaultdict(set)

    def note(self, folder: str, place: str, event: Mapping[str, Any], instant: datetime) -> None:
        """Know of one event of a file in `folder`."""
        if not _is_of_management(event) or _is_global(event):
            return
        key = (folder, place)
        if _is_read(event):
            self._reads[key].add(start_of(hour_of(instant)))
        elif key in self._writes:
            self._writes[key].add(instant)
        else:
            self._writes[key] = Activity.at(instant)

    def activity(self) -> dict[str, Activity]:
        """Return what is proved about each place."""
        found: dict[str, Activity] = {}
        for (folder, place), written in self._writes.items():
            read = {hour for hour in self._reads[folder, place] if written.first_at <= hour <= written.last_at}
            proved = replace(written, hours=written.hours | read)
            found[place] = found[place].joined(proved) if place in found else proved
        return found


def _is_of_management(event: Mapping[str, Any]) -> bool:
    return event.get("managementEvent") is not False and event.get("eventCategory", "Management") == "Management"


def _is_global(event: Mapping[str, Any]) -> bool:
    return str(event["eventSource"]) in _GLOBAL and str(event.get("awsRegion")) in _GLOBAL_REGIONS


def _is_read(event: Mapping[str, Any]) -> bool:
    """Return whether a trail may hold the event and leave out MeterUsage: it changes nothing."""
    return event.get("readOnly") is True and event["eventSource"] != SOURCE
