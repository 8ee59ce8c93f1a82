"""Subscribing and unsubscribing: of a named SaaS customer, or of the account that the pods run in.

Refuses to give one license to two accounts.
"""

from dataclasses import replace

from sidecar.emulator.state.customers import RUNNING_ACCOUNT, Name, find_customers, named_customer
from sidecar.emulator.state.entries import Customer, CustomerEntitlement, Subscription
from sidecar.emulator.state.store import State


def change_customers(
    state: State, name: Name, *, entitled: bool, entitlements: tuple[CustomerEntitlement, ...] | None = None
) -> Customer:
    """Entitle or unsubscribe every customer that the name fits; create the customer if none fits.

    An empty name means the account that the pods run in: it decides on RegisterUsage and MeterUsage, and counts
    among the SaaS customers without making the unnamed ones strangers. `entitlements` replace those that a customer
    has; None leaves them.

    Raises:
        ValueError: The license is another customer's.
    """
    is_named = not name.is_empty
    if not is_named:
        state.keep(Subscription(entitled))
        name = Name(aws_account_id=RUNNING_ACCOUNT)
    fitting = find_customers(state.customers.values(), name)
    if not fitting:
        fitting = [named_customer(name, entitled=False)]
        if fitting[0].license_arn in state.customers:
            raise ValueError(f"LicenseArn: {name.license_arn!r}: belongs to another customer")
    for customer in fitting:
        ever_entitled = customer.ever_entitled or (entitled and is_named)
        changed = replace(customer, entitled=entitled, ever_entitled=ever_entitled)
        state.keep(changed if entitlements is None else replace(changed, entitlements=entitlements))
    return state.customers[fitting[0].license_arn]
