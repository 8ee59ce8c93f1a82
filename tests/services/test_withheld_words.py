"""Which of AWS's words a log may show, by the tags of the record."""

import pytest

from sidecar.domain.metering.events import Tags
from sidecar.marketplace.errors import MarketplaceError, NoAnswer, UnknownAnswer
from sidecar.marketplace.service_errors import (
    AccessDeniedException,
    InvalidTagException,
    InvalidUsageAllocationsException,
    ThrottlingException,
)
from sidecar.services.withheld_words import withheld

LOGIN: Tags = (("Tenant", r"CORP\anna"),)
LETTER: Tags = (("Plan", "a"),)
WORD: Tags = (("Tenant", "acme"),)


@pytest.mark.parametrize(
    ("tags", "error"),
    [
        (LOGIN, InvalidTagException("malformed")),
        (LOGIN, InvalidUsageAllocationsException("malformed")),
        (LOGIN, UnknownAnswer("bad input", "ValidationException")),
        (LOGIN, ThrottlingException(r"Rate exceeded for CORP\anna")),
        (LOGIN, ThrottlingException(r"Rate exceeded for {\"value\": \"CORP\\\\anna\"}")),
        (LOGIN, AccessDeniedException("no access to 'Tenant'")),
        (LETTER, ThrottlingException("Rate exceeded for 'a'")),
        (LETTER, ThrottlingException("Rate exceeded for Plan=a.")),
        (WORD, ThrottlingException("The rate of acme, exceeded")),
        ((("Path", "a/b/c"),), ThrottlingException(r"Rate of a\/b\/c exceeded")),
    ],
)
def test_tags_are_withheld(tags: Tags, error: MarketplaceError) -> None:
    """Words that name a tag, or may name one, are not shown; code and request id are, and where the words are."""
    error.request_id = "request-1"
    found = withheld(error, [(), tags])
    assert found is not None
    assert found.startswith(f"{error.code}: ")
    assert found.endswith("(request request-1)")
    assert "`ledger records`" in found
    assert error.message not in found


@pytest.mark.parametrize(
    ("tags", "error"),
    [
        ((), InvalidTagException("malformed")),
        (LOGIN, InvalidTagException()),
        (LETTER, ThrottlingException("Rate exceeded for a client")),
        (LETTER, ThrottlingException("Rate exceeded")),
        (WORD, ThrottlingException("acmeters are measured")),
        (WORD, AccessDeniedException("The Tenant may not meter")),
        (WORD, NoAnswer("acme.example.com closed the connection")),
        (WORD, UnknownAnswer("HTTP 502 without an error of the service", "502")),
        (WORD, UnknownAnswer("the answer has no request id, so it is not AWS's")),
    ],
)
def test_ordinary_words_are_shown(tags: Tags, error: MarketplaceError) -> None:
    """Words without a tag are shown, also if a short value is a part of them, and so are the client's own."""
    assert withheld(error, [(), tags]) is None
