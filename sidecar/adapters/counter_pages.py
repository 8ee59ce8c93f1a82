"""Fetches the pages with counters that the app exposes to Prometheus.

A page comes from the pod itself, so no proxy, no redirect and no name beyond the loopback interface is followed. The
body is bounded while it is unpacked, and the whole answer by one time limit. Blocks: the caller uses a thread.
"""

import gzip
import io
import zlib
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

from sidecar.domain.metering.pages import OPENMETRICS, PageUnusable
from sidecar.http_client import Listener, NoAnswer, Response

LARGEST_PAGE = 32 * 1024 * 1024
"""Bytes of a page, unpacked; 50,000 series take about 5 MiB."""
LONGEST_ANSWER = timedelta(seconds=10)
_HEADERS = {
    "Accept": f"{OPENMETRICS};version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": "marketplace-sidecar",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class PageBody:
    """A page as it came."""

    text: str
    openmetrics: bool


def fetch_page(url: str, within: timedelta) -> PageBody:
    """Return the page at a URL.

    Args:
        url: An http URL.
        within: How long connecting, each read, and the answer as a whole may take; `LONGEST_ANSWER` at most.

    Raises:
        PageUnusable: There is no whole page: no answer, an error status, a cut or too large body, or no UTF-8 text.
    """
    limit = min(within, LONGEST_ANSWER).total_seconds()
    listener, path = Listener.of_url(url)
    try:
        response = listener.send("GET", path, limit, headers=_HEADERS, largest=LARGEST_PAGE + 1)
    except NoAnswer as error:
        raise PageUnusable(f"cannot be fetched within {limit:g} s: {error}") from None
    if response.status != HTTPStatus.OK:
        raise PageUnusable(f"has the status {response.status}")
    try:
        text = _unpack(response).decode()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PageUnusable(f"cannot be unpacked: {error}") from None
    except UnicodeDecodeError:
        raise PageUnusable("is not UTF-8 text") from None
    return PageBody(text, response.headers.get("Content-Type", "").lower().startswith(OPENMETRICS))


def _unpack(response: Response) -> bytes:
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in {"identity", "gzip"}:
        raise PageUnusable(f"has the content encoding {coding[:40]}, which was not asked for")
    body = response.body
    if coding == "gzip" and len(body) <= LARGEST_PAGE:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            body = file.read(LARGEST_PAGE + 1)
    if len(body) > LARGEST_PAGE:
        raise PageUnusable(f"is larger than {LARGEST_PAGE // 2**20} MiB")
    return body
