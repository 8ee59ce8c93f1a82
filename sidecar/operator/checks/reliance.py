"""Which check rests on which: where one has failed, what rests on it is skipped, so that one fault is told once."""

from collections.abc import Iterable, Mapping

from sidecar.domain.diagnosis import Diagnosis, Result, Subject

_WAY = ("variables", "region", "proxy")
RESTS_ON: Mapping[str, tuple[str, ...]] = {
    "region": ("variables",),
    "token": ("variables",),
    "proxy": ("variables",),
    "certificates": ("variables",),
    "identity": ("variables",),
    "kubernetes": ("variables",),
    "kubernetes role": ("variables", "kubernetes"),
    "shutdown": ("variables",),
    "key rotation": ("keys",),
    "dns": _WAY,
    "endpoint": (*_WAY, "certificates", "dns"),
    "clock": (*_WAY, "certificates", "dns", "endpoint"),
    "sts": (*_WAY, "certificates", "dns", "token"),
    "permission": (*_WAY, "certificates", "dns", "token", "sts"),
}
"""By the name of a check, the checks without which it would only repeat their fault; the deepest first."""


def skip_repeated(diagnoses: Iterable[Diagnosis]) -> list[Diagnosis]:
    """Return the diagnoses, each that is not right and rests on a failed one as skipped. One that is right stays."""
    told = list(diagnoses)
    failed = {each.name for each in told if each.status is Result.FAIL}
    return [_judged(each, failed) for each in told]


def _judged(diagnosis: Diagnosis, failed: set[str]) -> Diagnosis:
    root = next((name for name in RESTS_ON.get(diagnosis.name, ()) if name in failed), None)
    if root is None or diagnosis.status is Result.OK:
        return diagnosis
    return Subject(diagnosis.name, diagnosis.why).skipped(f"rests on the check `{root}`, which failed")
