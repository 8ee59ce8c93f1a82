"""The settings: one frozen group for each group of the file, and the only place that declares a key.

A field has the key's name, type, default, range and sentence. The reader, the documents and the chart follow from it.
This module reads nothing. Durations are timedelta; enums are the domain's own where a rule depends on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from sidecar.domain.declaration import Group, key, setting
from sidecar.domain.entitlement.license_policy import LicensePolicy
from sidecar.domain.entitlement.price import resolve
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.rules import MeteringPolicy
from sidecar.domain.policy import EntitlementCheck, OnDenied, Pricing, ProbeHour, StartProbe
from sidecar.settings import values


class Mode(StrEnum):
    """Which Marketplace the sidecar calls."""

    LIVE = "live"  # AWS itself; configured endpoint URLs are ignored
    EMULATOR = "emulator"  # the service at `endpoint_url`, its clock included


class KubernetesUse(StrEnum):
    """Whether the sidecar uses the cluster's API."""

    AUTO = "auto"  # when the pod has a service account token
    ALWAYS = "true"
    NEVER = "false"


class LogLevel(StrEnum):
    """Least severe event that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """Form of log lines."""

    AUTO = "auto"  # console on a terminal, JSON otherwise
    CONSOLE = "console"
    JSON = "json"


LARGEST_VERSION = 2**31 - 1
_LEAST_LEDGER = 4 * 2**20
"""Bytes; below it the reserve would leave too little for usage."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Product(Group):
    """What the listing fixes; the environment never overrides it."""

    code: str = field(
        metadata=setting(
            "AWS Marketplace product code of the listing.",
            parser=values.product_code,
            allowed="1 to 255 letters, digits, `-/=:_.@`",
            missing="set the AWS Marketplace product code of the listing",
        )
    )
    pricing: Pricing | None = key(
        None,
        "Price of the listing: `hourly` (by the hour or the month), `custom` (by dimensions that the product "
        "reports) or `contract` (entitlements paid in advance). It decides what `entitlement.check: auto` asks "
        "AWS. `null` decides by `product.public_keys`.",
    )
    id: str | None = key(
        None,
        "Product ID of the listing, which is not the product code. Contract prices and "
        "`entitlement.probe: license` need it.",
        parser=values.product_id,
        allowed="`prod-` and letters or digits; a UUID on older listings",
    )
    public_key_version: int = key(
        1,
        "Version of the public key that AWS signs with. Raise it when AWS rotates the key.",
        least=1,
        most=LARGEST_VERSION,
    )
    public_keys: Mapping[int, Path] = field(
        default_factory=dict,
        metadata=setting(
            "Public keys that verify signatures, by version: RSA of 1024 to 4096 bits in PEM files. Several versions "
            "can be configured side by side.",
            allowed="version: path of a PEM file",
        ),
    )
    trusted_codes: tuple[str, ...] = key(
        (),
        "If not empty, `product.code` must be one of these. Set it in an image of your own.",
        allowed="list of product codes",
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EntitlementSettings(Group):
    """How the right to run is proved and what follows."""

    check: EntitlementCheck = key(
        EntitlementCheck.AUTO,
        "Proof of the right to run. `auto` takes the check of `product.pricing`; without a price `register` if a "
        "public key is configured, else `meter`. `register` calls RegisterUsage, for hourly and monthly prices. "
        "`meter` calls MeterUsage, for custom dimensions: the start probe, then each answer. `license` asks "
        "License Manager, for contract prices. `none` calls nothing and the gate stays open.",
    )
    probe: StartProbe = key(
        StartProbe.RECORD,
        "How `check: meter` proves the subscription when a pod starts. `record` submits a real record of "
        "quantity 0. `license` proves it by the license of the subscription and reports nothing; use it for pods "
        "that live for less than an hour. `dry-run` checks the permission only, so a pod of an account without a "
        "subscription runs until its first record is refused.",
    )
    probe_dimension: str | None = key(
        None,
        "Dimension of the probe record. `null` takes the first. Name one without a price for pods that live for "
        "less than an hour.",
        parser=values.dimension_name,
        allowed="one of `metering.dimensions`",
    )
    probe_hour: ProbeHour = key(
        ProbeHour.PREVIOUS,
        "Hour of the probe record. `previous` takes the hour that has ended, and the current one if AWS refuses it "
        "with TimestampOutOfBoundsException. Usage of the hour is carried into the next one.",
    )
    on_denied: OnDenied = key(
        OnDenied.HOLD,
        "After a refusal `hold` keeps the pod running, not ready, and asks again every 5 minutes. `exit` ends the "
        "process with code 3, for ECS and plain processes. Kubernetes starts the container again, in a Job too: limit "
        "a Job by its `activeDeadlineSeconds`.",
    )
    retry_for: timedelta = key(
        timedelta(minutes=30),
        "Time without an answer during which the state is `pending`; afterwards it is `unavailable`. The sidecar "
        "keeps asking in both states.",
        least=timedelta(),
        most=_DAY,
        because="a pod that is not registered within hours may not be metered",
    )
    remember_for: timedelta = key(
        timedelta(hours=24),
        "How long a restarted container of the same pod runs on the newest proof while AWS is unreachable. `0s` "
        "is never.",
        least=timedelta(),
        most=31 * _DAY,
        because="an entitlement may have ended since",
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LicenseSettings(LicensePolicy):
    """What a contract must grant."""

    region: str = key(
        values.AUTO,
        "Region of License Manager. `auto` takes the pod's Region, then the one that AWS redirects to, then the "
        "home Region of the license.",
        parser=values.license_region,
        allowed="`auto`, or name of a Region",
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MeteringSettings(MeteringPolicy):
    """What is metered and when it is submitted."""

    dimensions: tuple[Dimension, ...] = field(
        default=(),
        metadata=setting(
            "Custom dimensions of the listing. `aggregation` makes one quantity of an hour's events: `sum` (the "
            "default), `max`, `last` by the time of the event, or `unique`, the number of different values. A "
            "dimension with a `source` is measured by the sidecar: `pod_time`, `resource`, `prometheus` or `otlp`. A "
            "product with hourly or monthly prices has no dimensions.",
            allowed="24 at most; `{name, aggregation}` or `{name, source}`",
        ),
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LedgerSettings(Group):
    """The ledger's file."""

    path: Path = key(
        Path("/var/lib/marketplace-sidecar/ledger.db"),
        "The ledger, on a local volume that outlives the container. One ledger serves one pod.",
        parser=values.ledger_path,
        allowed="path of a file",
    )
    max_size: int | None = key(
        None,
        "Maximum size of the ledger. The sidecar answers usage with 503 before the ledger reaches it, and still "
        "submits what it accepted. `null` takes the ledger's size plus the free space of its volume. Set it where "
        "a larger ledger would evict the pod; the chart sets it.",
        parser=values.size(_LEAST_LEDGER),
        allowed="`4MiB` and more, such as `900MiB`",
    )
    """Bytes."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ApiSettings(Group):
    """The local API, on loopback and, if configured, on a unix socket too."""

    host: str = key(
        "127.0.0.1",
        "Address of the local API. Only addresses that other pods cannot reach are valid.",
        parser=values.loopback_host,
        allowed="a loopback address, or `localhost`",
    )
    port: int = key(8787, "Its port. 0 takes any free one.", least=0, most=65535)
    socket: Path | None = key(
        None,
        "A unix socket in addition, for an app that shares a volume with the sidecar.",
        parser=values.socket_path,
        allowed="path of up to 107 bytes",
    )
    token_file: Path | None = key(
        None,
        "File with the bearer token that callers must send; for pods with containers of others. The sidecar reads "
        "a changed file within a second.",
        parser=values.path,
        allowed="path of a file",
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ProbeSettings(Group):
    """The probe listener, on the pod's address."""

    host: str = key(
        "0.0.0.0",
        "Address of `/livez`, `/startupz`, `/readyz` and `/metrics`, which the kubelet must reach. `0.0.0.0` and "
        "`::` both mean every IPv4 and IPv6 address of the pod. A name means each of its addresses that the pod "
        "has.",
        parser=values.host,
        allowed="IP address or host name",
    )
    port: int = key(8788, "Their port. 0 takes any free one.", least=0, most=65535)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ShutdownSettings(Group):
    """The end of the process."""

    timeout: timedelta = key(
        timedelta(seconds=25),
        "Maximum duration of the drain: finished hours, the app's last usage, the open hour. Keep it 5s below the "
        "pod's grace period, and at 115s or less on Fargate. If the cluster reports less remaining grace, the "
        "drain takes less, at least 10s.",
        least=timedelta(),
        most=timedelta(hours=1),
        because="a pod's grace period is rarely longer",
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MarketplaceSettings(Group):
    """Which Marketplace, and where."""

    region: str | None = key(
        None,
        "AWS Region. `null` takes AWS_REGION, else AWS_DEFAULT_REGION. AWS refuses every Region except the pod's "
        "own, so the default is right in most clusters.",
        parser=values.region,
        allowed="name of a Region",
    )
    endpoint_url: str | None = key(
        None,
        "Address of the emulator. An error with mode `live`.",
        parser=values.endpoint_url,
        allowed="`http://host:port`",
    )
    mode: Mode = key(
        Mode.LIVE, "`live` is AWS. `emulator` is the service at `endpoint_url`, its clock included, for tests."
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class KubernetesSettings(Group):
    """What the sidecar reads from the cluster and writes to it."""

    enabled: KubernetesUse = key(
        KubernetesUse.AUTO,
        "Whether the sidecar asks the cluster if the pod is terminating, and writes events and a condition. "
        "`auto` does so if the pod has a service account token.",
    )
    readiness_gate: str | None = key(
        None,
        "Pod condition that the sidecar sets, as named in the pod's `readinessGates`. It needs the permission "
        "`patch pods/status`.",
        parser=values.condition,
        allowed="type of a pod condition",
    )
    events: bool = key(
        default=True, sentence="Whether the sidecar writes events on the pod. It needs the permission `create events`."
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogSettings(Group):
    """The log's threshold and form."""

    level: LogLevel = key(LogLevel.INFO, "Least severe event that is logged.")
    format: LogFormat = key(
        LogFormat.AUTO, "Form of log lines. `auto` is `console` on a terminal and `json` elsewhere."
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Settings(Group):
    """The whole configuration."""

    product: Product
    entitlement: EntitlementSettings = EntitlementSettings()
    license: LicenseSettings = LicenseSettings()
    metering: MeteringSettings = MeteringSettings()
    ledger: LedgerSettings = LedgerSettings()
    api: ApiSettings = ApiSettings()
    probes: ProbeSettings = ProbeSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    marketplace: MarketplaceSettings = MarketplaceSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    log: LogSettings = LogSettings()

    @property
    def check(self) -> EntitlementCheck:
        """The check of the entitlement in force: `auto` is decided here, and only here."""
        return resolve(self.entitlement.check, self.product.pricing, has_public_key=bool(self.product.public_keys))

    @property
    def probes_license(self) -> bool:
        """Whether a license proves the subscription when a pod with a custom price starts."""
        return self.check is EntitlementCheck.METER and self.entitlement.probe is StartProbe.LICENSE

    @property
    def asks_license(self) -> bool:
        """Whether License Manager is called: for a contract, or by the start probe of a custom price."""
        return self.check is EntitlementCheck.LICENSE or self.probes_license

    @property
    def meters(self) -> bool:
        """Whether AWS Marketplace Metering is called: a contract without dimensions needs License Manager alone."""
        return self.check is not EntitlementCheck.LICENSE or bool(self.metering.dimensions)
