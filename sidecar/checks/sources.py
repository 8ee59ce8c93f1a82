"""The sources that the sidecar measures by, as the running sidecar reads them: files of resources, pages, exports.

A page is fetched once for all dimensions that read it, and nothing of it is stored or billed.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import assert_never

from sidecar.adapters.counter_pages import PageBody, fetch_page
from sidecar.adapters.http.otlp_exports import EXPORTS
from sidecar.adapters.resource_files import FOLDER, ResourceFiles
from sidecar.checks.running import RunningSidecar
from sidecar.domain.check_result import Check, CheckResult, CheckStatus
from sidecar.domain.metering.events import Dimension
from sidecar.domain.metering.pages import PageReader, PageUnusable
from sidecar.domain.metering.sources import Otlp, PodTime, Prometheus, Resource, ResourceUnreadable
from sidecar.http_client import http_url
from sidecar.settings import ApiSettings

SOURCES = Check("sources", "A dimension that the sidecar measures is not billed while its source cannot be read.")
_PAGES_WITHIN = timedelta(seconds=4)
"""For all pages together, below the limit of a check."""
_GRAVEST_FIRST = (CheckStatus.FAIL, CheckStatus.WARN, CheckStatus.OK, CheckStatus.SKIPPED)
_IN_POD = ("POD_UID", "KUBERNETES_SERVICE_HOST", "ECS_CONTAINER_METADATA_URI_V4")
"""Variables of a pod or a task, of which each has at least one."""

_CURE_FILE = (
    "Mount the downward API's file there, with the container's limit or request, as the chart does (docs/sources.md); "
    "on ECS use pod_time. Outside the pod the files are missing: run doctor in the pod."
)
_CURE_ANSWER = (
    "Let the app serve the page at the `url` of the source, on 127.0.0.1 or on all addresses. An app that starts needs "
    "its time: run doctor again once the app is ready."
)
_CURE_PAGE = "Correct the page, or the `metric` of the source: docs/sources.md has each case."
_CURE_NAME = (
    "Compare the `metric` of the source with the names of the page; most counters end with `_total`. Some libraries "
    "show a counter only after its first increase."
)
_CURE_MATCH = "Compare `match` of the source with the labels of the page: an expression is for the whole value."
_CURE_FOLDED = (
    "Let the app write label values that AWS takes as tags, or take another label (docs/sources.md). The usage is "
    "billed in full, without tags."
)


def check_sources(
    dimensions: Sequence[Dimension],
    api: ApiSettings,
    environ: Mapping[str, str],
    running: RunningSidecar | None,
    folder: Path = FOLDER,
) -> CheckResult:
    """Read each file and each page, and look whether exports have come. Blocks for `_PAGES_WITHIN`.

    The result has the gravest status of all sources, and what was found of the others, too.
    """
    pages = _Pages(dimensions, reachable=running is not None or any(environ.get(name) for name in _IN_POD))
    found: list[CheckResult] = []
    for dimension in dimensions:
        match dimension.source:
            case Resource() as source:
                found.append(_check_file(dimension.name, source, folder))
            case Prometheus() as source:
                found.append(pages.check(dimension.name, source))
            case Otlp() as source:
                found.append(_check_exports(dimension.name, source, api, running))
            case PodTime() | None:
                pass
            case _ as never:
                assert_never(never)
    if not found:
        return SOURCES.skipped("no dimension is measured by a resource or a counter")
    return _join(found)


def _join(found: Sequence[CheckResult]) -> CheckResult:
    gravest = min((each.status for each in found), key=_GRAVEST_FIRST.index)
    cures = dict.fromkeys(each.cure for each in found if each.cure)
    return CheckResult(SOURCES.name, gravest, "; ".join(each.found for each in found), SOURCES.why, " ".join(cures))


def _check_file(dimension: str, source: Resource, folder: Path) -> CheckResult:
    try:
        return SOURCES.ok(f"{source.file_name} is {ResourceFiles(folder)(source)}")
    except ResourceUnreadable as unreadable:
        return SOURCES.fail(f"dimension {dimension}: {unreadable}", _CURE_FILE)


class _Pages:
    """The pages of all sources."""

    def __init__(self, dimensions: Sequence[Dimension], *, reachable: bool) -> None:
        """Prepare to fetch each page once. `reachable`: the loopback interface is that of the pod."""
        urls = {each.source.url for each in dimensions if isinstance(each.source, Prometheus)}
        self._within = _PAGES_WITHIN / max(len(urls), 1)
        self._reachable = reachable
        self._fetched: dict[str, PageBody | PageUnusable] = {}

    def check(self, dimension: str, source: Prometheus) -> CheckResult:
        """Judge the page of a source as the running sidecar does."""
        about = f"dimension {dimension}: the page {source.url}"
        if not self._reachable:
            return SOURCES.skipped(f"{about} cannot be read from outside the pod: run doctor in the pod")
        try:
            fetched = self._fetch(source)
            body = fetched.unpack()
        except PageUnusable as unusable:
            return SOURCES.fail(f"{about} {unusable}", _CURE_ANSWER)
        try:
            page = PageReader(source).read(body, 0, openmetrics=fetched.openmetrics)
        except PageUnusable as unusable:
            return SOURCES.fail(f"{about} {unusable}", _CURE_PAGE)
        if not page.samples:
            return _judge_empty(about, source, body, openmetrics=fetched.openmetrics)
        shown = f"{about} has {len(page.samples)} series of {source.metric}"
        if page.folded:
            return SOURCES.warn(
                f"{shown}, {page.folded} of them with label values that are no valid tags", _CURE_FOLDED
            )
        return SOURCES.ok(shown)

    def _fetch(self, source: Prometheus) -> PageBody:
        if source.url not in self._fetched:
            try:
                self._fetched[source.url] = fetch_page(source.url, min(source.every, self._within))
            except PageUnusable as unusable:
                self._fetched[source.url] = unusable
        fetched = self._fetched[source.url]
        if isinstance(fetched, PageUnusable):
            raise fetched
        return fetched


def _judge_empty(about: str, source: Prometheus, body: bytes, *, openmetrics: bool) -> CheckResult:
    """Judge a page without a series that counts: the name is missing, or the labels differ."""
    if source.match:
        with suppress(PageUnusable):
            every = PageReader(replace(source, match=())).read(body, 0, openmetrics=openmetrics)
            if every.samples:
                words = f"has {len(every.samples)} series of {source.metric}, and `match` fits none of them"
                return SOURCES.warn(f"{about} {words}", _CURE_MATCH)
    return SOURCES.warn(f"{about} has no series of {source.metric}", _CURE_NAME)


def _check_exports(dimension: str, source: Otlp, api: ApiSettings, running: RunningSidecar | None) -> CheckResult:
    """Name the endpoint that the app has to use; the running sidecar knows whether it does."""
    endpoint = f"{http_url(api.host, api.port)}{EXPORTS}" if api.port else f"{EXPORTS} of a port that changes"
    about = f"dimension {dimension}: the app exports {source.metric} to {endpoint}"
    if not api.port:
        return SOURCES.warn(f"{about}: api.port is 0", "Set api.port: the app needs a fixed endpoint.")
    if running is None:
        return SOURCES.skipped(f"{about}; no sidecar answers that knows whether an export has come")
    last = running.last_sample(dimension)
    if last is not None:
        return SOURCES.ok(f"{about}; the last export came at {last}")
    cure = (
        f"Set OTEL_EXPORTER_OTLP_METRICS_ENDPOINT={endpoint} and OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf in "
        "the app's container, and compare the `metric` of the source with the counter's name. SDKs export every 60 "
        "seconds: run doctor again after a minute."
    )
    if api.token_file is not None:
        cure += " OTEL_EXPORTER_OTLP_METRICS_HEADERS has to carry the token of api.token_file (docs/sources.md)."
    return SOURCES.warn(f"{about}; the running sidecar has received none", cure)
