"""Fetches the pages with counters that the app exposes to Prometheus.

A page comes from the pod itself, so no proxy, no redirect and no name beyond the loopback interface is followed. The
body is bounded while it is unpacked, and the whole answer by one time limit. Blocks: the caller uses a thread.
"""

import gzip
import http.client
import io
import time
import zlib
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

from sidecar.domain.metering.pages import OPENMETRICS, PageUnusable

LARGEST_PAGE = 32 * 1024 * 1024
"""Bytes of a page, unpacked; 50,000 series take about 5 MiB."""
LONGEST_ANSWER = timedelta(seconds=10)
_CHUNK = 256 * 1024
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
    deadline = time.monotonic() + limit
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=limit)
    try:
        connection.request("GET", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", headers=_HEADERS)
        with connection.getresponse() as response:
            if response.status != HTTPStatus.OK:
                raise PageUnusable(f"has the status {response.status}")
            text = _read(response, deadline).decode()
            kind = response.getheader("Content-Type") or ""
    except TimeoutError:
        raise PageUnusable(f"did not come within {limit:g} s") from None
    except http.client.IncompleteRead:
        raise PageUnusable("is cut: the connection ended within the body") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise PageUnusable(f"cannot be unpacked: {error}") from None
    except UnicodeDecodeError:
        raise PageUnusable("is not UTF-8 text") from None
    except (OSError, http.client.HTTPException) as error:
        words = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise PageUnusable(f"cannot be fetched: {words}") from None
    finally:
        connection.close()
    return PageBody(text, kind.lower().startswith(OPENMETRICS))


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    coding = (response.getheader("Content-Encoding") or "identity").strip().lower()
    if coding not in {"identity", "gzip"}:
        raise PageUnusable(f"has the content encoding {coding[:40]}, which was not asked for")
    declared = response.length
    packed = bytearray()
    # One read of the socket at a time: a body that trickles must not extend the limit by more than one of them.
    while chunk := response.read1(_CHUNK):
        packed += chunk
        if time.monotonic() > deadline:
            raise TimeoutError
        _refuse_large(len(packed))
    if declared is not None and len(packed) != declared:
        raise http.client.IncompleteRead(b"")
    if coding == "identity":
        return bytes(packed)
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        body = file.read(LARGEST_PAGE + 1)
    _refuse_large(len(body))
    return body


def _refuse_large(size: int) -> None:
    if size > LARGEST_PAGE:
        raise PageUnusable(f"is larger than {LARGEST_PAGE // 2**20} MiB")
