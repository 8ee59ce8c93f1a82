"""The rules that decide a call, each with its sentence and its source.

Refuses to judge: the rules themselves are in `sidecar.emulator.rules`. Invariant: docs/emulator.md has the same table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """The rule that decided a call; the value is its name in log lines, in the console and in docs/emulator.md."""

    SHAPE = "request-shape"
    SIGNATURE = "signature"
    WEB_IDENTITY = "web-identity"
    PLATFORM = "platform"
    QUOTA = "quota"
    FAULT = "fault"
    STATE_FILE = "state-file"
    PRODUCT = "product-code"
    PRICE = "price"
    KEY_VERSION = "key-version"
    SUBSCRIPTION = "subscription"
    REGISTRATION = "registration"
    DIMENSION = "dimension"
    DRY_RUN = "dry-run"
    WINDOW = "submission-window"
    MONTH_END = "month-end"
    FIRST_CALL = "first-call"
    HOUR_SLOT = "hour-slot"
    REPEAT = "identical-repeat"
    CLIENT_TOKEN = "client-token"  # noqa: S105 - the name of a rule
    ALLOCATIONS = "allocations"
    CUSTOMER = "customer"
    CUSTOMER_SLOT = "customer-slot"
    REGISTRATION_TOKEN = "registration-token"  # noqa: S105 - as above
    ENTITLEMENTS = "entitlements"
    LICENSE = "license"
    UNIT = "entitlement-unit"
    SEATS = "seats"
    CHECKOUT = "checkout"
    HOME_REGION = "home-region"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A rule in words."""

    sentence: str
    source: str
    """`model`, `guide`, `live`, `measured`, `inferred` or `emulator`; docs/emulator.md explains them."""


EXPLANATIONS: Mapping[Rule, Explanation] = {
    Rule.SHAPE: Explanation("A request has the members, types and limits of AWS's service model.", "model"),
    Rule.SIGNATURE: Explanation(
        "A call is signed by Signature Version 4 for its service, within 15 minutes of the system clock. The secret of "
        "a static key is not checked.",
        "measured, emulator",
    ),
    Rule.WEB_IDENTITY: Explanation(
        "A web identity token is a JWT for sts.amazonaws.com that has not expired and names a pod or a subject. Its "
        "signature is not checked.",
        "model, emulator",
    ),
    Rule.PLATFORM: Explanation(
        "With --identity irsa-only, RegisterUsage and MeterUsage need credentials of the token service.", "guide, model"
    ),
    Rule.QUOTA: Explanation(
        "With --quotas, an operation takes a limited number of calls in a second of the emulator's clock, for each "
        "Region. The rates of License Manager are assumed.",
        "guide, inferred",
    ),
    Rule.FAULT: Explanation("The control API has armed a fault for this call.", "emulator"),
    Rule.STATE_FILE: Explanation("A call whose effect cannot be written to the state file fails.", "emulator"),
    Rule.PRODUCT: Explanation("The product code is that of the seed; without a seed every code is taken.", "model"),
    Rule.PRICE: Explanation("An operation belongs to the price of the seed.", "inferred"),
    Rule.KEY_VERSION: Explanation("RegisterUsage signs with a public key version that the product has.", "model"),
    Rule.SUBSCRIPTION: Explanation(
        "An account without a subscription gets CustomerNotEntitledException. MeterUsage asks at each call here; AWS "
        "asks at the first one of a pod.",
        "model, guide, emulator",
    ),
    Rule.REGISTRATION: Explanation(
        "RegisterUsage registers a pod permanently: later calls of the pod never get CustomerNotEntitledException.",
        "model",
    ),
    Rule.DIMENSION: Explanation(
        "A usage dimension is one of the seed; without a seed every dimension is taken.", "model"
    ),
    Rule.DRY_RUN: Explanation(
        "A dry run answers DryRunOperation and checks the permission alone, not the subscription.", "model"
    ),
    Rule.WINDOW: Explanation(
        "MeterUsage takes usage that is not in the future and at most 6 hours old; BatchMeterUsage takes usage of less "
        "than 24 hours.",
        "model",
    ),
    Rule.MONTH_END: Explanation(
        "BatchMeterUsage takes usage of the last month until 06:00 UTC on the first of the month.", "model"
    ),
    Rule.FIRST_CALL: Explanation(
        "With --from-first-call, MeterUsage refuses hours before the pod's first call.", "model, inferred"
    ),
    Rule.HOUR_SLOT: Explanation(
        "MeterUsage takes one record for each product, pod, dimension and UTC hour, permanently. Another quantity for "
        "the same slot is a duplicate.",
        "model",
    ),
    Rule.REPEAT: Explanation(
        "The same usage for a filled slot gets the metering record ID of the first call. Quantities compare by value.",
        "model",
    ),
    Rule.CLIENT_TOKEN: Explanation("A client token belongs to the parameters of its first call.", "model"),
    Rule.ALLOCATIONS: Explanation(
        "Allocations have unique tag sets, at most 5 tag keys, the kind of the quantity, and its exact sum.", "model"
    ),
    Rule.CUSTOMER: Explanation(
        "A record of BatchMeterUsage names its customer by CustomerIdentifier with ProductCode, or by "
        "CustomerAWSAccountId with that customer's LicenseArn.",
        "model",
    ),
    Rule.CUSTOMER_SLOT: Explanation(
        "BatchMeterUsage takes one record for each product or license, customer, dimension and UTC hour. The first "
        "quantity counts.",
        "model",
    ),
    Rule.REGISTRATION_TOKEN: Explanation(
        "ResolveCustomer takes a registration token of the control API for one hour of the emulator's clock.",
        "model, inferred",
    ),
    Rule.ENTITLEMENTS: Explanation(
        "GetEntitlements lists what the control API or the seed gave to subscribed customers, each until it expires.",
        "model, inferred",
    ),
    Rule.LICENSE: Explanation(
        "A license gives a right while it is AVAILABLE, its grant ACTIVE and a buyer's. Of several licenses of a "
        "product the newest counts.",
        "model, live",
    ),
    Rule.UNIT: Explanation(
        "A checkout asks for an entitlement in the unit that the license has: Unit None on a counted one is refused.",
        "live",
    ),
    Rule.SEATS: Explanation(
        "A checkout takes no more of a counted entitlement than its MaxCount, unless the license allows overage.",
        "model",
    ),
    Rule.CHECKOUT: Explanation(
        "A client token stands for one checkout. A provisional one ends after 60 minutes unless it is extended; a "
        "perpetual one never returns.",
        "model, guide, inferred",
    ),
    Rule.HOME_REGION: Explanation(
        "With --license-region home, a license is found in its home Region alone; CheckoutLicense elsewhere answers "
        "RedirectException.",
        "model",
    ),
}
"""Every rule, in the order in which docs/emulator.md lists them."""

