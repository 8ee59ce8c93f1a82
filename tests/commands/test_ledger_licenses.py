"""`ledger licenses` and `ledger resolve checkout-N`: what a person sees and decides about checkouts."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.adapters.ledger import checkouts
from sidecar.cli import main
from sidecar.domain.entitlement.checkouts import CheckoutKind, CheckoutState
from sidecar.domain.entitlement.states import LicenseEvidence
from tests.support.books import Books, make_schema_4
from tests.support.licenses import ARN, CHECKOUT, SKU, START

SEAT = replace(
    CHECKOUT,
    state=CheckoutState.HELD,
    consumption_token="a-secret",
    expires_at=START + timedelta(hours=1),
    confirmed_at=None,
)
DOUBT = replace(
    SEAT,
    id="order-1",
    kind=CheckoutKind.APP,
    entitlement="reports",
    drawdown=True,
    state=CheckoutState.IN_DOUBT,
    unanswered=2,
    expires_at=None,
)


EVIDENCE = LicenseEvidence(pod="pod-1", sku=SKU, arn=ARN, region="us-east-1", proved_at=START, seated=True)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with a seat, and a draw-down in doubt."""
    path = tmp_path / "ledger.db"
    books = Books(path)
    with books.store.transaction():
        for checkout in (SEAT, DOUBT):
            checkouts.write(books.store, checkout)
        checkouts.write_license(books.store, EVIDENCE)
    books.close()
    return path


def states(path: Path) -> dict[str, str]:
    """Return the state of each checkout."""
    books = Books(path)
    found = {each.id: str(each.state) for each in checkouts.read_all(books.store.connection, 10)}
    books.close()
    return found


def test_licenses_are_listed(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """License and checkouts are shown, the newest first, and no consumption token."""
    assert 0 == main(["ledger", "licenses", "--ledger", str(ledger)])
    text = capsys.readouterr().out
    assert [True, True, True, False] == [ARN in text, "checkout-2" in text, "in-doubt" in text, "a-secret" in text]
    assert 0 == main(["ledger", "licenses", "--json", "--ledger", str(ledger)])
    document = json.loads(capsys.readouterr().out)
    assert (ARN, True) == (document["license"]["arn"], document["license"]["seated"])
    assert [("checkout-2", "in-doubt"), ("checkout-1", "held")] == [
        (each["row"], each["state"]) for each in document["checkouts"]
    ]


def test_nothing_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger without a license, or from before checkouts, has none to show."""
    path = tmp_path / "ledger.db"
    books = Books(path)
    make_schema_4(books.store.connection)
    books.store.connection.executescript(
        "DROP TABLE series; DROP TABLE source; DROP TABLE checkout; PRAGMA user_version = 2;"
    )
    books.close()
    assert 0 == main(["ledger", "licenses", "--json", "--read-only", "--ledger", str(path)])
    assert {"license": None, "checkouts": []} == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("action", "state"), [("accept", "held"), ("write-off", "refused")])
def test_doubt_is_resolved(ledger: Path, capsys: pytest.CaptureFixture[str], action: str, state: str) -> None:
    """A person settles the draw-down once; who and why are kept."""
    command = ["ledger", "resolve", "checkout-2", action, "--reason", "seen", "--ledger", str(ledger)]
    assert 0 == main([*command, "--dry-run"])
    assert "in-doubt" == states(ledger)["order-1"]
    assert 0 == main(command)
    assert f"is {state}" in capsys.readouterr().out
    assert state == states(ledger)["order-1"]
    assert 1 == main(command)
    assert 0 == main(["ledger", "licenses", "--json", "--ledger", str(ledger)])
    assert "seen" == json.loads(capsys.readouterr().out)["checkouts"][0]["resolved_reason"]


@pytest.mark.parametrize(
    ("names", "action", "code"),
    [
        ("checkout-2", "carry", 2),
        ("checkout-2,checkout-1", "accept", 2),
        ("checkout-x", "accept", 2),
        ("checkout-9", "accept", 1),
    ],
)
def test_what_cannot_be_resolved(ledger: Path, names: str, action: str, code: int) -> None:
    """Other actions, several ids and unknown ids change nothing."""
    assert code == main(["ledger", "resolve", names, action, "--reason", "why", "--ledger", str(ledger)])
    assert {"order-1": "in-doubt", "seats": "held"} == states(ledger)
