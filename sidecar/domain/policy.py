"""Choices the seller makes that the rules depend on."""

from enum import StrEnum


class LatePolicy(StrEnum):
    """What becomes of a quantity that can no longer go into its own hour."""

    CARRY = "carry"  # it joins the current hour as an entry of its own
    UNBILLED = "unbilled"  # it is kept, with its reason, and no one is charged


class QuantityKind(StrEnum):
    """What kind of quantity is sent to AWS."""

    DECIMAL = "decimal"  # up to six fraction digits
    INTEGER = "integer"  # whole numbers; the fraction waits for the next hour


class Pricing(StrEnum):
    """The kind of price that the listing has."""

    HOURLY = "hourly"  # by the hour or the month; AWS meters each registered pod
    CUSTOM = "custom"  # by the dimensions that the product reports
    CONTRACT = "contract"  # entitlements that the buyer pays in advance


class EntitlementCheck(StrEnum):
    """What proves that the buyer may run the product."""

    AUTO = "auto"  # what belongs to the price
    REGISTER = "register"  # RegisterUsage, for hourly and monthly prices
    METER = "meter"  # MeterUsage: the start probe, then each real answer
    LICENSE = "license"  # License Manager, for contract prices
    NONE = "none"  # no call; the gate stays open


class StartProbe(StrEnum):
    """How `check: meter` proves the subscription when a pod starts."""

    RECORD = "record"  # by a real record of quantity 0
    LICENSE = "license"  # by the entitlement AWS::Marketplace::Usage of the license
    DRY_RUN = "dry-run"  # not at all: a dry run checks the permission only


class ProbeHour(StrEnum):
    """The hour of the probe record."""

    PREVIOUS = "previous"  # the one that has ended; the current one if AWS refuses it
    CURRENT = "current"


class OnTaken(StrEnum):
    """What a pod does when every seat is taken, though the license is good."""

    ADMIT = "admit"  # it runs without a seat for as long as a lost seat may still be held elsewhere
    WAIT = "wait"  # it is pending until a seat is free


class OnExpired(StrEnum):
    """What a pod does that starts after the license has expired."""

    DENY = "deny"
    WARN = "warn"  # it runs, and a fault reports the expiry


class OnDenied(StrEnum):
    """What the process does once AWS has refused."""

    HOLD = "hold"  # stays up, not ready, with the reason
    EXIT = "exit"  # ends with code 3


class OnFailing(StrEnum):
    """What becomes of readiness while no submission succeeds."""

    WARN = "warn"  # shown in the log, the status and the metrics
    GATE = "gate"  # not ready until a submission succeeds
