"""The target of a certification: product, identity and pod, checked before the first call to AWS Marketplace.

Calls only the AWS token service, for the name of the caller. Refuses identities that Marketplace does not accept.
"""

from collections.abc import Mapping

from sidecar import __version__
from sidecar.checks.access import check_sts
from sidecar.checks.identity import check_identity
from sidecar.commands.certify.report import LicenseCall, RecordCall, RegistrationCall, Report, Target
from sidecar.domain import timestamps
from sidecar.domain.check_result import CheckStatus
from sidecar.domain.metering import quantity
from sidecar.domain.policy import EntitlementCheck, QuantityKind
from sidecar.marketplace import Endpoint
from sidecar.marketplace.probing import ProbeFailed, ServiceProbe
from sidecar.settings import Mode, Problem, Settings, SettingsError
from sidecar.upstream import present


class NotReady(Exception):
    """The certification cannot start here; the message has the reason and the cure."""


def require_pod(settings: Settings, pod: str | None) -> None:
    """Refuse a process without the identity of a pod or task; raises NotReady if it has none, and AWS requires one."""
    if pod is None and settings.marketplace.mode is Mode.LIVE and _calls_metering(settings):
        raise NotReady(
            "The identity of this pod or task is unknown, and AWS accepts records from pods and tasks only. Run it "
            "on EKS with POD_UID from the downward API, or on ECS (docs/seller.md, section 7)."
        )


def find_caller(settings: Settings, endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """Return the identity that signs the calls, by its name at AWS.

    Raises:
        NotReady: Marketplace does not accept the identity, there is none, or the AWS token service does not answer.
            License Manager accepts any identity, so a product that calls nothing else may use any.
    """
    try:
        probe = ServiceProbe(endpoint)
    except ProbeFailed as broken:
        raise NotReady(f"The SDK does not start: {broken}. Correct its files, or unset AWS_PROFILE.") from broken
    try:
        identity = check_identity(settings.marketplace.mode, environ, probe.credentials_method)
        if identity.status is CheckStatus.FAIL and _calls_metering(settings):
            raise NotReady(f"AWS Marketplace does not accept this identity: {identity.found}. {identity.cure}")
        sts = check_sts(probe)
        if sts.status is not CheckStatus.OK:
            raise NotReady(f"{sts.found.rstrip('.')}. {sts.cure}")
        return str(probe.caller())
    except ProbeFailed as failed:
        raise NotReady(f"{failed}. Run the same command again.") from failed


def begin(settings: Settings, endpoint: Endpoint, caller: str, pod: str | None, amount: str) -> Report:
    """Return a report without any answer; raises NotReady if there is nothing to certify."""
    dimensions = [dimension.name for dimension in settings.metering.dimensions]
    registers = settings.check is EntitlementCheck.REGISTER
    sku = _licensed_product(settings)
    if not _calls_metering(settings) and sku is None:
        raise NotReady("The product neither registers nor meters, so there is nothing to certify. Add its dimensions.")
    return Report(
        subject=Target(
            product_code=settings.product.code,
            public_key_version=settings.product.public_key_version,
            check=settings.check,
            dimensions=dimensions,
            quantity=amount,
            quantity_kind=settings.metering.quantity,
            mode=settings.marketplace.mode,
            region=endpoint.region_name,
            account=caller.split(":")[4],
            caller=caller,
            pod=pod,
        ),
        sidecar_version=__version__,
        started_at=timestamps.render(present(settings.marketplace)),
        registration=RegistrationCall() if registers else None,
        license=None if sku is None else LicenseCall(sku=sku),
        records=[RecordCall(dimension=dimension) for dimension in dimensions],
    )


def _calls_metering(settings: Settings) -> bool:
    return bool(settings.metering.dimensions) or settings.check is EntitlementCheck.REGISTER


def _licensed_product(settings: Settings) -> str | None:
    """Return the product ID if a license decides on the entitlement, by the price or by the start probe."""
    return settings.product.id if settings.asks_license else None


def read_quantity(text: str, settings: Settings) -> str:
    """Return the quantity of each record as it is sent.

    Raises:
        SettingsError: It is not a quantity, or not of the product's kind.
    """
    whole = settings.metering.quantity is QuantityKind.INTEGER
    found = quantity.parse(text)
    limit = quantity.LARGEST_WHOLE * quantity.MILLION if whole else quantity.LARGEST
    if found is None or found > limit or (whole and found % quantity.MILLION):
        cure = "give a whole number" if whole else "give a number with up to 10 digits before and 6 after the point"
        reason = f"is not a valid quantity for metering.quantity: {settings.metering.quantity}"
        raise SettingsError([Problem("--quantity", repr(text), reason, cure)])
    return quantity.render(found)
