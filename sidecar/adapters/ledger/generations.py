"""The terms under which usage was taken: product code, aggregation and quantity kind, frozen with each dimension's row.

A changed configuration makes a new row of the dimension. What was taken under the old one is closed under it: ended
hours are sealed as they are, what is open now is carried into the new row as a visible entry, and what rounding holds
back is handed on. Usage of another product goes nowhere: it is unbilled, or in doubt where AWS may hold it.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import structlog

from sidecar.adapters.ledger.courses import restart_courses
from sidecar.adapters.ledger.evidence import read_evidence
from sidecar.adapters.ledger.probe_slots import retire_probe
from sidecar.adapters.ledger.store import Move, Store, read_bucket
from sidecar.adapters.ledger.submitting import close, pass_remainder, read_record, record_outcome
from sidecar.adapters.ledger.unsent import Left, keep_remainder, keep_unbilled
from sidecar.domain.metering.hours import Hour, hour_of_micros
from sidecar.domain.metering.probes import is_probe
from sidecar.domain.metering.quantity import render
from sidecar.domain.metering.records import Answer, CarryCause, foreign, of_other_product
from sidecar.domain.metering.rules import MeteringRules
from sidecar.domain.policy import QuantityKind
from sidecar.domain.status import OTHER_PRODUCT_CURE

log = structlog.get_logger()

UNKNOWN = "unknown"
"""The aggregation of a row from before terms were kept, if its dimension is configured no more."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Usage of another product that was set apart."""

    dimension: str
    product_code: str
    unbilled: int
    """Millionths that AWS certainly did not take."""
    in_doubt: int
    """Millionths that AWS may have taken."""


@dataclass(slots=True)
class TermsChange:
    """What opening the ledger under these rules has changed; nothing in it where the rules are those of before."""

    filled: str | None = None
    """The product code that rows from before terms were kept were given."""
    renewed: dict[str, int] = field(default_factory=dict)
    """Dimensions with new terms, and the millionths of the old ones that were carried into them."""
    foreign: list[Foreign] = field(default_factory=list)


def apply_terms(store: Store, rules: MeteringRules, now: int) -> TermsChange:
    """Make the configured terms the ones that take usage, inside the caller's transaction; what that has changed."""
    change = TermsChange(filled=_fill(store, rules))
    restart_courses(store, rules)
    store.remember("product-code", rules.product_code)
    for name in rules.dimensions:
        if _activate(store, name, rules):
            change.renewed[name] = 0
    store.forget_names()
    for name in rules.dimensions:
        moved = _move_to_heir(store, name, now)
        if moved:
            change.renewed[name] = change.renewed.get(name, 0) + moved
    change.foreign = _set_apart(store, rules, now)
    return change


def _fill(store: Store, rules: MeteringRules) -> str | None:
    """Give rows from before terms were kept the likeliest ones: the registered product, the configured aggregation."""
    rows = store.rows("SELECT id, name FROM dimension WHERE product_code IS NULL")
    if not rows:
        return None
    evidence = read_evidence(store.connection)
    code = rules.product_code if evidence is None else evidence.product_code
    for row in rows:
        configured = rules.dimensions.get(row["name"])
        store.connection.execute(
            "UPDATE dimension SET product_code = ?, aggregation = ?, whole = ? WHERE id = ?",
            (
                code,
                configured.aggregation if configured else UNKNOWN,
                rules.quantity is QuantityKind.INTEGER,
                row["id"],
            ),
        )
    return code


def _activate(store: Store, name: str, rules: MeteringRules) -> bool:
    """Make the row of these terms the active one of its name and product; whether another one was."""
    key = (name, rules.product_code, str(rules.dimensions[name].aggregation), rules.quantity is QuantityKind.INTEGER)
    row = store.connection.execute(
        "SELECT active FROM dimension WHERE name = ? AND product_code = ? AND aggregation = ? AND whole = ?", key
    ).fetchone()
    if row is not None and row["active"]:
        return False
    others = store.connection.execute(
        "UPDATE dimension SET active = 0 WHERE name = ? AND product_code = ?", key[:2]
    ).rowcount
    store.connection.execute(
        "INSERT INTO dimension (name, product_code, aggregation, whole) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET active = 1",
        key,
    )
    return others > 0


