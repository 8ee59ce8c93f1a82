"""Buyers: who they are when only a part of their identity is named, and whether they are subscribed.

Refuses to guess between two buyers: a license belongs to one account. Invariant: what is made up for a buyer depends
only on what was named, so the same name gives the same buyer in every run.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sidecar.emulator.state.entries import Customer, CustomerEntitlement

RUNNING_ACCOUNT = "111122223333"
"""The AWS account that the pods run in."""


@dataclass(frozen=True, slots=True)
class Name:
    """How a request names a buyer; any part may be missing."""

    customer_identifier: str | None = None
    aws_account_id: str | None = None
    license_arn: str | None = None

    @classmethod
    def of(cls, members: dict[str, Any]) -> "Name":
        """Take the name from the members of a request."""
        return cls(members.get("CustomerIdentifier"), members.get("CustomerAWSAccountId"), members.get("LicenseArn"))

    @property
    def is_empty(self) -> bool:
        """The name is empty."""
        return self == Name()

    def fits(self, customer: Customer) -> bool:
        """Every part that is named is this buyer's."""
        return (
            self.customer_identifier in (None, customer.customer_identifier)
            and self.aws_account_id in (None, customer.aws_account_id)
            and self.license_arn in (None, customer.license_arn)
        )


def named_customer(name: Name, *, entitled: bool, entitlements: tuple[CustomerEntitlement, ...] = ()) -> Customer:
    """Make a buyer of this name, with what was not named made up from what was."""
    parts = "|".join(part or "" for part in (name.customer_identifier, name.aws_account_id, name.license_arn))
    digest = hashlib.sha256(parts.encode()).hexdigest()
    account = name.aws_account_id or str(int(digest[:16], 16))[:12].rjust(12, "1")
    return Customer(
        license_arn=name.license_arn or f"arn:aws:license-manager::294406891311:license:l-{digest[:32]}",
        aws_account_id=account,
        customer_identifier=name.customer_identifier,
        agreement_id=f"agmt-{digest[:24]}",
        entitled=entitled,
        ever_entitled=entitled,
        entitlements=entitlements,
    )


def find_customers(customers: Iterable[Customer], name: Name) -> list[Customer]:
    """Return every known buyer that the name fits."""
    return [customer for customer in customers if name.fits(customer)]


def takes_strangers(customers: Iterable[Customer]) -> bool:
    """Return whether any stranger counts as a subscribed buyer: until one is named as entitled."""
    return not any(customer.ever_entitled for customer in customers)


def is_subscribed(customers: Iterable[Customer], name: Name) -> bool:
    """Judge a buyer."""
    known = list(customers)
    fitting = find_customers(known, name)
    return any(customer.entitled for customer in fitting) if fitting else takes_strangers(known)
