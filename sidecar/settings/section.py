"""One group of the file during the reading: takes each key once, a variable before the file, and collects problems.

An invalid value is reported and its default returned: the reading continues and finds the other problems. A key that no
group takes is unknown; unknown keys are reported at the end.
"""

from dataclasses import dataclass, field
from typing import TypeVar

from sidecar.settings.entry import Entry, Kind
from sidecar.settings.names import is_sellers, variable
from sidecar.settings.problems import Problem
from sidecar.settings.values import InvalidValue, Parser, suggest

T = TypeVar("T")

_SECRET = ("secret", "password", "token", "credential", "access_key", "accesskey")


@dataclass(slots=True)
class Reading:
    """State of one reading of the configuration."""

    overrides: dict[str, Entry]
    """By dotted path; each is removed when its setting is read."""
    problems: list[Problem] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    """Groups: the file may misspell them, and no variable names them."""
    faulty: set[str] = field(default_factory=set)
    """Settings with a default in place of an invalid value."""
    _unknown: list[tuple[str, Entry]] = field(default_factory=list)

    def complain(self, key: str, entry: Entry | None, reason: str, cure: str) -> None:
        """Report a problem with the value of a key."""
        self.faulty.add(key)
        value, where = (None, "") if entry is None else (entry.shown, entry.where)
        self.problems.append(Problem(key, value, reason, cure, where))

    def sound(self, *keys: str) -> bool:
        """Return whether these settings and all below them are valid, which comparing them requires."""
        below = tuple(key + mark for key in keys for mark in ".[")
        return self.faulty.isdisjoint(keys) and not any(key.startswith(below) for key in self.faulty)

    def put_aside(self, key: str, entry: Entry) -> None:
        """Keep an unknown key for `report_unknown`."""
        self._unknown.append((key, entry))

    def report_unknown(self) -> None:
        """Report a problem for each key and variable that is not a setting."""
        for key, entry in self._unknown:
            self._report(key, key, entry, self.known | self.groups)
        variables = [variable(key) for key in sorted(self.known) if not is_sellers(key)]
        for entry in self.overrides.values():
            self._report(entry.where, entry.where.upper(), entry, variables)

    def _report(self, key: str, word: str, entry: Entry, words: set[str] | list[str]) -> None:
        value = "***" if any(part in key.lower() for part in _SECRET) else entry.shown
        cure = suggest(word, words) or "remove it"
        self.problems.append(Problem(key, value, "is not a setting", cure, entry.where))


class Section:
    """The members of one mapping."""

    def __init__(self, reading: Reading, key: str, entry: Entry | None) -> None:
        """Open the mapping at the dotted path `key`; a group without members may be left empty."""
        self._reading = reading
        self._key = key
        self._members = {} if entry is None else entry.members
        self._asked: set[str] = set()
        if entry is not None and entry.kind not in {Kind.MAP, Kind.NOTHING}:
            reading.complain(key or "the file", entry, "is not a mapping", "write it as `name: value` lines")

    def dotted(self, name: str) -> str:
        """Return the dotted path of a member."""
        return f"{self._key}.{name}" if self._key else name

    def take(self, name: str) -> Entry | None:
        """Return the entry of a member, a variable before the file, or None without either."""
        key = self.dotted(name)
        self._asked.add(name)
        self._reading.known.add(key)
        return self._reading.overrides.pop(key, None) or self._members.get(name)

    def group(self, name: str) -> "Section":
        """Open a member that is a group; no variable overrides a whole group."""
        self._asked.add(name)
        self._reading.groups.add(self.dotted(name))
        return Section(self._reading, self.dotted(name), self._members.get(name))

    def read(self, name: str, default: T, parser: Parser[T]) -> T:
        """Return the value of a member, or its default if it is missing or invalid."""
        entry = self.take(name)
        if entry is None:
            return default
        return self.parse(self.dotted(name), entry, default, parser)

    def demand(self, name: str, stand_in: T, parser: Parser[T], cure: str) -> T:
        """Return the value of a member that has no default."""
        entry = self.take(name)
        if entry is None:
            self._reading.complain(self.dotted(name), None, "is missing", cure)
            return stand_in
        return self.parse(self.dotted(name), entry, stand_in, parser)

    def parse(self, key: str, entry: Entry, stand_in: T, parser: Parser[T]) -> T:
        """Return the parsed entry; report an invalid one and return `stand_in`."""
        try:
            return parser(entry)
        except InvalidValue as invalid:
            self._reading.complain(key, entry, invalid.reason, invalid.cure)
            return stand_in

    def close(self) -> None:
        """Keep every unknown member for `report_unknown`."""
        for name, entry in self._members.items():
            if name not in self._asked:
                self._reading.put_aside(self.dotted(name), entry)
