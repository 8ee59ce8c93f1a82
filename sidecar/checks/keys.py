"""The seller's public keys, and whether AWS still signs with the one that is asked for.

Only AWS's answer to a registration shows a rotation. The check takes it from a running sidecar or from the registration
that the ledger keeps, and registers nothing.
"""

from collections.abc import Iterator
from pathlib import Path

from sidecar.adapters.ledger.evidence import read_evidence
from sidecar.adapters.ledger.file import LedgerUnusable
from sidecar.adapters.ledger.snapshot import reading
from sidecar.adapters.signature import PublicKeys, UnusableKeys
from sidecar.checks.running import RunningSidecar
from sidecar.domain.check_result import Check, CheckResult
from sidecar.domain.entitlement.renewal import KEY_ROTATION_CURE
from sidecar.domain.entitlement.states import Evidence, Reason
from sidecar.domain.entitlement.token import FORGERY_CURE, Refusal, check_signature
from sidecar.domain.timestamps import render
from sidecar.settings import EntitlementCheck, MarketplaceSettings, Mode, Product, Settings

KEYS = Check("keys", "AWS's answer is believed only if its signature verifies under the product's public key.")
ROTATION = Check("key rotation", "Once AWS has rotated the key, products with the old one stop being entitled.")


def check_keys(product: Product, marketplace: MarketplaceSettings | None = None) -> CheckResult:
    """Read every key and return its size. `marketplace`: where an emulator has keys of its own."""
    if not product.public_keys:
        return KEYS.skipped("no key is configured, and entitlement.check does not need one")
    try:
        sizes = PublicKeys.load(product.public_keys).sizes
    except UnusableKeys as unusable:
        found = "; ".join(f"{fault.path} (version {fault.version}): {fault.reason}" for fault in unusable.faults)
        cures = [fault.cure for fault in unusable.faults]
        if marketplace is not None and marketplace.mode is Mode.EMULATOR:
            cures.append(_of_emulator(marketplace, product.public_key_version))
        return KEYS.fail(found, " ".join(dict.fromkeys(cures)))
    shown = ", ".join(f"version {version} is RSA of {bits} bits" for version, bits in sorted(sizes.items()))
    return KEYS.ok(f"{shown}; version {product.public_key_version} is asked for")


def check_rotation(settings: Settings, running: RunningSidecar | None) -> CheckResult:
    """Judge whether AWS has rotated the key, and whether it is the right one."""
    if settings.check is not EntitlementCheck.REGISTER:
        return ROTATION.skipped("entitlement.check does not register, so no key is used")
    if running is not None:
        for found, _ in running.faults("public-key-rotated"):
            return ROTATION.warn(found, KEY_ROTATION_CURE)
        if running.reason == Reason.SIGNATURE_INVALID:
            own = settings.marketplace
            emulated = own.mode is Mode.EMULATOR
            cure = _of_emulator(own, settings.product.public_key_version) if emulated else FORGERY_CURE
            return ROTATION.fail("the answer to the running sidecar does not verify under the product's key", cure)
        if running.registered:
            return ROTATION.ok("the running sidecar has registered, and AWS reported no rotation")
    for evidence in _kept(settings.ledger.path):
        return _judge(evidence, settings.product)
    return ROTATION.skipped("only AWS's answer to a registration shows it; run this again while a sidecar runs")


def _of_emulator(marketplace: MarketplaceSettings, version: int) -> str:
    url = f"{marketplace.endpoint_url}/_emulator/public-keys/{version}.pem"
    return f"With the emulator, save the key that it serves at {url}."


def _judge(evidence: Evidence, product: Product) -> CheckResult:
    when, version = render(evidence.registered_at), evidence.public_key_version
    if (evidence.product_code, version) != (product.code, product.public_key_version):
        return ROTATION.skipped(f"the registration kept from {when} was of another product or key version")
    try:
        check_signature(evidence.signature, PublicKeys.load({version: product.public_keys[version]}), version)
    except UnusableKeys:
        return ROTATION.skipped(f"the key of version {version} cannot be used")
    except Refusal:
        return ROTATION.warn(
            f"the registration kept from {when} does not verify under the key of version {version}",
            "Save the key that AWS Marketplace shows for this version, unless the ledger was used with an emulator.",
        )
    return ROTATION.ok(f"the registration of {when} verifies under the key of version {version}")


def _kept(path: Path) -> Iterator[Evidence]:
    """Yield the registration that the ledger keeps, if there is one to read."""
    try:
        with reading(path, older=True) as connection:
            evidence = read_evidence(connection)
    except LedgerUnusable:
        return  # the check of the ledger reports why
    if evidence is not None and evidence.signature:
        yield evidence
