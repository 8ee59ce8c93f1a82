"""Everything that would end the start, checked together: key files, the Region, the API's token, busy ports.

Checks only settings that hold the configured value; a faulty configuration file and a missing key are reported
together. Binds ports for an instant and leaves nothing behind; the listeners bind them again.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sidecar.adapters.signature import PublicKeys, UnusableKeys
from sidecar.checks import ports
from sidecar.checks.running import find_running
from sidecar.domain.check_result import CheckResult, CheckStatus
from sidecar.marketplace import UnsupportedRegion
from sidecar.settings import Problem, Settings, SettingsError
from sidecar.upstream import endpoint_of


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A reason that keeps the sidecar from starting, and its setting."""

    key: str
    found: str
    cure: str

    def __str__(self) -> str:
        named = "" if self.found.startswith(self.key) else f"{self.key}: "
        return f"{named}{self.found}. {self.cure}"

    @property
    def problem(self) -> Problem:
        """The same among the problems of a configuration."""
        return Problem(self.key, None, self.found, f"{self.cure[:1].lower()}{self.cure[1:]}".rstrip("."))


def obstacles(settings: Settings, environ: Mapping[str, str], faulty: Collection[str] = ()) -> Iterator[Obstacle]:
    """Yield everything outside the configuration file that keeps the sidecar from starting.

    The settings `faulty` hold a placeholder, and are not checked.
    """

    def sound(*keys: str) -> bool:
        return not any(each == key or each.startswith((f"{key}.", f"{key}[")) for each in faulty for key in keys)

    if sound("product.public_keys"):
        yield from _keys(settings)
    if sound("marketplace.mode", "marketplace.region", "marketplace.endpoint_url"):
        try:
            endpoint_of(settings.marketplace, environ)
        except (UnsupportedRegion, ValueError) as error:
            cure = error.cure if isinstance(error, UnsupportedRegion) else ""
            yield Obstacle("AWS_REGION", str(getattr(error, "message", error)), cure)
    if sound("api.token_file"):
        yield from _failed("api.token_file", ports.check_token_file(settings.api))
    if sound("api.host", "api.port", "api.socket"):
        yield from _failed("api.port", ports.check_api_port(settings.api, running=False))
    if sound("probes.host", "probes.port"):
        yield from _failed("probes.port", ports.check_probe_port(settings.probes, running=False))


def refuse_all(error: SettingsError, environ: Mapping[str, str], *, diagnosing: bool = False) -> SettingsError:
    """Return the error of a faulty configuration, extended by everything else that keeps the sidecar from starting.

    `diagnosing`: a running sidecar may hold its own ports.
    """
    if error.partial is None:
        return error
    ours = {"api.port", "probes.port"} if diagnosing and find_running(error.partial.api) is not None else set()
    more = [each.problem for each in obstacles(error.partial, environ, error.faulty) if each.key not in ours]
    return SettingsError([*error.problems, *more]) if more else error


def _keys(settings: Settings) -> Iterator[Obstacle]:
    try:
        PublicKeys.load(settings.product.public_keys)
    except UnusableKeys as unusable:
        for fault in unusable.faults:
            found = f"{fault.path}: {fault.reason} (public key version {fault.version})"
            yield Obstacle(f"product.public_keys.{fault.version}", found, fault.cure)


def _failed(key: str, diagnosis: CheckResult) -> Iterator[Obstacle]:
    if diagnosis.status is CheckStatus.FAIL:
        yield Obstacle(key, diagnosis.found, diagnosis.cure)
