"""The proof finds every row and total that is not what its parts make it."""

import pytest

from sidecar.domain.metering.outcomes import Outcome
from sidecar.domain.policy import LatePolicy
from tests.support.books import HOUR, NOW, RED, RULES, UNBILLED_LATE, Books, event


@pytest.fixture
def told(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """Make a ledger in which every kind of row is there."""
    books = Books(tmp_path_factory.mktemp("proof") / "ledger.db", durable=False)
    books.take(event("1", tags=RED), event("9999999999.999999"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all()
    books.take(event("3", at=NOW), event("2", dimension="peak"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.EXPIRED)
    books.take(event("4"))
    books.pass_time(HOUR)
    books.seal_ended()
    books.submit_all(Outcome.DUPLICATE)
    books.rules = UNBILLED_LATE
    books.take(event("6", at=NOW), event("1"))
    assert LatePolicy.CARRY is RULES.late
    assert [] == books.breaches()
    return books


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE bucket SET own = '7' WHERE sealed = 0", "accepted is"),
        ("UPDATE bucket SET own = '7' WHERE hour = {ten} AND tag_set = 0", "gathered"),
        ("UPDATE bucket SET carried = '1' WHERE sealed = 0", "carried in 1 but the entries make"),
        ("UPDATE bucket SET moved = '1' WHERE sealed = 0", "moved out"),
        ("UPDATE bucket SET moved = '2' WHERE sealed = 0", "is negative"),
        ("DELETE FROM bucket WHERE sealed = 0", "accepted is"),
        ("UPDATE record SET quantity = '8' WHERE status = 'accepted'", "what became of it differ"),
        ("UPDATE record SET quantity = '8' WHERE kind = 'late'", "what became of it differ"),
        ("UPDATE record SET gathered = '8' WHERE kind = 'late'", "moved out"),
        ("UPDATE record SET gathered = '8' WHERE status = 'carried'", "gathered 8 but its buckets make"),
        ("UPDATE record SET excess = '0' WHERE excess <> '0'", "excess 0"),
        ("UPDATE record SET remainder_after = '1' WHERE status = 'carried'", "what became of it differ"),
        ("UPDATE record SET status = 'accepted' WHERE status = 'unbilled' AND kind = 'slot'", "without a metering"),
        ("UPDATE record SET status = 'sealed' WHERE status = 'carried'", "sealed, but"),
        ("UPDATE record SET metering_record_id = NULL WHERE status = 'accepted'", "without a metering record id"),
        ("DELETE FROM record WHERE status = 'unbilled'", "unbilled is"),
        ("DELETE FROM record WHERE status = 'accepted'", "submitted is"),
        ("UPDATE allocation SET quantity = '2' WHERE tag_set <> 0", "its allocations make"),
        ("UPDATE carry SET quantity = '2' WHERE cause = 'over-limit'", "was carried on"),
        ("DELETE FROM carry WHERE cause = 'expired'", "of it was carried on"),
        ("DELETE FROM carry WHERE cause = 'late'", "the entries make"),
        ("UPDATE dimension SET accepted = '1' WHERE name = 'requests'", "accepted is 1"),
        ("UPDATE dimension SET submitted = '1' WHERE name = 'requests'", "submitted is 1"),
        ("UPDATE dimension SET unbilled = '1' WHERE name = 'requests'", "unbilled is 1"),
        ("UPDATE dimension SET remainder = '1' WHERE name = 'requests'", "its parts make"),
    ],
)
def test_damage_found(told: Books, damage: str, words: str) -> None:
    """Each change of one value by another hand than the ledger's is named by the proof."""
    hour = told.store.one("SELECT min(hour) AS hour FROM record")["hour"]
    changed = told.store.connection.execute(damage.format(ten=hour)).rowcount
    found = told.breaches()
    told.close()
    assert changed
    assert any(words in sentence for sentence in found), found
