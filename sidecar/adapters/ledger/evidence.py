"""Proof of a registration, kept for the next process of the same pod."""

import json
import sqlite3
from datetime import datetime

from sidecar.adapters.ledger.store import Store
from sidecar.domain import timestamps
from sidecar.domain.entitlement.states import Evidence
from sidecar.domain.metering.hours import from_micros


def read_evidence(connection: sqlite3.Connection) -> Evidence | None:
    """Return what was kept last, or None; what is not evidence counts as none, for it proves nothing."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'evidence'").fetchone()
    if row is None:
        return None
    try:
        kept = json.loads(row["value"])
        suspended, refused, licensed = kept["suspended_at"], kept.get("refused_at"), kept.get("licensed_at")
        return Evidence(
            pod=str(kept["pod"]),
            product_code=str(kept["product_code"]),
            public_key_version=int(kept["public_key_version"]),
            registered_at=datetime.fromisoformat(kept["registered_at"]),
            nonce=str(kept["nonce"]),
            signature=str(kept["signature"]),
            suspended_at=None if suspended is None else datetime.fromisoformat(suspended),
            refused_at=None if refused is None else datetime.fromisoformat(refused),
            licensed_at=None if licensed is None else datetime.fromisoformat(licensed),
        )
    except (ValueError, KeyError, TypeError):
        return None


def last_accepted_at(connection: sqlite3.Connection, pod: str, product_code: str) -> datetime | None:
    """Return when AWS last accepted a record of pod and product; what a person resolved is no answer of AWS's."""
    row = connection.execute(
        "SELECT max(settled_at) AS at FROM named_record"
        " WHERE status = 'accepted' AND resolved = 0 AND uid = ? AND product_code = ?",
        (pod, product_code),
    ).fetchone()
    return None if row["at"] is None else from_micros(row["at"])


def write_evidence(store: Store, evidence: Evidence) -> None:
    """Keep `evidence` in place of what was there."""
    kept = {
        "pod": evidence.pod,
        "product_code": evidence.product_code,
        "public_key_version": evidence.public_key_version,
        "registered_at": timestamps.render(evidence.registered_at),
        "nonce": evidence.nonce,
        "signature": evidence.signature,
        "suspended_at": None if evidence.suspended_at is None else timestamps.render(evidence.suspended_at),
        "refused_at": None if evidence.refused_at is None else timestamps.render(evidence.refused_at),
        "licensed_at": None if evidence.licensed_at is None else timestamps.render(evidence.licensed_at),
    }
    store.connection.execute(
        "INSERT INTO meta VALUES ('evidence', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (json.dumps(kept),)
    )
