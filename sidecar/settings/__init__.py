"""The configuration: one YAML file and the environment's overrides, as frozen groups.

`load` reports all problems together and opens only the file itself. Importing the types does not load the YAML package.
"""

from collections.abc import Mapping

from sidecar.domain.entitlement.license_policy import RequiredEntitlement as RequiredEntitlement
from sidecar.domain.policy import EntitlementCheck as EntitlementCheck
from sidecar.domain.policy import LatePolicy as LatePolicy
from sidecar.domain.policy import OnDenied as OnDenied
from sidecar.domain.policy import OnExpired as OnExpired
from sidecar.domain.policy import OnFailing as OnFailing
from sidecar.domain.policy import OnTaken as OnTaken
from sidecar.domain.policy import Pricing as Pricing
from sidecar.domain.policy import ProbeHour as ProbeHour
from sidecar.domain.policy import QuantityKind as QuantityKind
from sidecar.domain.policy import StartProbe as StartProbe
from sidecar.settings.groups import ApiSettings as ApiSettings
from sidecar.settings.groups import EntitlementSettings as EntitlementSettings
from sidecar.settings.groups import KubernetesSettings as KubernetesSettings
from sidecar.settings.groups import KubernetesUse as KubernetesUse
from sidecar.settings.groups import LedgerSettings as LedgerSettings
from sidecar.settings.groups import LicenseSettings as LicenseSettings
from sidecar.settings.groups import LogFormat as LogFormat
from sidecar.settings.groups import LogLevel as LogLevel
from sidecar.settings.groups import LogSettings as LogSettings
from sidecar.settings.groups import MarketplaceSettings as MarketplaceSettings
from sidecar.settings.groups import MeteringSettings as MeteringSettings
from sidecar.settings.groups import Mode as Mode
from sidecar.settings.groups import ProbeSettings as ProbeSettings
from sidecar.settings.groups import Product as Product
from sidecar.settings.groups import Settings as Settings
from sidecar.settings.groups import ShutdownSettings as ShutdownSettings
from sidecar.settings.problems import Problem as Problem
from sidecar.settings.problems import SettingsError as SettingsError
from sidecar.settings.problems import explain as explain


def load(path: str | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings of a file under the environment's overrides.

    Without a `path` the file is the one in SIDECAR_CONFIG, else /etc/marketplace-sidecar/config.yaml.

    Raises:
        SettingsError: At least one problem was found; it lists all of them.
    """
    from sidecar.settings.loading import read  # noqa: PLC0415 - brings the YAML package, which the types do without

    return read(path, environ)