BY_ERROR: Mapping[str, Rule] = {
    "IncompleteSignatureException": Rule.SIGNATURE,
    "InvalidSignatureException": Rule.SIGNATURE,
    "MissingAuthenticationTokenException": Rule.SIGNATURE,
    "UnrecognizedClientException": Rule.SIGNATURE,
    "InvalidIdentityToken": Rule.WEB_IDENTITY,
    "PlatformNotSupportedException": Rule.PLATFORM,
    "ThrottlingException": Rule.QUOTA,
    "RateLimitExceededException": Rule.QUOTA,
    "InvalidProductCodeException": Rule.PRODUCT,
    "InvalidPublicKeyVersionException": Rule.KEY_VERSION,
    "CustomerNotEntitledException": Rule.SUBSCRIPTION,
    "InvalidUsageDimensionException": Rule.DIMENSION,
    "DryRunOperation": Rule.DRY_RUN,
    "TimestampOutOfBoundsException": Rule.WINDOW,
    "DuplicateRequestException": Rule.HOUR_SLOT,
    "IdempotencyConflictException": Rule.CLIENT_TOKEN,
    "InvalidTagException": Rule.ALLOCATIONS,
    "InvalidUsageAllocationsException": Rule.ALLOCATIONS,
    "InvalidCustomerIdentifierException": Rule.CUSTOMER,
    "InvalidLicenseException": Rule.CUSTOMER,
    "InvalidTokenException": Rule.REGISTRATION_TOKEN,
    "ResourceNotFoundException": Rule.CHECKOUT,
    "NoEntitlementsAllowedException": Rule.LICENSE,
    "RedirectException": Rule.HOME_REGION,
}
"""The rule behind an error that names none; the shape of the request where the error is missing here."""
