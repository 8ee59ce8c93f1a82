"""The operator's document has a place for every state, fault, exit code and log event that the code knows."""

import ast
import re
from pathlib import Path

from sidecar.checks.setup import CHECKS
from sidecar.domain.entitlement.checkouts import CheckoutState
from sidecar.domain.entitlement.states import Reason, State
from sidecar.domain.pod.lifecycle import Fault
from sidecar.domain.pod.reports import EventReason
from sidecar.domain.status import Metering
from sidecar.exit_codes import ExitCode
from sidecar.marketplace import errors
from sidecar.marketplace.service_errors import ERRORS
from tests.support.reading import ROOT, read
from tests.support.service_model import modelled

OPERATOR = "docs/operator.md"
_EVENT = re.compile(r"[a-z]+\.[a-z_]+")
_LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}


def trees() -> list[ast.Module]:
    """Return the sources of the sidecar, the emulator left out."""
    paths = [path for path in (ROOT / "sidecar").rglob("*.py") if "emulator" not in path.parts]
    return [ast.parse(Path(path).read_text(encoding="utf-8")) for path in paths]


def calls() -> list[tuple[str, list[ast.expr]]]:
    """Return name and arguments of all calls."""
    found = []
    for tree in trees():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=arguments, keywords=keywords):
                    found.append((name, [*arguments, *(each.value for each in keywords)]))
                case _:
                    pass
    return found


def chosen_events() -> set[str]:
    """Return the events that are chosen together with their level, as `(log.error, "setup.wrong")`."""
    pairs = (node.elts for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Tuple))
    return {
        name.value
        for level, name in (pair for pair in pairs if len(pair) == 2)
        if isinstance(level, ast.Attribute) and level.attr in _LEVELS
        if isinstance(name, ast.Constant) and isinstance(name.value, str)
    }


def texts(arguments: list[ast.expr]) -> list[str]:
    """Return the arguments that are plain texts."""
    return [each.value for each in arguments if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def section(title: str) -> str:
    """Return the text of a section."""
    return read(OPERATOR).partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def words_of_tables(title: str) -> set[str]:
    """Return the code words in the first column of a section's tables."""
    rows = re.findall(r"^\| (`.*?) \|", section(title), re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([\w.-]+)`", row)}


def test_every_state_has_a_section() -> None:
    """Each state of the entitlement and of metering is explained, and no other."""
    states = {state.value for state in State} | {state.value for state in Metering}
    found = set(re.findall(r"^### `(.*)`$", section("Entitlement states") + section("Metering states"), re.MULTILINE))
    assert states == found


def test_every_reason_is_explained() -> None:
    """Each reason of an entitlement is explained."""
    assert {reason.value for reason in Reason} == words_of_tables("Reasons")


def test_every_fault_has_a_section() -> None:
    """Each code that a fault of the status may have is explained."""
    makers = {"Finding", "observe", "update", "_set"}
    named = {text for name, arguments in calls() if name in makers for text in texts(arguments[:1])}
    cluster = {f"kubernetes-{fault}" for fault in Fault}
    setup = {subject.ok("").code for subject in CHECKS}

    assert named | cluster | setup == set(re.findall(r"^### `(.*)`$", section("Faults in `/v1/status`"), re.MULTILINE))


def test_every_answer_is_explained() -> None:
    """Each answer of AWS to a record, and each fault of the client, has a row."""
    own = {kind.__name__ for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    known = (own | modelled("MeterUsage")) - {"MarketplaceError"}
    answers = {
        kind.__name__ for kind in ERRORS.values() if not known.isdisjoint(each.__name__ for each in kind.__mro__)
    }

    assert known | answers == words_of_tables("Faults in `/v1/status`")


def test_every_exit_code_has_a_section() -> None:
    """The sections are those of the exit codes that there are."""
    assert [str(code.value) for code in ExitCode] == re.findall(r"^### `(\d)`$", read(OPERATOR), re.MULTILINE)


def test_every_event_of_the_pod_is_explained() -> None:
    """Each event that the sidecar writes on the pod has a row, with its type."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", section("Events on the pod"), re.MULTILINE)
    assert [(reason.value, "Warning" if reason.warning else "Normal") for reason in EventReason] == rows


def test_every_event_is_explained() -> None:
    """Each event that is logged has a row; the states of the entitlement are events too."""
    logged = {
        text
        for name, arguments in calls()
        if name in _LEVELS | {"_fail", "_observe", "FaultLog", "method"}
        for text in texts(arguments)
        if _EVENT.fullmatch(text)
    }
    states = {f"{gate}.{state}" for gate in ("registration", "license") for state in State}
    states |= {f"checkout.{state}".replace("-", "_") for state in CheckoutState if state is not CheckoutState.INTENDED}

    explained = {word for word in words_of_tables("Log events") if _EVENT.fullmatch(word)}
    assert logged | chosen_events() | states == explained
