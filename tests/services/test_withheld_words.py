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
    "error",
    [
        InvalidTagException("malformed"),
        InvalidUsageAllocationsException("malformed"),
        UnknownAnswer("bad input", "ValidationException"),
    ],
)
def test_words_about_tags_are_withheld(error: MarketplaceError) -> None:
    """Words that may quote a tag in any form are not shown; code and request id are."""
    error.request_id = "request-1"
    found = withheld(error, [(), LOGIN])
    assert found is not None
    assert found.startswith(f"{error.code}: AWS's words may name tags")
    assert found.endswith("(request request-1)")
    assert ("`ledger records`" in found) is not isinstance(error, UnknownAnswer)
    assert error.message not in found


@pytest.mark.parametrize(
    ("tags", "said", "shown"),
    [
        (LOGIN, r"Rate exceeded for CORP\anna", "Rate exceeded for ***"),
        (LOGIN, r"Rate exceeded for {\"value\": \"CORP\\\\anna\"}", r"Rate exceeded for {\"value\": \"***\"}"),
        (LOGIN, "no access to 'Tenant', Tenant", "no access to '***', Tenant"),
        (LETTER, "Rate exceeded for 'a' of a client", "Rate exceeded for '***' of a client"),
        (LETTER, "Rate exceeded for Plan=a.", "Rate exceeded for Plan=***."),
        (WORD, "acmeters: the rate of acme, exceeded", "acmeters: the rate of ***, exceeded"),
        ((("Path", "a/b/c"),), r"Rate of a\/b\/c exceeded", "Rate of *** exceeded"),
        ((("Who", "acme"), ("Where", "acme-eu")), "acme-eu and acme", "*** and ***"),
    ],
)
def test_tags_are_hidden(tags: Tags, said: str, shown: str) -> None:
    """In other words only the tags are hidden: what the operator needs stays."""
    assert f"ThrottlingException: {shown} (request r-1)" == withheld(
        ThrottlingException(said, request_id="r-1"), [(), tags]
    )


def test_many_tags_cost_little() -> None:
    """Values that are parts of the message's words are searched as texts, thousands of them too."""
    message = "".join(chr(97 + number % 26) for number in range(2600))
    many: list[Tags] = [(("Tenant", message[at : at + 9]),) for at in range(2500)]
    assert withheld(ThrottlingException(message), many) is None


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
