"""Writes what documents and charts state about each setting, from the groups that declare it.

Each function takes the present text of a file and returns the text that the file must have.
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import timedelta
from enum import StrEnum
from types import NoneType
from typing import Any, get_args, get_origin

import yaml

from sidecar.domain import durations
from sidecar.domain.declaration import declaration_of
from sidecar.domain.metering.events import Aggregation
from sidecar.settings import Settings
from sidecar.settings import values as values_of_settings
from sidecar.settings.counters import EVERY
from sidecar.settings.listing import MOST_DIMENSIONS, MOST_SEATS
from sidecar.settings.names import SELLERS_KEYS, is_sellers
from sidecar.settings.values import AUTO, Matching

CHART_SENTENCES = {
    "product.public_keys": (
        'Public keys that verify signatures, by version, as PEM text: {"1": "-----BEGIN PUBLIC KEY-----..."}.'
    ),
    "api.port": "Its port.",
    "probes.port": "Their port.",
    "kubernetes.readiness_gate": (
        "Pod condition such as example.com/entitled. The chart adds it to the pod's `readinessGates`."
    ),
    "kubernetes.enabled": (
        "Whether the sidecar asks the cluster if the pod is terminating, and writes events and a condition."
    ),
}
"""Keys that differ in the chart: it writes the key files and the readiness gate, and it takes no free port."""
CHART_DEFAULTS: Mapping[str, object] = {"product.code": "", "kubernetes.enabled": True}
"""Defaults of the chart that are not those of the sidecar."""
_CHART_SCHEMAS: Mapping[str, Mapping[str, object]] = {
    "kubernetes.enabled": {"type": "boolean"},
    "api.port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "probes.port": {"type": "integer", "minimum": 1, "maximum": 65535},
}
"""What the chart refuses beyond the sidecar: a port that is any free one cannot be a port of the pod."""
_NOT_IN_CHART = frozenset({"ledger"})
"""Groups that the chart writes itself."""
_DURATION = "^(0|[1-9][0-9]{0,8})[smhd]$"
_STRUCTURED = frozenset(
    {"product.public_keys", "product.trusted_codes", "metering.dimensions", "license.require", "license.tiers"}
)
"""Lists and mappings, whose members the chart describes itself."""
_SCHEMAS_OWN = frozenset({"product.code", "entitlement.probe_dimension"})
"""Text that the schema judges in its own way: a code may be empty, and a name has a length."""
_COLUMNS = 118


def keys() -> Iterator[tuple[str, str, Field[Any]]]:
    """Yield group, name and field of each setting; what a group declares itself comes before what it inherits."""
    for group in fields(Settings):
        assert is_dataclass(group.type)
        own = group.type.__annotations__
        for field in sorted(fields(group.type), key=lambda one: one.name not in own):
            yield group.name, field.name, field


def shown(value: object) -> str:
    """Return a value as YAML has it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case timedelta():
            return durations.render(value)
        case tuple():
            return "[]"
        case Mapping():
            return "{}"
        case _:
            return str(value)


