"""How far this machine's clock is from the service's: one judgment for `doctor`, the status and the metrics.

The service names its time in whole seconds, and only between the instants of the question and the answer. What lies
within that is no skew.
"""

from datetime import datetime, timedelta

from sidecar.domain import durations

DOUBTFUL_FROM = timedelta(minutes=1)
WRONG_FROM = timedelta(minutes=5)
"""AWS refuses calls that are signed more than this off."""
CURE = "Synchronize the node's clock by NTP (on AWS: chrony with 169.254.169.123)."

_SHOWN = timedelta(seconds=1)
"""The resolution of an answer's date."""


def measure(shown: datetime, asked_at: datetime, answered_at: datetime) -> timedelta:
    """Return by how much this clock is ahead of the one that `shown` was read from; negative when it is behind."""
    if shown < asked_at - _SHOWN:  # `shown` may be the last second that a datetime holds
        return asked_at - shown - _SHOWN
    return min(answered_at - shown, timedelta())


def describe(skew: timedelta) -> str:
    """Return the skew as a sentence's worth of words."""
    if not skew:
        return "the clock agrees with the service's"
    return f"the clock is {durations.render(abs(skew))} {'ahead of' if skew > timedelta() else 'behind'} the service's"
