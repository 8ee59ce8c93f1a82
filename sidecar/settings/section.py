"""One group of the file while it is read: takes each key once, lets the environment win, notes every problem.

A value that is unfit is noted and its default returned, so that reading goes on and finds the rest. What nobody asked
for is unknown, and reported once all known keys have been heard.
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
    """What one reading of the configuration has found so far."""

    overrides: dict[str, Entry]
    """By dotted path; taken out as their settings are read."""
    problems: list[Problem] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    """What holds settings and is none: the file may misspell it, and no variable names it."""
    faulty: set[str] = field(default_factory=set)
    """Settings whose value is a stand-in."""
    _unknown: list[tuple[str, Entry]] = field(default_factory=list)

    def complain(self, key: str, entry: Entry | None, reason: str, cure: str) -> None:
        """Note a problem with the value of a key."""
        self.faulty.add(key)
        value, where = (None, "") if entry is None else (entry.shown, entry.where)
        self.problems.append(Problem(key, value, reason, cure, where))

    def sound(self, *keys: str) -> bool:
        """Tell whether these settings and all below them hold what was configured, so that they may be compared."""
        below = tuple(key + mark for key in keys for mark in ".[")
        return self.faulty.isdisjoint(keys) and not any(key.startswith(below) for key in self.faulty)

    def put_aside(self, key: str, entry: Entry) -> None:
        """Note a key that nobody asked for."""
        self._unknown.append((key, entry))

    def report_unknown(self) -> None:
        """Note a problem for every key and variable that is no setting."""
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
        """Return the entry of a member, the environment's before the file's, or None when there is none."""
        key = self.dotted(name)
        self._asked.add(name)
        self._reading.known.add(key)
        return self._reading.overrides.pop(key, None) or self._members.get(name)

    def group(self, name: str) -> "Section":
        """Open a member that is a group; groups have no variable of their own."""
        self._asked.add(name)
        self._reading.groups.add(self.dotted(name))
        return Section(self._reading, self.dotted(name), self._members.get(name))

    def read(self, name: str, default: T, parser: Parser[T]) -> T:
        """Return the value of a member, or its default when it is missing or unfit."""
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
        """Return what `parser` makes of an entry, or note why it is unfit and return `stand_in`."""
        try:
            return parser(entry)
        except InvalidValue as invalid:
            self._reading.complain(key, entry, invalid.reason, invalid.cure)
            return stand_in

    def close(self) -> None:
        """Put aside every member that nobody asked for."""
        for name, entry in self._members.items():
            if name not in self._asked:
                self._reading.put_aside(self.dotted(name), entry)