def default_of(field: Field[Any]) -> object:
    """Return the default of a setting, MISSING for one that is required."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _kind(field: Field[Any]) -> Any:
    options: tuple[Any, ...] = get_args(field.type)
    return next(each for each in options if each is not NoneType) if NoneType in options else field.type


def allowed(field: Field[Any]) -> str:
    """Return the range of a setting in Markdown."""
    declaration, kind = declaration_of(field), _kind(field)
    if declaration.allowed:
        return declaration.allowed
    if kind is bool:
        return "`true`, `false`"
    if kind is timedelta:
        return f"`{shown(declaration.least)}` to `{shown(declaration.most)}`"
    if kind is int:
        return f"{declaration.least} to {declaration.most}"
    return ", ".join(f"`{word}`" for word in kind)


def document(text: str) -> str:
    """Return docs/configuration.md with the table of each group under its heading."""
    for group in fields(Settings):
        rows = ["| key | default | range | what it changes, and when to change it |", "| --- | --- | --- | --- |"]
        for owner, name, field in keys():
            if owner == group.name:
                default = default_of(field)
                cell = "required" if default is MISSING else f"`{shown(default)}`"
                sentence = declaration_of(field).sentence
                rows.append(f"| `{owner}.{name}` | {cell} | {allowed(field)} | {sentence} |")
        table = "\n".join(rows)
        heading = re.search(rf"^## `{group.name}`[^\n]*\n\n", text, re.MULTILINE)
        assert heading, f"docs/configuration.md has no heading ## `{group.name}`"
        rest = re.sub(r"\A(?:\|[^\n]*\n)*", "", text[heading.end() :])
        text = f"{text[: heading.end()]}{table}\n{rest}"
    return text


def _chart_keys() -> Iterator[tuple[str, str, Field[Any]]]:
    return (each for each in keys() if each[0] not in _NOT_IN_CHART)


def _sentence(key: str, field: Field[Any]) -> str:
    return CHART_SENTENCES.get(key, declaration_of(field).sentence)


def _chart_default(key: str, field: Field[Any]) -> object:
    return CHART_DEFAULTS.get(key, default_of(field))


def _schema_of(key: str, field: Field[Any]) -> Mapping[str, object]:
    """Return what the type of a setting says about its values in JSON; text is narrowed by patterns of the chart."""
    declaration, kind = declaration_of(field), _kind(field)
    if key in _CHART_SCHEMAS:
        return _CHART_SCHEMAS[key]
    if declaration.parser is not None or key in _STRUCTURED:
        pattern = "" if key in _SCHEMAS_OWN else _pattern(key, field)
        return {"pattern": pattern} if pattern else {}
    if kind is bool:
        return {"type": "boolean"}
    if kind is int:
        return {"type": "integer", "minimum": declaration.least, "maximum": declaration.most}
    if kind is timedelta:
        return {"type": "string", "pattern": _DURATION}
    assert issubclass(kind, StrEnum)
    words: list[object] = [word.value for word in kind]
    # Without this null would be no value: an enum names each one.
    return {"enum": [*words, None]} if NoneType in get_args(field.type) else {"type": "string", "enum": words}


def _pattern(key: str, field: Field[Any]) -> str:
    """Return the pattern of a setting that is text of one form, empty for any other, as the chart writes it."""
    parser = values_of_settings.region if key == "license.region" else declaration_of(field).parser
    if not isinstance(parser, Matching):
        return ""
    other = f"{AUTO}|" if key == "license.region" else ""
    flags = "(?s)" if parser.pattern.flags & re.DOTALL else ""
    return f"{flags}^({other}{parser.pattern.pattern})$"


def _declared(key: str, field: Field[Any]) -> Mapping[str, object]:
    """Return what the chart's templates judge a value of a setting by."""
    declaration, kind = declaration_of(field), _kind(field)
    told: dict[str, object] = {"default": yaml.safe_load(shown(_chart_default(key, field)) or "''")}
    if NoneType in get_args(field.type):
        told["optional"] = True
    if key in _STRUCTURED:
        return {"kind": "list" if get_origin(kind) is tuple else "map", **told, "optional": True}
    told |= {"kind": "text"}
    if pattern := _pattern(key, field):
        parser = values_of_settings.region if key == "license.region" else declaration.parser
        assert isinstance(parser, Matching)
        told |= {"pattern": pattern, "reason": parser.reason, "cure": parser.cure}
    elif declaration.parser is not None:
        pass
    elif kind is bool or key == "kubernetes.enabled":
        told["kind"] = "flag"
    elif kind in {int, timedelta}:
        kinds = {int: "whole", timedelta: "duration"}
        limits = [yaml.safe_load(shown(each)) for each in (declaration.least, declaration.most)]
        told |= {"kind": kinds[kind], "least": limits[0], "most": limits[1], "because": declaration.because}
    else:
        told |= {"kind": "word", "words": [word.value for word in kind]}
    return told


def declared(text: str) -> str:
    """Return _declared.tpl with the ranges of all settings."""
    tree: dict[str, dict[str, dict[str, object]]] = {}
    for owner, name, field in _chart_keys():
        tree.setdefault(owner, {})[name] = dict(_declared(f"{owner}.{name}", field))
    # Ranges inside of lists.
    every = [yaml.safe_load(shown(each)) for each in (EVERY.least, EVERY.most)]
    tree["license"]["require"] |= {"hold": {"kind": "whole", "least": 0, "most": MOST_SEATS}}
    tree["metering"]["dimensions"] |= {
        "most": MOST_DIMENSIONS,
        "aggregation": {"kind": "word", "words": [word.value for word in Aggregation]},
        "every": {"kind": "duration", "least": every[0], "most": every[1], "because": EVERY.because},
    }
    # JSON, which Helm parses much faster than YAML; one line for each key.
    groups = [
        f"{json.dumps(owner)}: {{\n"
        + ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in members.items())
        + "\n}"
        for owner, members in tree.items()
    ]
    return _define(text, "declared", "{" + ",\n".join(groups) + "}\n")


