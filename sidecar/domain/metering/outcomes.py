"""What becomes of a record after an attempt to submit it."""

from enum import StrEnum


class Outcome(StrEnum):
    """What to do with the record."""

    ACCEPTED = "accepted"  # taken, with a metering record id
    RETRY = "retry"  # certainly not taken; the same request may succeed later
    UNKNOWN = "unknown"  # the answer proves nothing: AWS may have taken it; the same request is sent again
    NOT_ENTITLED = "not-entitled"  # as RETRY, and the gate learns of the refusal
    SETUP = "setup"  # as RETRY, but the operator must correct the setup
    DUPLICATE = "duplicate"  # the slot holds another quantity
    CONFLICT = "conflict"  # the client token belongs to another request
    EXPIRED = "expired"  # the submission window has closed
    REJECTED = "rejected"  # AWS never accepts this record
