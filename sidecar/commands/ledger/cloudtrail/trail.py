"""Reads one product's charges and the registrations of its pods from CloudTrail's events.

A call that AWS refused and a dry run are no charge. A call that failed otherwise, as by an HTTP 500, may be one, and
the log does not show it. So may a large call: CloudTrail leaves out parameters and answers over 100 KB. Refuses an
event of the product that it cannot read otherwise, rather than pass over a charge.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from sidecar.commands.ledger.cloudtrail.files import TrailUnreadable, read_events
from sidecar.commands.ledger.cloudtrail.proofs import SOURCE, Proofs, folder_of
from sidecar.domain import timestamps
from sidecar.domain.audit.registrants import Registration
from sidecar.domain.audit.slots import Charge, FailedCall, UndescribedCall
from sidecar.domain.metering import quantity
from sidecar.domain.metering.hours import hour_of, start_of
from sidecar.marketplace.errors import Taken
from sidecar.marketplace.service_errors import ERRORS

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_AS_WRITTEN = "Take the file from the bucket as CloudTrail wrote it."
_HALVES = {"AM": 0, "PM": 12}
_CLOCK = ("12", *(f"{hour:02}" for hour in range(1, 12)))
"""The hours on a clock's face, in their order."""
_PROSE = re.compile(r"([A-Z][a-z]{2}) (\d{1,2}), (\d{4}),? (\d{1,2}):(\d\d):(\d\d) (AM|PM)", re.ASCII)
"""Jul 23, 2020 1:35:44 AM: how CloudTrail writes a timestamp of this service, in UTC."""
_SECONDS = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)


_IDENTIFIER = re.compile(r"[!-~]{1,255}", re.ASCII)
"""An identifier that the ledger and every report can show as it is."""


_instant = lru_cache(maxsize=1024)(timestamps.parse)
"""Calls come in bursts: many events of a log have the same second."""


class _Unclear(Exception):
    """A member of an event is not what it should be."""


