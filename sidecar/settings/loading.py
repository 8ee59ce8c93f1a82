"""The configuration as a whole: reads every group by its declaration, then compares the settings with each other.

`groups` declares each key, `values` has the parsers. The reader finds every problem before it refuses the
configuration, and compares two settings only when both hold what was configured.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from datetime import timedelta
from enum import StrEnum
from types import NoneType
from typing import Any, get_args

from sidecar.domain.declaration import Declaration, declaration_of
from sidecar.settings import file, values
from sidecar.settings.compatibility import compare
from sidecar.settings.entry import Entry
from sidecar.settings.environment import overrides
from sidecar.settings.groups import Settings
from sidecar.settings.listing import dimensions, public_keys, required_entitlements, tiers, trusted_codes
from sidecar.settings.problems import SettingsError
from sidecar.settings.section import Reading, Section
from sidecar.settings.values import Parser

_STRUCTURED: Mapping[str, Callable[[Reading, Section], object]] = {
    "product.public_keys": public_keys,
    "product.trusted_codes": trusted_codes,
    "metering.dimensions": dimensions,
    "license.require": required_entitlements,
    "license.tiers": tiers,
}
"""Keys that hold lists or mappings, whose members are checked one by one."""


def read(path: str | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings of a file under the environment's overrides.

    The file is found by `path`; None means SIDECAR_CONFIG, else the default path.

    Raises:
        SettingsError: At least one problem was found; it lists all of them.
    """
    tree, problems = file.read(*file.locate(path, environ))
    entries, refused = overrides(environ)
    reading = Reading(dict(entries))
    settings = _settings(reading, tree)
    compare(settings, reading)
    reading.report_unknown()
    # Without the file every key looks missing: report only problems of variables.
    problems += refused + [problem for problem in reading.problems if tree is not None or problem.where in environ]
    if problems:
        raise SettingsError(problems, None if tree is None else settings, reading.faulty)
    return settings


def _settings(reading: Reading, tree: Entry | None) -> Settings:
    root = Section(reading, "", tree)
    settings = Settings(
        **{group.name: _group(reading, root.group(group.name), group.type) for group in fields(Settings)}
    )
    root.close()
    return settings


def _group(reading: Reading, section: Section, group: Any) -> Any:
    """Return the group of a section: each field takes the value of the key that has its name."""
    found = {field.name: _value(reading, section, field) for field in fields(group)}
    section.close()
    return group(**found)


def _value(reading: Reading, section: Section, field: Field[Any]) -> Any:
    structured = _STRUCTURED.get(section.dotted(field.name))
    if structured is not None:
        return structured(reading, section)
    declaration = declaration_of(field)
    parser = _parser(field.type, declaration)
    if field.default is MISSING:
        return section.demand(field.name, "", parser, declaration.missing)
    return section.read(field.name, field.default, parser)


def _parser(kind: Any, declaration: Declaration) -> Parser[Any]:
    """Return the declared parser, else the one of the key's type."""
    options = get_args(kind)
    if NoneType in options:
        return values.optional(_parser(next(each for each in options if each is not NoneType), declaration))
    if declaration.parser is not None:
        return declaration.parser
    if kind is bool:
        return values.flag
    if kind is int:
        return values.whole(declaration.least, declaration.most)
    if kind is timedelta:
        return values.duration(declaration.least, declaration.most, declaration.because)
    if issubclass(kind, StrEnum):
        return values.choice(kind)
    raise TypeError(f"{kind} has no parser; the declaration of the setting must name one")
