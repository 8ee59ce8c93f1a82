"""YAML text as a tree of entries, each with its text and its line.

Nothing is converted: `010`, `1:30` and `off` keep their text and the kind that YAML 1.1 gives them; the parser of a
setting converts the text. Refuses duplicate keys, keys that are not scalars and nodes that contain themselves. No
object is constructed.
"""

import yaml

from sidecar.settings.entry import Entry, Kind
from sidecar.settings.problems import Problem


class TreeError(Exception):
    """The text is not YAML that a configuration may use; the message completes "the text ...", with line and column."""


_KINDS = {
    "tag:yaml.org,2002:str": Kind.TEXT,
    "tag:yaml.org,2002:int": Kind.WHOLE,
    "tag:yaml.org,2002:bool": Kind.TRUTH,
    "tag:yaml.org,2002:null": Kind.NOTHING,
}


def parse(text: str | bytes, where: str) -> tuple[Entry, list[Problem]]:
    """Return the tree of one YAML document and the duplicate keys that were found in it.

    Args:
        text: The document; bytes are UTF-8 unless they begin with another byte order mark.
        where: The name of the document; each entry adds its line.

    Raises:
        TreeError: The text is not YAML, not a single document, or nested too deeply.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return Entry(Kind.NOTHING, where), []
        builder = TreeBuilder(where)
        return builder.build(node, ""), builder.problems
    except yaml.MarkedYAMLError as error:
        raise TreeError(f"is not valid YAML{_position(error)}: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise TreeError(f"is not readable text at position {error.position}: {error.reason}") from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML does not catch the failure of chr() on an escape such as "\UFFFFFFFF".
        raise TreeError("is not valid YAML") from None
    except RecursionError:
        raise TreeError("is nested too deeply") from None


def _position(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"


class TreeBuilder:
    """One walk over the nodes. Aliases share their entry; otherwise a few lines could grow into gigabytes."""

    def __init__(self, where: str) -> None:
        self.problems: list[Problem] = []
        self._where = where
        self._built: dict[int, Entry] = {}
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: str) -> Entry:
        """Return the entry of a node and all below it; `path` is its dotted path in the file."""
        if (known := self._built.get(id(node))) is not None:
            return known
        if id(node) in self._open:
            raise TreeError(f"holds an alias inside its own anchor at line {node.start_mark.line + 1}")
        self._open.add(id(node))
        entry = self._entry(node, path)
        self._open.remove(id(node))
        self._built[id(node)] = entry
        return entry

    def _entry(self, node: yaml.Node, path: str) -> Entry:
        where = self._place(node)
        if isinstance(node, yaml.MappingNode):
            return Entry(Kind.MAP, where, members=self._members(node, path))
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self.build(item, f"{path}[{index}]") for index, item in enumerate(node.value))
            return Entry(Kind.LIST, where, items=items)
        return Entry(_KINDS.get(node.tag, Kind.OTHER), where, text=node.value)

    def _members(self, node: yaml.MappingNode, path: str) -> dict[str, Entry]:
        members: dict[str, Entry] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._complain(path or "the file", key, "has a key that is not a name", "use plain names as keys")
                continue
            name = key.value
            dotted = f"{path}.{name}" if path else name
            entry = self.build(value, dotted)
            if name in members:
                self._complain(dotted, key, f"is given twice, first at {members[name].where}", "keep one of them")
            else:
                members[name] = entry
        return members

    def _complain(self, key: str, node: yaml.Node, reason: str, cure: str) -> None:
        self.problems.append(Problem(key, None, reason, cure, self._place(node)))

    def _place(self, node: yaml.Node) -> str:
        return f"{self._where}, line {node.start_mark.line + 1}"
