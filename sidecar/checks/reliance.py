"""Which check rests on which: if one fails, the checks that rest on it are skipped, and one fault is reported once."""

from collections.abc import Iterable, Mapping

from sidecar.domain.check_result import Check, CheckResult, CheckStatus

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
    "license": ("variables", "region", "proxy", "certificates", "token"),
    "permission": (*_WAY, "certificates", "dns", "token", "sts"),
}
"""By the name of a check, the checks without which it would only repeat their fault; the deepest first."""
_OWN = {
    "region": ("aws_region", "aws_default_region"),
    "token": ("aws_web_identity", "aws_role", "pod_uid"),
    "proxy": ("_proxy",),
    "certificates": ("_ca_bundle",),
    "kubernetes": ("kubernetes_", "pod_"),
    "kubernetes role": ("kubernetes_", "pod_"),
    "shutdown": ("pod_termination_grace",),
}
"""Parts of the names of the variables that a check reads, where it reads few; every other one reads any of AWS's."""
_OF_AWS = ("aws_", "_proxy", "_ca_bundle", "ecs_")


def skip_repeated(results: Iterable[CheckResult]) -> list[CheckResult]:
    """Return the results, each that is not right and rests on a failed one as skipped. One that is right stays."""
    given = list(results)
    failed = {each.name: each.found.lower() for each in given if each.status is CheckStatus.FAIL}
    return [_judged(each, failed) for each in given]


def _judged(result: CheckResult, failed: Mapping[str, str]) -> CheckResult:
    def concerned(root: str) -> bool:
        reads = _OWN.get(result.name, _OF_AWS)
        return root != "variables" or any(part in failed[root] for part in reads)

    root = next((name for name in RESTS_ON.get(result.name, ()) if name in failed and concerned(name)), None)
    if root is None or result.status is CheckStatus.OK:
        return result
    return Check(result.name, result.why).skipped(f"rests on the check `{root}`, which failed")