@dataclass(slots=True)
class Trail:
    """What the files hold about one product."""

    product_code: str
    take_charge: Callable[[Charge], None]
    """Called with each charge: a log may have more of them than fit into memory."""
    take_failed: Callable[[FailedCall], None]
    """Called with each call of which nothing shows whether AWS charged it."""
    take_undescribed: Callable[[UndescribedCall], None]
    """Called with each call that may have been charged, and of which nothing shows what it reports."""
    registrations: dict[str, Registration] = field(default_factory=dict)
    """By request id."""
    files: int = 0
    events: int = 0
    """Of every service."""
    without_product: int = 0
    """Batch records that name a license instead of a product: they may be of any product."""
    proofs: Proofs = field(default_factory=Proofs)
    first_at: str | None = None
    last_at: str | None = None
    """Between these lie all events of the files; RFC 3339."""

    def read(self, paths: Iterable[Path]) -> None:
        """Take in every event of the files.

        Raises:
            TrailUnreadable: A file, or an event of the product, cannot be read.
        """
        for path in paths:
            self.files += 1
            folder = folder_of(path)
            for event in read_events(path):
                try:
                    self._take(event, folder)
                except _Unclear as unclear:
                    reason = f"event {event.get('eventID')}: {unclear}"
                    raise TrailUnreadable(path, reason, _AS_WRITTEN) from None

    def _take(self, event: Mapping[str, Any], folder: str) -> None:
        if "eventSource" not in event:
            raise _Unclear("it is no event of CloudTrail's")
        self.events += 1
        place = _account_region(event)
        at = event.get("eventTime")
        if isinstance(at, str):
            self.first_at = min(self.first_at or at, at)
            self.last_at = max(self.last_at or at, at)
            instant = _instant(at)
            if instant is not None:
                self.proofs.note(folder, place, event, instant)
        if event["eventSource"] == SOURCE and event.get("errorCode"):
            self._take_failed(event, place, _members(event, "requestParameters"))
        elif event["eventSource"] == SOURCE:
            self._take_answered(event, place)

    def _take_answered(self, event: Mapping[str, Any], place: str) -> None:
        asked, answered = _members(event, "requestParameters"), _members(event, "responseElements")
        if self._is_anothers(asked):
            return
        match event.get("eventName"):
            case "RegisterUsage" if asked.get("productCode") is not None:
                registration = Registration(_session(event), place, _instant(str(event.get("eventTime"))))
                self.registrations[str(event.get("requestID") or event.get("eventID"))] = registration
            case "MeterUsage":
                if _is_cut(asked) or answered.get("omitted"):
                    self._note_undescribed(event, place, answered.get("meteringRecordId"))
                elif not _is_dry(asked):
                    identifier, dimension = answered.get("meteringRecordId"), asked.get("usageDimension")
                    self._charge(event, place, asked, identifier, dimension, "usage")
            case "BatchMeterUsage":
                self._take_batch(event, place, asked, answered)
            case _:
                pass  # a call that is no charge

    def _take_batch(
        self, event: Mapping[str, Any], place: str, asked: Mapping[str, Any], answered: Mapping[str, Any]
    ) -> None:
        if answered.get("results") is None or answered.get("omitted"):
            self._note_undescribed(event, place, None)
            return
        for record, identifier in _taken(answered):
            if asked.get("productCode") is None:
                self.without_product += 1
            else:
                self._charge(event, place, record, identifier, record.get("dimension"), "")

    def _charge(
        self,
        event: Mapping[str, Any],
        place: str,
        usage: Mapping[str, Any],
        identifier: object,
        dimension: object,
        prefix: str,
    ) -> None:
        if not isinstance(identifier, str) or not identifier:
            raise _Unclear("AWS took it, but there is no meteringRecordId")
        if _IDENTIFIER.fullmatch(identifier) is None:
            raise _Unclear(f"the meteringRecordId {identifier!r:.100} is none")
        self.take_charge(
            Charge(
                metering_record_id=identifier,
                dimension=_dimension(dimension),
                hour=_hour(usage),
                quantity=read_quantity(usage, prefix),
                client_token=_token(usage),
                session=_session(event),
                event_id=_event_id(event),
                account_region=place,
            )
        )

    def _take_failed(self, event: Mapping[str, Any], place: str, usage: Mapping[str, Any]) -> None:
        """Take a call of a ledger's record that failed, unless its error proves that AWS charged nothing.

        The log has the error's code alone, not the HTTP status. A call that it does not describe, or not in a form that
        is known, may be any record's of its time.
        """
        code = str(event["errorCode"])
        kind = ERRORS.get(code)
        if event.get("eventName") != "MeterUsage" or _is_dry(usage) or (kind is not None and kind.taken is Taken.NO):
            return
        if self._is_anothers(usage):
            return
        if _is_cut(usage):
            self._note_undescribed(event, place, None)
            return
        try:
            self.take_failed(
                FailedCall(
                    error=ascii(code)[1:-1][:100],
                    dimension=_dimension(usage.get("usageDimension")),
                    hour=_hour(usage),
                    quantity=read_quantity(usage, "usage"),
                    client_token=_token(usage),
                    session=_session(event),
                )
            )
        except _Unclear:
            self._note_undescribed(event, place, None)

    def _is_anothers(self, asked: Mapping[str, Any]) -> bool:
        """Return whether a request names another product; what names none may be of this one."""
        return asked.get("productCode") is not None and asked["productCode"] != self.product_code

    def _note_undescribed(self, event: Mapping[str, Any], place: str, identifier: object) -> None:
        at = _instant(str(event.get("eventTime")))
        if at is None:
            raise _Unclear("it has no time")
        known = isinstance(identifier, str) and _IDENTIFIER.fullmatch(identifier) is not None
        self.take_undescribed(
            UndescribedCall(
                metering_record_id=str(identifier) if known else None,
                session=_session(event),
                event_id=_event_id(event),
                account_region=place,
                hour=start_of(hour_of(at)),
            )
        )


