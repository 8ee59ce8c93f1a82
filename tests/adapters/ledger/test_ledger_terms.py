"""A changed configuration on one ledger: product code, aggregation, quantity kind, policies, dimensions."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from sidecar.adapters.ledger import conservation, integrity
from sidecar.adapters.ledger.resolving import NotResolvable, resolve
from sidecar.domain.audit.decisions import Action, Resolution
from sidecar.domain.metering.events import Aggregation, Dimension
from sidecar.domain.metering.hours import to_micros
from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.metering.quantity import render
from sidecar.domain.metering.rules import MeteringRules
from sidecar.services.meter_request import meter_request
from tests.support.books import BLUE, HOUR, NOW, RED, RULES, UNBILLED_LATE, WHOLE, Books, event

OTHER = replace(RULES, product_code="0other")


def metered_as(aggregation: Aggregation, rules: MeteringRules = RULES) -> MeteringRules:
    """Return the rules with `requests` under another aggregation."""
    return replace(rules, dimensions={**rules.dimensions, "requests": Dimension("requests", aggregation)})


def faults(books: Books) -> list[str]:
    """Return everything that `ledger verify` objects to."""
    connection = books.store.connection
    return [*integrity.integrity_errors(connection), *conservation.event_breaches(connection), *books.breaches()]


def finish(books: Books) -> None:
    """Let the hour end, and have AWS take everything."""
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()


def decide(books: Books, record: str, action: Action) -> None:
    """Resolve a record by hand."""
    with books.store.transaction():
        resolve(books.store, record, Resolution(action, "checked"), who="anna", now=to_micros(books.now))


def test_record_keeps_product(books: Books) -> None:
    """A record is sent under the code under which its usage was taken, and shows it."""
    books.take(event("5"))
    books.pass_time(HOUR)
    books.seal_ended()
    (record,) = books.waiting()
    frozen = books.begin(record)
    assert frozen is not None
    assert "0abc123example" == meter_request(record, frozen).product_code
    assert [("usage", "0abc123example")] == [(each.kind, each.product_code) for each in books.records()]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([], "other-product"),
        ([Outcome.RETRY], "other-product"),
        ([Outcome.UNKNOWN], "in-doubt"),
        ([Outcome.UNKNOWN, Outcome.RETRY], "in-doubt"),
    ],
)
@pytest.mark.parametrize("pod", ["pod-1", "pod-2"])
def test_other_products_usage_stays(books: Books, answers: list[Outcome], reason: str, pod: str) -> None:
    """Usage of one product is never submitted under another's code: it is unbilled, or in doubt if AWS may hold it."""
    books.take(event("5", tags=RED))
    books.pass_time(HOUR)
    books.seal_ended()
    for answer in answers:
        books.submit_all(answer)
    books.take(event("2", tags=BLUE), event("1"))
    books.restart(pod, OTHER)
    assert [] == books.waiting()
    assert {"accepted": "8", "unbilled": "8"} == books.shown()
    kept = [((record.reason or "").partition(":")[0], render(record.quantity)) for record in books.records()]
    assert [(reason, "5"), ("other-product", "3")] == kept
    books.take(event("4"))
    finish(books)
    assert {"accepted": "12", "submitted": "4", "unbilled": "8"} == books.shown()
    assert ["0other"] == [record.product_code for record in books.records(status="accepted")]
    assert [] == faults(books)


def test_other_products_remainder_stays(books: Books) -> None:
    """What rounding held back for one product does not join another's record."""
    books.restart(rules=WHOLE)
    books.take(event("5.6"))
    finish(books)
    books.restart(rules=replace(WHOLE, product_code="0other"))
    books.take(event("1.5"))
    finish(books)
    assert {"accepted": "7.1", "submitted": "6", "unbilled": "0.6", "remainder": "0.5"} == books.shown()
    (kept,) = books.records(status="unbilled")
    assert ("other-product: taken for product 0abc123example, which is no longer configured", "usage") == (
        kept.reason,
        kept.kind,
    )
    assert [] == faults(books)


def test_own_product_returns(books: Books) -> None:
    """When the product is configured again, its new usage is billed, and what was set apart stays for a person."""
    books.take(event("5"))
    books.restart(rules=OTHER)
    books.restart(rules=RULES)
    books.take(event("2"))
    books.restart(rules=OTHER)
    books.restart(rules=RULES)
    books.take(event("1"))
    finish(books)
    assert {"accepted": "8", "submitted": "1", "unbilled": "7"} == books.shown()
    assert [] == faults(books)


@pytest.mark.parametrize("rules", [OTHER, RULES], ids=["other", "returned"])
def test_other_product_carried_by_hand(books: Books, rules: MeteringRules) -> None:
    """By a person's decision the usage joins the product that is configured, with its tags, and is billed once."""
    books.take(event("5", tags=RED), event("2"))
    books.restart(rules=OTHER)
    books.restart(rules=rules)
    decide(books, "rec-1", Action.CARRY)
    assert {("requests", 10, RED): "5", ("requests", 10, ()): "2"} == books.buckets()
    finish(books)
    assert {"accepted": "7", "submitted": "7"} == books.shown()
    assert [rules.product_code] == [record.product_code for record in books.records(status="accepted")]
    assert [] == faults(books)


