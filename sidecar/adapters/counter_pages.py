"""Fetches the pages with counters that the app exposes to Prometheus.

A page comes from the pod itself, so no proxy, no redirect and no name beyond the loopback interface is followed. The
body is bounded while it is unpacked, and the whole answer by one time limit. A body stays packed until the caller has
room for it. Blocks: the caller uses a thread.
"""

import codecs
import gzip
import io
import zlib
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

from sidecar.domain.metering.pages import OPENMETRICS, PageUnusable
from sidecar.http_client import Listener, NoAnswer

LARGEST_PAGE = 16 * 1024 * 1024
"""Bytes of a page, unpacked; 50,000 series take about 5 MiB."""
LONGEST_ANSWER = timedelta(seconds=10)
_PIECE = 256 * 1024
_HEADERS = {
    "Accept": f"{OPENMETRICS};version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "marketplace-sidecar",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class PageBody:
    """A page as it came."""

    body: bytes
    """Packed, if it came so."""
    packed: bool
    openmetrics: bool

    def unpack(self) -> bytes:
        """Return the page, UTF-8 text; raises PageUnusable if it is too large, or not whole."""
        page = self.body
        if self.packed and len(page) <= LARGEST_PAGE:
            try:
                with gzip.GzipFile(fileobj=io.BytesIO(page)) as file:
                    page = file.read(LARGEST_PAGE + 1)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise PageUnusable(f"cannot be unpacked: {error}") from None
        if len(page) > LARGEST_PAGE:
            raise PageUnusable(f"is larger than {LARGEST_PAGE // 2**20} MiB")
        _refuse_other_text(page)
        return page


def fetch_page(url: str, within: timedelta) -> PageBody:
    """Return the page at a URL, not yet unpacked.

    Args:
        url: An http URL.
        within: How long connecting, each read, and the answer as a whole may take; `LONGEST_ANSWER` at most.

    Raises:
        PageUnusable: There is no whole answer: an error status, a cut body, or an unknown encoding.
    """
    limit = min(within, LONGEST_ANSWER).total_seconds()
    listener, path = Listener.of_url(url)
    try:
        response = listener.send("GET", path, limit, headers=_HEADERS, largest=LARGEST_PAGE + 1)
    except NoAnswer as error:
        raise PageUnusable(f"cannot be fetched within {limit:g} s: {error}") from None
    if response.status != HTTPStatus.OK:
        raise PageUnusable(f"has the status {response.status}")
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in {"identity", "gzip"}:
        raise PageUnusable(f"has the content encoding {coding[:40]}, which was not asked for")
    openmetrics = response.headers.get("Content-Type", "").lower().startswith(OPENMETRICS)
    return PageBody(response.body, coding == "gzip", openmetrics)


def _refuse_other_text(page: bytes) -> None:
    """Refuse what is not UTF-8, piece by piece: the text as a whole could take four times the room of its bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(page), _PIECE):
            decoder.decode(page[start : start + _PIECE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise PageUnusable("is not UTF-8 text") from None
