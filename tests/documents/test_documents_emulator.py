"""The emulator's page has rules, faults, paths, flags, actions and quotas of the code, and a program for each SDK."""

import argparse
import ast
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from sidecar.emulator.command import DOCUMENT, add_arguments, environment
from sidecar.emulator.control import Control
from sidecar.emulator.faults import BEHAVIORS, OPERATIONS
from sidecar.emulator.protocol.decisions import EXPLANATIONS
from sidecar.emulator.protocol.errors import UNMODELLED
from sidecar.emulator.protocol.quotas import PER_SECOND
from sidecar.emulator.service import Options, Service
from sidecar.emulator.state.license_changes import ACTIONS
from tests.support.reading import ROOT, blocks, read

EMULATOR = "docs/emulator.md"
SDKS = {"meter.py": "python", "meter.go": "go", "meter.mjs": "javascript", "Meter.java": "java", "meter.rs": "rust"}
SYNTAX = {
    "meter.go": ["gofmt", "-e"],
    "meter.mjs": ["node", "--check"],
    "meter.rs": ["rustfmt", "--check", "--edition=2021"],
}
"""What reads a snippet where the language is installed; test_emulator_sdks.py runs those whose SDK can be fetched."""


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    text = re.split(rf"^#+ {heading}\n", read(EMULATOR), flags=re.MULTILINE)[1]
    table = re.search(r"^\| .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[0].splitlines()[2:]]


def code(cell: str) -> list[str]:
    """Return what is code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def test_rules_are_listed() -> None:
    """The table of rules has name, sentence and source of each rule in the code."""
    expected = [[f"`{rule}`", each.sentence, each.source] for rule, each in EXPLANATIONS.items()]
    assert expected == rows("Rules")


def test_sources_are_explained() -> None:
    """Each source that a rule has is explained above the table."""
    used = {name for each in EXPLANATIONS.values() for name in each.source.split(", ")}
    assert used == set(re.findall(r"\*(\w+)\*", read(EMULATOR).partition("\nThe sources: ")[2].partition("\n\n")[0]))


def test_faults_are_listed() -> None:
    """The table of faults has each fault with the operations that it can happen to."""
    every = frozenset(OPERATIONS)
    listed = {
        code(name)[0]: every if where == "every operation" else frozenset(where.split(", "))
        for name, _, where in rows("Faults")
    }
    assert dict(BEHAVIORS) == listed


def test_operations_are_listed() -> None:
    """Every operation is listed, and every error that is a fault by its name without being in a service model."""
    section = read(EMULATOR).partition("\n### Faults\n")[2].partition("\n### ")[0]
    operations, _, errors = section.partition("Each error that AWS's service model")
    assert [*OPERATIONS, "*"] == code(operations.partition("The operations are")[2].partition("\n\n")[0])
    assert sorted(UNMODELLED) == code(errors.partition("The same holds for")[2])


def test_paths_are_listed() -> None:
    """The table of the control API has every path that the server has."""
    routes = Control(Service(Options())).routes()
    served = {f"{route.method} {re.sub(r':[^}]*}(?:})?', '}', route.path)}" for route in routes}
    assert served == {code(cells[0])[0] for cells in rows("Control API")}


def test_flags_are_listed() -> None:
    """The table of flags has every flag of the command."""
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    known = [action.option_strings[0] for action in parser._actions]
    assert known == [code(cells[0])[0] for cells in rows("Start")]


def test_license_actions_are_listed() -> None:
    """The table of licenses has every action with the members that it takes."""
    listed = {code(name)[0]: frozenset(code(members)) for name, members, _ in rows("Licenses")}
    assert dict(ACTIONS) == listed


def test_quotas_are_listed() -> None:
    """The table of quotas has each rate."""
    assert {name: str(rate) for name, rate in PER_SECOND.items()} == dict(rows("Quotas"))


def test_start_is_the_one_of_the_command() -> None:
    """What the page shows of the start is what the command prints."""
    variables = " ".join(f"{name}={value}" for name, value in environment("http://127.0.0.1:8789").items())
    assert f"document: {DOCUMENT}\n" in read(EMULATOR)
    assert f"\n  export {variables}\n" in read(EMULATOR)


def test_every_sdk_has_a_snippet() -> None:
    """Each SDK has a program, which sends the same usage."""
    shown = {block.name: block.language for block in blocks(EMULATOR) if block.name is not None}
    assert SDKS == shown
    assert "aws meteringmarketplace meter-usage" in read(EMULATOR)
    assert [] == [block.name for block in blocks(EMULATOR) if block.name and "0abc123example" not in block.text]


@pytest.mark.parametrize("name", [name for name in SDKS if name not in SYNTAX or shutil.which(SYNTAX[name][0])])
def test_snippet_is_well_formed(name: str, tmp_path: Path) -> None:
    """The compiler's own parser reads each program, where the language is on this machine."""
    text = next(block.text for block in blocks(EMULATOR) if block.name == name)
    program = SYNTAX.get(name)
    if program is None:
        # Python is run by test_document_plays; Java has no parser without the classes of the SDK.
        assert "Meter.java" == name or isinstance(ast.parse(text), ast.Module)
        return
    source = tmp_path / name
    source.write_text(text, encoding="utf-8")
    ran = subprocess.run([*program, str(source)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert 0 == ran.returncode, ran.stdout + ran.stderr


def test_dependencies_are_those_of_the_tests() -> None:
    """The page names what the tested programs for Go, Node, Java and Rust need."""
    page, locked = read(EMULATOR), ROOT / "tests" / "emulator" / "sdks"
    (package,) = json.loads((locked / "node" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    artifact = re.findall(r"<(?:groupId|artifactId)>(.*?)<", (locked / "java" / "pom.xml").read_text(encoding="utf-8"))
    crates = tomllib.loads((locked / "rust" / "Cargo.toml").read_text(encoding="utf-8"))["dependencies"]
    requirements = (locked / "go" / "go.mod").read_text(encoding="utf-8")
    modules = re.findall(r"^\t(\S+/(?:config|service/\S+)) v[^ ]+$", requirements, re.MULTILINE)
    sdks = [name for name in crates if name.startswith("aws-")]
    assert [] == [
        command
        for command in (
            f"`go get {' '.join(modules)}`",
            f"`npm install {package}`",
            f"`{':'.join(artifact[-2:])}`",
            f"`cargo add {' '.join(sdks)}`",
            f"`cargo add tokio --features {','.join(crates['tokio']['features'])}`",
        )
        if command not in page
    ]


def test_readme_names_the_emulator_on_its_first_screen() -> None:
    """A reader of the first 40 lines learns that the emulator exists, and where its page is."""
    first = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert "docs/emulator.md" in first
