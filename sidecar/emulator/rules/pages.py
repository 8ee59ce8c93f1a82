"""One page of a list, and the token of the next one. A token names a place in the list, the same one in every run."""

import re
from collections.abc import Sequence
from typing import TypeVar

from sidecar.emulator.protocol.errors import ServiceError

T = TypeVar("T")
_TOKEN = re.compile(r"page-([0-9]{1,9})", re.ASCII)


def cut_page(found: Sequence[T], token: str | None, size: int, error: str) -> tuple[Sequence[T], str | None]:
    """Return the page that a token names, the first one without a token, and the token of the page after it.

    Raises:
        ServiceError: The token is not one of this list; its code is `error`.
    """
    named = _TOKEN.fullmatch("page-0" if token is None else token)
    if named is None:
        raise ServiceError(error, "NextToken: is not a token of this list.")
    start = int(named[1])
    end = start + size
    return found[start:end], f"page-{end}" if end < len(found) else None
