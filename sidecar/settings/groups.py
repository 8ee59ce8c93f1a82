"""The settings as the rest of the product sees them: one frozen group for each group of the file, defaults included.

Judges nothing and reads nothing. Durations are timedelta, enums are the domain's own where a rule depends on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from sidecar.domain.metering.events import Dimension
from sidecar.domain.policy import EntitlementCheck, LatePolicy, OnDenied, OnFailing, QuantityKind


class Mode(StrEnum):
    """Which Marketplace is talked to."""

    LIVE = "live"  # AWS itself; configured endpoint URLs are ignored
    EMULATOR = "emulator"  # the service at `endpoint_url`, its clock included


class KubernetesUse(StrEnum):
    """Whether pod conditions and events are written."""

    AUTO = "auto"  # when the pod has a service account token
    ALWAYS = "true"
    NEVER = "false"


class LogLevel(StrEnum):
    """The least severe event that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"  # console on a terminal, JSON otherwise
    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Product:
    """What the seller published; never overridden by the environment."""

    code: str
    public_key_version: int = 1
    public_keys: Mapping[int, Path] = field(default_factory=dict)
    """The PEM file of each key version."""
    trusted_codes: tuple[str, ...] = ()
    """If not empty, `code` is one of them."""


@dataclass(frozen=True, slots=True)
class EntitlementSettings:
    """How the right to run is proved and what follows."""

    check: EntitlementCheck = EntitlementCheck.REGISTER
    on_denied: OnDenied = OnDenied.HOLD
    retry_for: timedelta = timedelta(minutes=30)
    """How long an unanswered registration stays `pending` before it is `unavailable`; it is tried on."""
    remember_for: timedelta = timedelta(hours=24)
    """How long a kept registration lets a restarted container in; zero is never."""


@dataclass(frozen=True, slots=True)
class MeteringSettings:
    """What is metered and when it is submitted."""

    dimensions: tuple[Dimension, ...] = ()
    quantity: QuantityKind = QuantityKind.DECIMAL
    settle: timedelta = timedelta(minutes=2)
    """The wait after an hour's end before it is sealed."""
    spread: timedelta = timedelta(minutes=20)
    """Over how long the submissions of different pods spread."""
    window: timedelta = timedelta(hours=6)
    """How old a record may be, counted from the start of its hour."""
    late: LatePolicy = LatePolicy.CARRY
    report_zero: bool = True
    failing_after: timedelta = timedelta(hours=2)
    """Without a successful submission for this long the metering is `failing`."""
    on_failing: OnFailing = OnFailing.WARN


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Where the ledger lies, and how large it may become."""

    path: Path = Path("/var/lib/marketplace-sidecar/ledger.db")
    max_size: int | None = None
    """Bytes; None takes what the ledger has and what is free on its volume."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The local API, on loopback and, if named, on a unix socket too."""

    host: str = "127.0.0.1"
    port: int = 8787
    """0 takes any free port."""
    socket: Path | None = None
    token_file: Path | None = None
    """The file that holds the bearer token which callers must show."""


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """The probe listener, on the pod's address."""

    host: str = "0.0.0.0"
    """`0.0.0.0` and `::` mean every address of every family."""
    port: int = 8788
    """0 takes any free port."""


@dataclass(frozen=True, slots=True)
class ShutdownSettings:
    """The end of the process."""

    timeout: timedelta = timedelta(seconds=25)
    """How long the drain may take; below the pod's grace period."""


@dataclass(frozen=True, slots=True)
class MarketplaceSettings:
    """Which Marketplace, and where."""

    region: str | None = None
    """None takes AWS_REGION, else AWS_DEFAULT_REGION."""
    endpoint_url: str | None = None
    """The emulator's address, in that mode only; never holds credentials."""
    mode: Mode = Mode.LIVE


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """What is told to the cluster."""

    enabled: KubernetesUse = KubernetesUse.AUTO
    readiness_gate: str | None = None
    """The pod condition to set."""
    events: bool = True


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged and how."""

    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.AUTO


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured."""

    product: Product
    entitlement: EntitlementSettings = EntitlementSettings()
    metering: MeteringSettings = MeteringSettings()
    ledger: LedgerSettings = LedgerSettings()
    api: ApiSettings = ApiSettings()
    probes: ProbeSettings = ProbeSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    marketplace: MarketplaceSettings = MarketplaceSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    log: LogSettings = LogSettings()