def _move_to_heir(store: Store, name: str, now: int) -> int:
    """Carry what the present hour and later ones hold under other terms into the active row, and hand on remainders."""
    heir = store.dimension(name)
    this_hour = hour_of_micros(now)
    moved = 0
    for dimension in store.family(heir):
        if dimension == heir:
            continue
        moved += pass_remainder(store, dimension, heir)
        for row in store.rows(
            "SELECT * FROM bucket WHERE sealed = 0 AND pod = ? AND dimension = ? AND hour >= ?",
            store.pod,
            dimension,
            this_hour,
        ):
            hour, quantity = Hour(row["hour"]), read_bucket(row).quantity
            target = store.first_open(heir, hour)
            close(
                store,
                Move(CarryCause.TERMS, None, store.pod, hour, target, heir, row["tag_set"], quantity, dimension),
                now,
            )
            moved += quantity
    return moved


def _set_apart(store: Store, rules: MeteringRules, now: int) -> list[Foreign]:
    """Keep what other products left open, sealed or held back: unbilled, or in doubt where an answer is missing."""
    dimensions = {
        int(row["id"]): (str(row["name"]), str(row["product_code"]))
        for row in store.rows(
            "SELECT id, name, product_code FROM dimension WHERE product_code <> ?", rules.product_code
        )
    }
    unbilled: dict[int, int] = defaultdict(int)
    in_doubt: dict[int, int] = defaultdict(int)
    marks = ",".join("?" * len(dimensions))
    left: dict[int, list[Left]] = defaultdict(list)
    for row in store.rows(f"SELECT * FROM bucket WHERE sealed = 0 AND dimension IN ({marks})", *dimensions):
        bucket = read_bucket(row)
        left[row["dimension"]].append(
            Left(row["pod"], row["dimension"], Hour(row["hour"]), row["tag_set"], bucket.quantity)
        )
    for dimension, (_, code) in dimensions.items():
        reason = of_other_product(code)
        unbilled[dimension] += keep_unbilled(store, left[dimension], reason, now)
        unbilled[dimension] += keep_remainder(store, dimension, hour_of_micros(now), reason, now)
    for row in store.rows(
        f"SELECT * FROM named_record WHERE status = 'sealed' AND dimension IN ({marks})", *dimensions
    ):
        if is_probe(row["client_token"]):
            retire_probe(store, row, "the product changed", now)
            continue
        record = read_record(row)
        fate = foreign(record.unanswered, record.product_code)
        record_outcome(store, record, fate, Answer(row["answer"] or "never sent"), now)
        terms = in_doubt if record.unanswered else unbilled
        terms[row["dimension"]] += record.quantity
    return [
        Foreign(name, code, unbilled[dimension], in_doubt[dimension])
        for dimension, (name, code) in dimensions.items()
        if unbilled[dimension] or in_doubt[dimension]
    ]


def report_change(change: TermsChange, product_code: str) -> None:
    """Log what opening the ledger under other terms has changed; nothing where they are those of before."""
    if change.filled is not None:
        log.info("ledger.terms_filled", product_code=change.filled)
    for name, moved in change.renewed.items():
        log.warning("ledger.terms_changed", dimension=name, carried=render(moved))
    for found in change.foreign:
        log.error(
            "ledger.other_product",
            dimension=found.dimension,
            product_code=found.product_code,
            configured=product_code,
            unbilled=render(found.unbilled),
            in_doubt=render(found.in_doubt),
            cure=OTHER_PRODUCT_CURE,
        )
