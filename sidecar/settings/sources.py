"""The source of a dimension: one of the kinds that the sidecar measures."""

import re
from collections.abc import Callable

from sidecar.domain.metering.sources import CountWhile, PodTime, Resource, ResourceBound, ResourceKind, Source
from sidecar.settings import values
from sidecar.settings.counters import read_otlp, read_prometheus
from sidecar.settings.entry import Entry, Kind
from sidecar.settings.section import Reading, Section

_CONTAINER = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_CHOOSE = (
    "write {pod_time: {while: entitled}}, {resource: {what: cpu, by: limit, container: app}}, {prometheus: {url: "
    '"http://127.0.0.1:9090/metrics", metric: http_requests_total}} or {otlp: {metric: app.tokens}}'
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
    if kind not in _READERS:
        cure = values.suggest(kind, tuple(_READERS)) or _CHOOSE
        reading.complain(f"{name}.{kind}", entry, "is not a kind of source", cure)
        return None
    members = Section(reading, f"{name}.{kind}", entry.members[kind])
    source = _READERS[kind](reading, members)
    members.close()
    return source


def _pod_time(_: Reading, members: Section) -> PodTime:
    return PodTime(members.read("while", CountWhile.ENTITLED, values.choice(CountWhile)))


def _resource(_: Reading, members: Section) -> Resource:
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


_READERS: dict[str, Callable[[Reading, Section], Source]] = {
    "pod_time": _pod_time,
    "resource": _resource,
    "prometheus": read_prometheus,
    "otlp": read_otlp,
}
