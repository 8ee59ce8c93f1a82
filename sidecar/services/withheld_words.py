"""What a log or a fault may show of AWS's words about a record: its tags never.

The ledger keeps the words whole. Only what AWS wrote is judged: the client's own words never hold a tag.
"""

import asyncio
from collections.abc import Iterable, Sequence

from sidecar.domain.metering.events import Tags
from sidecar.marketplace import errors
from sidecar.marketplace.errors import MarketplaceError, UnknownAnswer
from sidecar.marketplace.service_errors import InvalidTagException, InvalidUsageAllocationsException
from sidecar.services.meter_request import LARGE_RECORD

_OWN = (errors.InvalidRequest, errors.NotSent, errors.NoAnswer, errors.UnsupportedRegion)
"""Errors in the client's own words."""
_ABOUT_TAGS = (InvalidTagException, InvalidUsageAllocationsException)
_WORD = 3
"""From this length on a value is searched as a word: shorter ones are words of any sentence, such as `a` and `in`."""
_QUOTES = frozenset("\"'`=")
_HIDDEN = "***"


async def find_withheld(error: MarketplaceError, tag_sets: Sequence[Tags]) -> str | None:
    """Return what `withheld` returns; thousands of tag sets are searched on another thread than the event loop's."""
    if len(tag_sets) < LARGE_RECORD:
        return withheld(error, tag_sets)
    return await asyncio.to_thread(withheld, error, tag_sets)


def withheld(error: MarketplaceError, tag_sets: Iterable[Tags]) -> str | None:
    """Return what stands for the words of `error` where its record's tags may not be shown; None: the words may be.

    The words of the errors about tags, and of codes that no model has, are not shown for a record with tags: AWS may
    quote a tag in any form. In other words `***` stands for a value that is there as a word, and for a key or value in
    quotes or behind an equals sign.
    """
    tagged = [tags for tags in tag_sets if tags]
    if not error.message or not tagged or isinstance(error, _OWN):
        return None
    request = "" if error.request_id is None else f" (request {error.request_id})"
    if isinstance(error, _ABOUT_TAGS):
        return f"{error.code}: AWS's words may name tags. `ledger records` has them with the unbilled record{request}"
    if isinstance(error, UnknownAnswer):
        # Without a code of the service the client describes the answer itself.
        if error.code.isdigit() or error.code == UnknownAnswer.__name__:
            return None
        return f"{error.code}: AWS's words may name tags, and are not shown{request}"
    shown = _hide(tagged, error.message)
    return None if shown is None else f"{error.code}: {shown}{request}"


def _hide(tagged: Iterable[Tags], message: str) -> str | None:
    """Return a message without the tags that it names; None if it names none."""
    plain = _unescaped(message)
    pairs = {pair for tags in tagged for pair in tags}
    values = {_unescaped(value) for _, value in pairs if len(value) >= _WORD}
    texts = values | {_unescaped(text) for pair in pairs for text in pair if text}
    shown = plain
    # The longest first: a shorter one may be a part of it.
    for text in sorted((text for text in texts if text in plain), key=len, reverse=True):
        shown = _replace(shown, text, as_word=text in values)
    return None if shown == plain else shown


def _replace(message: str, text: str, *, as_word: bool) -> str:
    at = message.find(text)
    while at >= 0:
        before, after = message[at - 1 : at] or " ", message[at + len(text) :][:1] or " "
        if not _is_letter(after) and (before in _QUOTES or (as_word and not _is_letter(before))):
            message = message[:at] + _HIDDEN + message[at + len(text) :]
        at = message.find(text, at + 1)
    return message


def _is_letter(character: str) -> bool:
    return character.isalnum() or character == "_"


def _unescaped(text: str) -> str:
    """Return the text without the escapes of JSON and Python, for both sides of a comparison."""
    if "\\" not in text:
        return text
    while "\\\\" in text:
        text = text.replace("\\\\", "\\")
    return text.replace("\\/", "/")