def _is_cut(asked: Mapping[str, Any]) -> bool:
    """Return whether CloudTrail has left something out of a request: it then adds `omitted`, or writes nothing."""
    return asked.get("productCode") is None or bool(asked.get("omitted"))


def _event_id(event: Mapping[str, Any]) -> str:
    return ascii(str(event.get("eventID")))[1:-1][:255]


def _is_dry(asked: Mapping[str, Any]) -> bool:
    return str(asked.get("dryRun")).lower() == "true"


def _dimension(value: object) -> str:
    if not isinstance(value, str):
        raise _Unclear("there is no dimension")
    return value


def _hour(usage: Mapping[str, Any]) -> datetime:
    return read_instant(usage.get("timestamp")).replace(minute=0, second=0, microsecond=0)


def _token(usage: Mapping[str, Any]) -> str | None:
    token = usage.get("clientToken")
    return token if isinstance(token, str) else None


def read_instant(value: object) -> datetime:
    """Return the instant that a request's timestamp names: CloudTrail's prose, RFC 3339, or epoch seconds."""
    text = " ".join(str(value).split())
    prose = _PROSE.fullmatch(text)
    try:
        if prose is not None:
            month, day, year, hour, minute, second, half = prose.groups()
            of_day = _HALVES[half] + _CLOCK.index(hour.zfill(2))
            day_at = datetime(int(year), _MONTHS.index(month) + 1, int(day), tzinfo=UTC)
            return day_at.replace(hour=of_day, minute=int(minute), second=int(second))
        if _SECONDS.fullmatch(text) is not None and not isinstance(value, bool):
            return datetime.fromtimestamp(int(text.partition(".")[0]), UTC)
    except (ValueError, OverflowError, OSError):
        raise _Unclear(f"the timestamp {value!r} does not exist") from None
    instant = timestamps.parse(text)
    if instant is None:
        raise _Unclear(f"the timestamp {value!r} is not one that CloudTrail writes")
    return instant


def read_quantity(usage: Mapping[str, Any], prefix: str) -> int:
    """Return the millionths that a request reports; none given means nothing."""
    names = ("usageQuantityAsDecimal", "usageQuantity") if prefix else ("quantityAsDecimal", "quantity")
    value = usage.get(names[0])
    if value is None:
        value = usage.get(names[1], 0)
    if value is None:
        value = 0
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise _Unclear(f"the quantity {value!r} is not a number")
    millionths = quantity.parse(str(value))
    if millionths is None:
        raise _Unclear(f"the quantity {value!r} is not one that MeterUsage takes")
    return millionths


def _account_region(event: Mapping[str, Any]) -> str:
    """Return the account and Region whose log has an event; of a call between accounts each has one of its own.

    The caller's account stands in for it only where an event does not name it.
    """
    account = event.get("recipientAccountId") or _members(event, "userIdentity").get("accountId")
    return f"{account} {event.get('awsRegion')}"


def _members(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = event.get(name)
    return found if isinstance(found, dict) else {}


def _taken(answered: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], object]]:
    """Yield the records of a batch that AWS charged, with their metering record ids."""
    results = answered.get("results") or []
    if not isinstance(results, list):
        raise _Unclear("its results are no list")
    for result in results:
        match result:
            case {"status": "Success", "usageRecord": dict(record)}:
                yield record, result.get("meteringRecordId")
            case _:
                pass  # refused, or a duplicate: the record before it is the charge


def _session(event: Mapping[str, Any]) -> str | None:
    """Return the name of the session that signed the call; the emulator's log has the pod itself."""
    identity = _members(event, "additionalEventData").get("identity")
    if isinstance(identity, str):
        return identity
    arn = _members(event, "userIdentity").get("arn")
    return arn.rpartition("/")[2] if isinstance(arn, str) and ":assumed-role/" in arn else None
