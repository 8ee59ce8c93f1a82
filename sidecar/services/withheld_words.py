"""What a log or a fault may show of AWS's words about a record: its tags never.

The ledger keeps the words whole. Only what AWS wrote is judged: the client's own words never hold a tag.
"""

import re
from collections.abc import Iterable

from sidecar.domain.metering.events import Tags
from sidecar.marketplace import errors
from sidecar.marketplace.errors import MarketplaceError, UnknownAnswer
from sidecar.marketplace.service_errors import InvalidTagException, InvalidUsageAllocationsException

_OWN = (errors.InvalidRequest, errors.NotSent, errors.NoAnswer, errors.UnsupportedRegion)
"""Errors in the client's own words."""
_ABOUT_TAGS = (InvalidTagException, InvalidUsageAllocationsException)
_WORD = 3
"""From this length on a value is searched as a word: shorter ones are words of any sentence, such as `a` and `in`."""


def withheld(error: MarketplaceError, tag_sets: Iterable[Tags]) -> str | None:
    """Return what stands for the words of `error` where its record's tags may not be shown; None: the words may be.

    The words of the errors about tags, and of codes that no model has, are not shown for a record with tags: AWS may
    quote a tag in any form. Other words are not shown if they hold a value as a word, or a key or value in quotes or
    behind an equals sign.
    """
    if not error.message or not _names_tags(error, [tags for tags in tag_sets if tags]):
        return None
    request = "" if error.request_id is None else f" (request {error.request_id})"
    return f"{error.code}: AWS's words may name tags. `ledger records` has them with the unbilled record{request}"


def _names_tags(error: MarketplaceError, tag_sets: list[Tags]) -> bool:
    if not tag_sets or isinstance(error, _OWN):
        return False
    if isinstance(error, UnknownAnswer):
        # Without a code of the service the client describes the answer itself.
        return not (error.code.isdigit() or error.code == UnknownAnswer.__name__)
    if isinstance(error, _ABOUT_TAGS):
        return True
    message = _unescaped(error.message)
    pairs = {pair for tags in tag_sets for pair in tags}
    values = {value for _, value in pairs}
    texts = values | {key for key, _ in pairs}
    return any(_is_quoted(_unescaped(text), message) for text in texts) or any(
        _is_word(_unescaped(value), message) for value in values if len(value) >= _WORD
    )


def _unescaped(text: str) -> str:
    """Return the text without the escapes of JSON and Python, for both sides of a comparison."""
    return re.sub(r"\\+", r"\\", text).replace("\\/", "/")


def _is_quoted(text: str, message: str) -> bool:
    return text in message and re.search(rf"[\"'`=]{re.escape(text)}(?!\w)", message) is not None


def _is_word(text: str, message: str) -> bool:
    return text in message and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", message) is not None
