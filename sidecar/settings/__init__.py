"""The configuration: one YAML file and the environment's overrides, as frozen groups.

`load` reports all problems together and opens only the file itself. Importing the types does not load the YAML package.
"""

from collections.abc import Mapping

from sidecar.domain.entitlement.license_policy import RequiredEntitlement
from sidecar.domain.policy import (
    EntitlementCheck,
    LatePolicy,
    OnDenied,
    OnExpired,
    OnFailing,
    OnTaken,
    Pricing,
    ProbeHour,
    QuantityKind,
    StartProbe,
)
from sidecar.settings.groups import (
    ApiSettings,
    EntitlementSettings,
    KubernetesSettings,
    KubernetesUse,
    LedgerSettings,
    LicenseSettings,
    LogFormat,
    LogLevel,
    LogSettings,
    MarketplaceSettings,
    MeteringSettings,
    Mode,
    ProbeSettings,
    Product,
    Settings,
    ShutdownSettings,
)
from sidecar.settings.problems import Problem, SettingsError, explain

__all__ = [
    "ApiSettings",
    "EntitlementCheck",
    "EntitlementSettings",
    "KubernetesSettings",
    "KubernetesUse",
    "LatePolicy",
    "LedgerSettings",
    "LicenseSettings",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "MarketplaceSettings",
    "MeteringSettings",
    "Mode",
    "OnDenied",
    "OnExpired",
    "OnFailing",
    "OnTaken",
    "Pricing",
    "ProbeHour",
    "ProbeSettings",
    "Problem",
    "Product",
    "QuantityKind",
    "RequiredEntitlement",
    "Settings",
    "SettingsError",
    "ShutdownSettings",
    "StartProbe",
    "explain",
    "load",
]


def load(path: str | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings of a file under the environment's overrides.

    Args:
        path: The file; None means SIDECAR_CONFIG, else /etc/marketplace-sidecar/config.yaml.
        environ: The variables of the process.

    Raises:
        SettingsError: At least one problem was found; it lists all of them.
    """
    from sidecar.settings.loading import read  # noqa: PLC0415 - brings the YAML package, which the types do without

    return read(path, environ)
