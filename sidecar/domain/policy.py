"""Choices the seller makes that the rules depend on."""

from enum import StrEnum


class LatePolicy(StrEnum):
    """What becomes of a quantity that can no longer go into its own hour."""

    CARRY = "carry"  # it joins the current hour as an entry of its own
    UNBILLED = "unbilled"  # it is kept, with its reason, and nobody is charged


class QuantityKind(StrEnum):
    """What kind of quantity is sent to AWS."""

    DECIMAL = "decimal"  # up to six fraction digits
    INTEGER = "integer"  # whole numbers; the fraction waits for the next hour


class EntitlementCheck(StrEnum):
    """What proves that the buyer may run the product."""

    REGISTER = "register"  # RegisterUsage, for hourly and monthly prices
    METER = "meter"  # MeterUsage: a dry run at start, then each real answer
    NONE = "none"  # nothing is asked; the gate stands open


class OnDenied(StrEnum):
    """What the process does once AWS has refused."""

    HOLD = "hold"  # stays up, not ready, and says why
    EXIT = "exit"  # ends with code 3


class OnFailing(StrEnum):
    """What becomes of readiness while no submission succeeds."""

    WARN = "warn"  # said in the log, the status and the metrics
    GATE = "gate"  # not ready until a submission succeeds
