"""What the domain needs from the world, as protocols.

Time is an argument or comes from a `Clock`; nothing else in the product reads a clock of its own for a decision.
"""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time and waiting. In emulator mode both follow the emulator's clock."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""

    async def sleep_until(self, instant: datetime) -> None:
        """Return once `now()` has reached `instant`, judged anew whenever the clock is stepped or sped up."""


class SignatureCheck(Protocol):
    """The seller's public keys."""

    def verify(self, signing_input: bytes, signature: bytes, version: int) -> bool:
        """Return whether `signature` is the RSASSA-PSS SHA-256 one of `signing_input` under the key of `version`.

        Raises:
            KeyError: There is no key of that version.
        """


class SellerKeys(SignatureCheck, Protocol):
    """The seller's public keys, from files that may be replaced while the process runs."""

    async def reload(self, version: int) -> bool:
        """Read the key of `version` again and return whether it has changed; an unusable file changes nothing."""
