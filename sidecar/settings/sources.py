"""The source of a dimension: one of the kinds that this version measures.

Other kinds are refused by name: a source that is not measured would leave its usage unbilled.
"""

import re

from sidecar.domain.metering.sources import CountWhile, PodTime, Resource, ResourceBound, ResourceKind, Source
from sidecar.settings import values
from sidecar.settings.entry import Entry, Kind
from sidecar.settings.prometheus_source import read_prometheus
from sidecar.settings.section import Reading, Section

_MEASURED = ("pod_time", "resource", "prometheus")
_LATER = ("otlp",)
"""Kinds that are planned."""
_CONTAINER = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_CHOOSE = (
    "write {pod_time: {while: entitled}}, {resource: {what: cpu, by: limit, container: app}} or {prometheus: {url: "
    '"http://127.0.0.1:9090/metrics", metric: http_requests_total}}'
)


def read_source(reading: Reading, dimension: Section) -> Source | None:
    """Return the source of a dimension, None without one."""
    name, entry = dimension.dotted("source"), dimension.take("source")
    if entry is None:
        return None
    if entry.kind is not Kind.MAP or len(entry.members) != 1:
        reading.complain(name, entry, "is not a mapping with one kind of source", _CHOOSE)
        return None
    (kind,) = entry.members
    if kind in _LATER:
        words = "is not measured yet: this version measures pod_time, resource and prometheus only"
        reading.complain(f"{name}.{kind}", entry, words, "report this usage with POST /v1/usage, without a source")
        return None
    if kind not in _MEASURED:
        cure = values.suggest(kind, _MEASURED) or _CHOOSE
        reading.complain(f"{name}.{kind}", entry, "is not a kind of source", cure)
        return None
    members = Section(reading, f"{name}.{kind}", entry.members[kind])
    source = _read_kind(reading, kind, members)
    members.close()
    return source


def _read_kind(reading: Reading, kind: str, members: Section) -> Source:
    if kind == "pod_time":
        return _pod_time(members)
    return _resource(members) if kind == "resource" else read_prometheus(reading, members)


def _pod_time(members: Section) -> PodTime:
    return PodTime(members.read("while", CountWhile.ENTITLED, values.choice(CountWhile)))


def _resource(members: Section) -> Resource:
    return Resource(
        members.demand("what", ResourceKind.CPU, values.choice(ResourceKind), "write cpu or memory"),
        members.read("by", ResourceBound.LIMIT, values.choice(ResourceBound)),
        members.demand("container", "", _container, "name a container of the pod"),
    )


def _container(entry: Entry) -> str:
    """Read the name of a container."""
    if not _CONTAINER.fullmatch(values.text(entry)):
        raise values.InvalidValue(
            "is not the name of a container", "use the container's name: lower-case letters, digits and -"
        )
    return entry.text
