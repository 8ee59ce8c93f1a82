"""The checks of the public keys, with the ledger's evidence and a running sidecar's words."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.adapters.ledger.evidence import write_evidence
from sidecar.checks.keys import check_keys, check_rotation
from sidecar.checks.running import RunningSidecar
from sidecar.domain.check_result import CheckResult, CheckStatus
from sidecar.domain.entitlement.states import Evidence
from sidecar.settings import EntitlementCheck, EntitlementSettings, LedgerSettings, Product, Settings
from tests.support.books import NOW, Books

if TYPE_CHECKING:
    from tests.conftest import Signer

CODE = "0abc123example"


@pytest.fixture
def settings(tmp_path: Path, seller: "Signer") -> Settings:
    """A product with its key, and a ledger that is not there yet."""
    product = Product(code=CODE, public_keys={1: seller.write(tmp_path)})
    return Settings(product=product, ledger=LedgerSettings(tmp_path / "ledger.db"))


def remember(settings: Settings, signature: str, **changes: Any) -> None:
    """Leave the evidence of a registration on the ledger."""
    evidence = Evidence("pod-1", CODE, 1, NOW, "nonce-of-it", signature)
    books = Books(settings.ledger.path)
    with books.store.transaction():
        write_evidence(books.store, replace(evidence, **changes))
    books.close()


def rotation(settings: Settings, *faults: dict[str, str], registered: bool = False) -> CheckResult:
    """Check next to a sidecar that says this of itself."""
    entitlement = {"registered_at": "2026-11-23T10:20:00Z" if registered else None}
    return check_rotation(settings, RunningSidecar({"entitlement": entitlement, "faults": list(faults)}))


def test_key_size_is_told(settings: Settings) -> None:
    """A good key is reported with its version and its size."""
    diagnosis = check_keys(settings.product)
    assert (CheckStatus.OK, True) == (diagnosis.status, "version 1 is RSA of 2048 bits" in diagnosis.found)


def test_every_bad_key_is_told(settings: Settings, tmp_path: Path) -> None:
    """Every key that cannot be used is named with its file and version."""
    (tmp_path / "2.pem").write_text("no key")
    paths = {**settings.product.public_keys, 2: tmp_path / "2.pem", 3: tmp_path / "absent.pem"}
    diagnosis = check_keys(replace(settings.product, public_keys=paths))
    assert CheckStatus.FAIL is diagnosis.status
    assert "2.pem (version 2)" in diagnosis.found
    assert "absent.pem (version 3)" in diagnosis.found


def test_no_key_is_skipped() -> None:
    """A product that needs no key has none to judge."""
    assert check_keys(Product(code=CODE)).status is CheckStatus.SKIPPED


def test_rotation_is_passed_on(settings: Settings) -> None:
    """What AWS told the running sidecar of a rotation is reported."""
    fault = {"code": "public-key-rotated", "detail": "AWS rotated the key on Monday", "cure": "x"}
    diagnosis = rotation(settings, fault, registered=True)
    assert (CheckStatus.WARN, "AWS rotated the key on Monday") == (diagnosis.status, diagnosis.found)


def test_registered_sidecar_is_right(settings: Settings) -> None:
    """A running sidecar that has registered and heard of no rotation has the right key."""
    assert rotation(settings, registered=True).status is CheckStatus.OK


@pytest.mark.parametrize("registered_at", [None, "2026-11-23T10:00:00Z"])
def test_wrong_key_is_told(settings: Settings, registered_at: str | None) -> None:
    """A running sidecar that believes no answer has the wrong key, whatever it registered before."""
    entitlement = {"registered_at": registered_at, "reason": "signature-invalid"}
    diagnosis = check_rotation(settings, RunningSidecar({"entitlement": entitlement}))
    assert (CheckStatus.FAIL, True) == (diagnosis.status, "public_key_version" in diagnosis.cure)


def test_unknown_rotation_is_skipped(settings: Settings) -> None:
    """Before any registration this is unknown; a sidecar that still waits does not either."""
    assert check_rotation(settings, None).status is CheckStatus.SKIPPED
    assert rotation(settings).status is CheckStatus.SKIPPED


def test_kept_registration_verifies(settings: Settings, seller: "Signer") -> None:
    """The registration that the ledger keeps shows that the key is the right one; it is not shown itself."""
    signature = seller.token({"productCode": CODE})
    remember(settings, signature)
    diagnosis = check_rotation(settings, None)
    assert (CheckStatus.OK, False) == (diagnosis.status, signature in str(diagnosis))


def test_wrong_key_is_doubtful(settings: Settings, stranger: "Signer") -> None:
    """A registration that does not verify under the key makes the key doubtful."""
    remember(settings, stranger.token({"productCode": CODE}))
    diagnosis = check_rotation(settings, None)
    assert (CheckStatus.WARN, False) == (diagnosis.status, "nonce-of-it" in str(diagnosis))


@pytest.mark.parametrize("changes", [{"product_code": "other"}, {"public_key_version": 2}, {"signature": ""}])
def test_other_registration_proves_nothing(settings: Settings, seller: "Signer", changes: dict[str, Any]) -> None:
    """A registration of another product or version, or by metering, shows nothing of this key."""
    remember(settings, **{"signature": seller.token({}), **changes})
    assert check_rotation(settings, None).status is CheckStatus.SKIPPED


def test_unusable_key_is_not_judged_twice(settings: Settings, seller: "Signer") -> None:
    """A key that cannot be read is the business of the other check."""
    remember(settings, seller.token({}))
    settings.product.public_keys[1].write_text("no key")
    assert check_rotation(settings, None).status is CheckStatus.SKIPPED


def test_no_registration_no_key(settings: Settings) -> None:
    """Where metering proves the entitlement no key is used."""
    by_metering = replace(settings, entitlement=EntitlementSettings(check=EntitlementCheck.METER))
    assert check_rotation(by_metering, None).status is CheckStatus.SKIPPED