def _define(text: str, name: str, body: str) -> str:
    """Return a file of templates with the body of one of them replaced."""
    begin, end = f'{{{{- define "marketplace-sidecar.{name}" -}}}}\n', "{{- end }}"
    head, mark, rest = text.partition(begin)
    assert mark
    return head + begin + body + end + rest.partition(end)[2]


def schema(text: str) -> str:
    """Return values.schema.json with each setting's sentence and range under `config`."""
    tree = json.loads(text)
    groups = tree["properties"]["config"]["properties"]
    for owner, name, field in _chart_keys():
        members = groups[owner]["properties"]
        known = members.get(name, {})
        told = {"description": _sentence(f"{owner}.{name}", field), **_schema_of(f"{owner}.{name}", field)}
        first = {"type": told.pop("type")} if "type" in told else {k: known[k] for k in ("type",) if k in known}
        rest = {part: value for part, value in known.items() if part not in {"type", "description"}}
        members[name] = first | {"description": told.pop("description")} | told | rest | told
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def values(text: str) -> str:
    """Return values.yaml with each setting's sentence above its key under `config`, and keys that it lacks."""
    before, begin, rest = text.partition("\nconfig:\n")
    config = re.split(r"^(?=\S)", rest, maxsplit=1, flags=re.MULTILINE)[0]
    after = rest.removeprefix(config)
    assert begin
    found = {f"{owner}.{name}": field for owner, name, field in _chart_keys()}
    sections = re.split(r"^(?=  \w+:\n)", config, flags=re.MULTILINE)
    return before + begin + sections[0] + "".join(_group(section, found) for section in sections[1:]) + after


def _group(section: str, found: Mapping[str, Field[Any]]) -> str:
    """Return the lines of one group in values.yaml."""
    head, _, body = section.partition("\n")
    group = head.strip(" :")
    lines = [head]
    # Lines of the group, then what belongs to the next one: its comment, and the blank line before it.
    own = re.match(r"(?: {4}[^\n]*\n)*", body)
    assert own
    given = set()
    for line in own[0].splitlines():
        start = re.match(r" {4}(\w+):", line)
        if start:
            given.add(start[1])
            lines += _comment(_sentence(f"{group}.{start[1]}", found[f"{group}.{start[1]}"]))
        if not line.startswith("    #"):
            lines.append(line)
    for key, field in found.items():
        owner, _, name = key.partition(".")
        if owner == group and name not in given:
            lines += [*_comment(_sentence(key, field)), f"    {name}: {shown(_chart_default(key, field))}"]
    return "\n".join(lines) + "\n" + body[own.end() :]


def _comment(sentence: str) -> list[str]:
    wrapped = textwrap.wrap(sentence, _COLUMNS - len("    # "), break_on_hyphens=False)
    return [f"    # {line}" for line in wrapped]


def seller_defaults(text: str) -> str:
    """Return _seller.tpl with the chart's defaults of the seller's keys."""
    tree: dict[str, dict[str, object]] = {}
    for owner, name, field in _chart_keys():
        key = f"{owner}.{name}"
        if is_sellers(key):
            default = _chart_default(key, field)
            plain = default if isinstance(default, str | int | None) else yaml.safe_load(shown(default))
            tree.setdefault(owner, {})[name] = str(plain) if isinstance(plain, str) else plain
    assert set(tree["marketplace"]) == {key.partition(".")[2] for key in SELLERS_KEYS}
    rendered = yaml.safe_dump(tree, sort_keys=False, default_flow_style=False)
    return _define(text, "sellerDefaults", rendered)


def defaults() -> dict[str, dict[str, object]]:
    """Return the chart's default of each setting, as values.yaml holds it."""
    tree: dict[str, dict[str, object]] = {}
    for owner, name, field in _chart_keys():
        default = _chart_default(f"{owner}.{name}", field)
        tree.setdefault(owner, {})[name] = yaml.safe_load(shown(default)) if default != "" else ""
    return tree