def test_other_product_written_off(books: Books) -> None:
    """Written off, the usage stays unbilled for good."""
    books.take(event("5"))
    books.restart(rules=OTHER)
    decide(books, "rec-1", Action.WRITE_OFF)
    finish(books)
    assert {"accepted": "5", "unbilled": "5"} == books.shown()


def test_no_dimension_to_carry_into(books: Books) -> None:
    """Usage of a dimension that the configured product lacks cannot be carried; the refusal names the cure."""
    books.take(event("5"))
    books.restart(rules=replace(OTHER, dimensions={"users": RULES.dimensions["users"]}))
    with pytest.raises(NotResolvable, match=r"product 0other has no dimension requests; configure it"):
        decide(books, "rec-1", Action.CARRY)
    assert {"accepted": "5", "unbilled": "5"} == books.shown()


@pytest.mark.parametrize(("before", "after"), list(permutations(Aggregation, 2)))
def test_aggregation_changes(books: Books, before: Aggregation, after: Aggregation) -> None:
    """What an hour holds under one aggregation is closed, and joins the hour under the next as an entry of its own."""

    def use(aggregation: Aggregation, count: int) -> None:
        for number in range(count):
            books.take(event("1", value=f"{aggregation}-{number}" if aggregation is Aggregation.UNIQUE else None))

    books.restart(rules=metered_as(before))
    use(before, 3)
    old = {Aggregation.SUM: 3, Aggregation.UNIQUE: 3}.get(before, 1)
    books.restart(rules=metered_as(after))
    use(after, 2)
    new = {Aggregation.SUM: 2, Aggregation.UNIQUE: 2}.get(after, 1)
    assert {"accepted": str(old + new), "open": str(old + new)} == books.shown()
    entries = books.store.rows("SELECT cause, quantity FROM crossing")
    assert [("terms", str(old))] == [tuple(entry) for entry in entries]
    assert [] == faults(books)
    finish(books)
    assert {"accepted": str(old + new), "submitted": str(old + new)} == books.shown()
    assert [] == faults(books)


def test_aggregation_changes_and_returns(books: Books) -> None:
    """However often the terms change within an hour, each acknowledged unit is billed once."""
    books.take(event("5"))
    for _ in range(2):
        books.restart(rules=metered_as(Aggregation.LAST))
        books.take(event("5"))
        books.restart(rules=WHOLE)
        books.take(event("0.5"))
        books.restart(rules=RULES)
        books.take(event("1"))
    assert [] == faults(books)
    finish(books)
    shown = books.shown()
    assert shown["accepted"] == shown["submitted"]
    assert [] == faults(books)


def test_ended_hours_keep_terms(books: Books) -> None:
    """An hour that has ended is sealed under the aggregation and the kind under which its usage was taken."""
    books.restart(rules=metered_as(Aggregation.MAX))
    books.take(event("1.5"), event("0.7"))
    books.pass_time(HOUR)
    books.restart(rules=WHOLE)
    books.take(event("2.5"), event("2.5"))
    books.seal_ended()
    books.submit_all()
    finish(books)
    kept = [(record.hour.hour, render(record.quantity)) for record in books.records(dimension="requests")]
    assert [(10, "1.5"), (11, "5")] == kept
    assert [0, 1] == [row["whole"] for row in books.store.rows("SELECT whole FROM record ORDER BY hour")]
    assert [] == faults(books)


def test_slot_is_the_names(books: Books) -> None:
    """An hour with usage under two terms makes one record; what it cannot hold continues to the next hour."""
    books.take(event("3"))
    books.pass_time(HOUR)
    books.restart(rules=metered_as(Aggregation.LAST))
    books.take(event("7", at=NOW), event("1"))
    books.seal_ended()
    assert [(10, "3")] == [(record.hour.hour, render(record.quantity)) for record in books.records()]
    books.take(event("9", at=NOW))
    finish(books)
    finish(books)
    slots = books.store.rows(
        "SELECT hour, count(*) AS n FROM record JOIN dimension ON dimension.id = dimension GROUP BY hour"
    )
    assert {1} == {row["n"] for row in slots}
    assert {"accepted": "11", "submitted": "11"} == books.shown()
    assert [] == faults(books)


def test_frozen_slot_stays_frozen(books: Books) -> None:
    """A slot that was frozen under one aggregation takes no second quantity under the next."""
    books.take(event("3"))
    books.seal()
    books.restart(rules=metered_as(Aggregation.MAX))
    books.take(event("5"))
    assert {("requests", 11, ()): "5"} == books.buckets()
    assert [] == faults(books)


