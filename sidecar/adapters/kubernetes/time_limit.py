"""A TLS socket that reads until a deadline.

The time limit of an ordinary socket counts for each read anew: a server that sends one byte a second would hold the
thread for as long as it likes, in the head of an answer as in its body.
"""

import ssl
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class LimitedSocket(ssl.SSLSocket):
    """A connection whose reads all end at one instant; `SSLContext.sslsocket_class` makes it."""

    read_until: float | None = None
    """By the monotonic clock, in seconds; None sets no limit beyond the socket's own."""

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        """Read once.

        Raises:
            TimeoutError: The deadline has passed.
        """
        if self.read_until is not None:
            left = self.read_until - monotonic()
            if left <= 0:
                raise TimeoutError("the answer was not complete in time")
            self.settimeout(left)
        return super().recv_into(buffer, nbytes, flags)
