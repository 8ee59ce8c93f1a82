"""What a denied pod counts: it is not billed, also not once the pod is entitled.

A pod that AWS has refused stays denied here until AWS grants the right: a new process of the sidecar does not know the
answer yet, and what the app counts meanwhile was not sold. Instants are epoch microseconds of the system clock.
"""

from enum import StrEnum
from typing import NamedTuple


class Right(StrEnum):
    """What AWS has answered about the pod."""

    ENTITLED = "entitled"
    UNDECIDED = "undecided"  # no answer in this process: usage counts, unless the last answer was a refusal
    DENIED = "denied"


class Denial(NamedTuple):
    """What is known of the denials of a pod, as its samples have met them."""

    denied_at: int | None = None
    """The last sample of a pod that is denied; None if it is not."""
    ended_at: int | None = None
    """When the last denial ended; what was counted from an earlier instant on is not billed. None: there was none."""

    def meet(self, right: Right, at: int, since: int) -> "Denial":
        """Return what holds for samples of an instant.

        Args:
            right: What AWS has answered.
            at: The instant of the samples.
            since: When the answer came.
        """
        if right is Right.DENIED or (right is Right.UNDECIDED and self.denied_at is not None):
            return Denial(at, self.ended_at)
        if self.denied_at is None:
            return self
        return Denial(None, max(self.denied_at + 1, since))

    def bars(self, began_at: int) -> bool:
        """Return whether what was counted from `began_at` on is not billed."""
        return self.denied_at is not None or (self.ended_at is not None and began_at < self.ended_at)

    def settle(self, at: int) -> "Denial":
        """Return what is kept after samples of an instant: a clock that was set back ends a denial, too."""
        return self if self.ended_at is None else Denial(self.denied_at, min(self.ended_at, at))


NEVER_DENIED = Denial()