@pytest.mark.parametrize(("first", "second"), [(WHOLE, RULES), (RULES, WHOLE)])
def test_kind_changes(books: Books, first: MeteringRules, second: MeteringRules) -> None:
    """Between whole and decimal quantities nothing is lost: what rounding held back joins the next record."""
    books.restart(rules=first)
    books.take(event("5.6"))
    finish(books)
    books.take(event("1.2"))
    books.restart(rules=second)
    books.take(event("0.4"))
    finish(books)
    books.restart(rules=first)
    books.take(event("1.8"))
    finish(books)
    shown = books.shown()
    assert "9" == shown["accepted"]
    expected = ("8.2", "0.8") if first is WHOLE else ("9", None)
    assert (*expected, None) == (shown["submitted"], shown.get("remainder"), shown.get("open"))
    assert [] == faults(books)


def test_old_terms_leave_no_remainder(books: Books) -> None:
    """What rounding holds back of an hour that is sealed under old terms goes to the new ones, as does the excess."""
    books.restart(rules=WHOLE)
    books.take(event("1.6"))
    books.pass_time(HOUR)
    books.restart(rules=RULES)
    books.seal_ended()
    assert {"accepted": "1.6", "sealed": "1", "remainder": "0.6"} == books.shown()
    books.take(event("1"))
    finish(books)
    assert {"accepted": "2.6", "submitted": "2.6"} == books.shown()
    assert [] == faults(books)


def test_removed_dimension_returns(books: Books) -> None:
    """A dimension that is removed is sent to the end; it returns with the same books."""
    fewer = replace(RULES, dimensions={"users": RULES.dimensions["users"]})
    books.take(event("5"), event("7", dimension="peak"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.take(event("2"))
    books.restart(rules=fewer)
    books.submit_all()
    finish(books)
    assert {"accepted": "7", "submitted": "7"} == books.shown()
    books.restart(rules=RULES)
    books.take(event("1"), event("8", dimension="peak", at=NOW))
    finish(books)
    assert {"accepted": "8", "submitted": "8"} == books.shown()
    assert {"accepted": "8", "submitted": "8"} == books.shown("peak")
    assert [] == faults(books)


def test_removed_dimension_adopted(books: Books) -> None:
    """A successor that no longer has the dimension adopts and sends what is left of it."""
    books.take(event("5", tags=RED))
    books.restart("pod-2", replace(RULES, dimensions={"users": RULES.dimensions["users"]}))
    finish(books)
    assert {"accepted": "5", "submitted": "5"} == books.shown()
    assert [] == faults(books)


@pytest.mark.parametrize(
    "changed",
    [
        UNBILLED_LATE,
        replace(RULES, window=timedelta(hours=2)),
        replace(UNBILLED_LATE, window=timedelta(hours=2)),
        replace(RULES, settle=timedelta(minutes=30)),
        replace(UNBILLED_LATE, window=timedelta(hours=6), settle=timedelta()),
    ],
)
@pytest.mark.parametrize("pod", ["pod-1", "pod-2"])
def test_policies_change(books: Books, changed: MeteringRules, pod: str) -> None:
    """Another `late`, `window` or `settle` at the next start moves quantities by the new rule, and loses none."""
    books.take(event("5"), event("3", dimension="peak"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.UNKNOWN)
    books.take(event("2"), event("1", at=NOW))
    books.pass_time(3 * HOUR)
    for rules in (changed, RULES, changed):
        books.restart(pod, rules)
        books.take(event("1"), event("4", at=NOW), event("6", dimension="peak", at=NOW))
        books.expire()
        books.seal_ended()
        assert [] == faults(books)
        books.pass_time(HOUR)
    books.submit_all()
    assert ("23", "6") == (books.shown()["accepted"], books.shown("peak")["accepted"])
    assert [] == faults(books)


def test_changes_are_told_once(books: Books) -> None:
    """Opening under the same rules again reports no change."""
    books.take(event("5"))
    books.restart(rules=metered_as(Aggregation.LAST))
    first = books.change
    books.restart()
    second = books.change
    books.restart(rules=OTHER)
    third = books.change
    books.restart()
    assert ({"requests": 5_000_000}, [], {}) == (first.renewed, first.foreign, second.renewed)
    assert [("requests", "0abc123example", 5_000_000, 0)] == [
        (each.dimension, each.product_code, each.unbilled, each.in_doubt) for each in third.foreign
    ]
    assert [] == books.change.foreign


def test_doubt_under_other_terms_counts_as_billed(books: Books) -> None:
    """What AWS may hold of the hour under the aggregation before is not billed again under the next."""
    books.restart(rules=metered_as(Aggregation.MAX))
    books.take(event("10"))
    books.seal()
    books.submit_all(Outcome.UNKNOWN)
    books.restart("pod-2", metered_as(Aggregation.LAST))
    books.take(event("11"))
    assert {"accepted": "11", "open": "1", "unbilled": "10"} == books.shown()


def test_distinct_values_beyond_what_other_terms_have_billed(books: Books) -> None:
    """Values count from the first that exceeds what the hour has billed under another aggregation, and each of them."""
    books.restart(rules=metered_as(Aggregation.MAX))
    books.take(event("3"))
    books.seal()
    books.submit_all()
    books.restart("pod-2", metered_as(Aggregation.UNIQUE))
    books.take(event(value="ann"), event(value="bob"))
    books.take(event(value="cid"), event(value="dan"))
    assert {"accepted": "4", "open": "1", "submitted": "3"} == books.shown()
