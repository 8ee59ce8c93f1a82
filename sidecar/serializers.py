"""The state of the ledger and of the sidecar as JSON members.

Quantities are decimal strings, hours and times RFC 3339 with `Z`. `status_members` omits nonce and signature, because
operators paste a status into tickets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sidecar.domain import timestamps
from sidecar.domain.entitlement.allowances import Allowance
from sidecar.domain.entitlement.checkouts import Checkout
from sidecar.domain.entitlement.states import Entitlement
from sidecar.domain.metering import quantity
from sidecar.domain.status import MOST_BUCKETS, BucketView, RecordPage, RecordView, Status, Terms

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Members = dict[str, object]


def entitlement_members(entitlement: Entitlement) -> Members:
    """Return `GET /v1/entitlement`; the license only with a contract price."""
    shown = {} if entitlement.license is None else {"license": _members(entitlement.license)}
    return {
        "entitled": entitlement.entitled,
        "state": entitlement.state,
        "reason": entitlement.reason,
        "detail": entitlement.detail,
        "source": entitlement.source,
        "product_code": entitlement.product_code,
        "public_key_version": entitlement.public_key_version,
        "registered_at": timestamps.render_known(entitlement.registered_at),
        "since": timestamps.render(entitlement.since),
        "until": timestamps.render_known(entitlement.until),
        "nonce": entitlement.nonce,
        "signature": entitlement.signature,
        **shown,
    }


def allowance_members(allowance: Allowance) -> Members:
    """Return `GET /v1/entitlements/{name}`."""
    return _members(allowance)


def held_members(checkout: Checkout) -> Members:
    """Return the answer to a checkout."""
    return {"id": checkout.id, "state": checkout.state, "expires_at": timestamps.render_known(checkout.expires_at)}


def checkout_members(checkout: Checkout) -> Members:
    """Return one of the checkouts of `GET /v1/checkouts`."""
    return {
        "id": checkout.id,
        "entitlement": checkout.entitlement,
        "count": checkout.count or 1,
        "drawdown": checkout.drawdown,
        "state": checkout.state,
        "expires_at": timestamps.render_known(checkout.expires_at),
    }


def bucket_members(bucket: BucketView) -> Members:
    """Return one of the buckets of `GET /v1/usage`."""
    return {
        "dimension": bucket.dimension,
        "hour": timestamps.render(bucket.hour),
        "quantity": quantity.render(bucket.quantity),
        "tags": dict(bucket.tags),
        "events": bucket.events,
    }


def buckets_members(found: Sequence[BucketView]) -> Members:
    """Return `GET /v1/usage`: one page, and where there are more buckets the `after` of the next one."""
    if len(found) <= MOST_BUCKETS:
        return {"buckets": [bucket_members(bucket) for bucket in _joined(found)]}
    by_key = sorted(found, key=lambda bucket: [int(part) for part in bucket.key.split(".")])[:MOST_BUCKETS]
    shown = {bucket.key for bucket in by_key}
    return {
        "buckets": [bucket_members(bucket) for bucket in _joined(each for each in found if each.key in shown)],
        "next": by_key[-1].key,
    }


def _joined(found: Iterable[BucketView]) -> Iterable[BucketView]:
    """Return buckets of one dimension, hour and tag set under several terms as one."""
    joined: dict[object, BucketView] = {}
    for each in found:
        before = joined.get(slot := (each.dimension, each.hour, each.tags))
        total, events = (before.quantity, before.events) if before else (0, 0)
        joined[slot] = replace(each, quantity=total + each.quantity, events=events + each.events)
    return joined.values()


def page_members(page: RecordPage) -> Members:
    """Return `GET /v1/records`."""
    return {"records": [record_members(record) for record in page.records], "next": page.next}


def record_members(record: RecordView) -> Members:
    """Return one metering record."""
    return {
        "id": record.id,
        "dimension": record.dimension,
        "hour": timestamps.render(record.hour),
        "quantity": quantity.render(record.quantity),
        "status": record.status,
        "reason": record.reason,
        "client_token": record.client_token,
        "metering_record_id": record.metering_record_id,
        "attempts": record.attempts,
        "allocations": [
            {"quantity": quantity.render(allocation.quantity), "tags": dict(allocation.tags)}
            for allocation in record.allocations
        ],
        "sealed_at": timestamps.render(record.sealed_at),
        "accepted_at": timestamps.render_known(record.accepted_at),
        "carried_to": timestamps.render_known(record.carried_to),
        "kind": record.kind,
        "product_code": record.product_code,
    }


def status_members(status: Status) -> Members:
    """Return `GET /v1/status`."""
    entitlement = entitlement_members(status.entitlement)
    del entitlement["nonce"], entitlement["signature"]
    return {
        "versions": dict(status.versions),
        "now": timestamps.render(status.now),
        "started_at": timestamps.render(status.started_at),
        "entitlement": entitlement
        | {"check": status.check, "pricing": status.pricing, "product_id": status.product_id},
        "metering": {
            "state": status.metering,
            "last_success_at": timestamps.render_known(status.last_success_at),
            "oldest_unsent_hour": timestamps.render_known(status.oldest_unsent_hour),
            "in_doubt": status.in_doubt,
            "answers": dict(status.answers),
        },
        "pod": {"uid": status.pod, "source": status.pod_source},
        "marketplace": {
            "region": status.region,
            "credentials": status.credentials,
            "mode": status.mode,
            "clock_skew_seconds": None if status.clock_skew is None else status.clock_skew.total_seconds(),
        },
        "ledger": _ledger_members(status),
        "events": {"accepted": status.accepted_events, "duplicates": status.duplicate_events},
        "faults": [
            {
                "code": finding.code,
                "detail": finding.detail,
                "cure": finding.cure,
                "since": timestamps.render(finding.since),
            }
            for finding in status.findings
        ],
        "conservation": {
            "balanced": status.balanced,
            "dimensions": {name: terms_members(terms) for name, terms in status.conservation.items()},
        },
        "sources": [
            {
                "dimension": source.dimension,
                "state": source.state,
                "last_sample_at": timestamps.render_known(source.last_sample_at),
                "series": source.series,
                "detail": source.detail,
            }
            for source in status.sources
        ],
    }


def _ledger_members(status: Status) -> Members:
    measured = {"used": status.ledger_used, "limit": status.ledger_limit}
    known = {name: size for name, size in measured.items() if size is not None}
    return {"path": status.ledger_path, "bytes": status.ledger_bytes, **known}


def terms_members(terms: Terms) -> Members:
    """Return the terms of the conservation law for one dimension."""
    return {term.name: quantity.render(getattr(terms, term.name)) for term in fields(terms)}


def _members(view: "DataclassInstance") -> Members:
    """Return a view without quantities: its fields are the members, in their order."""
    return {field.name: _plain(getattr(view, field.name)) for field in fields(view)}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return timestamps.render(value)
    return [_members(each) for each in value] if isinstance(value, tuple) else value
