"""How the tests are written: each asserts something itself, the expected value first, and none imports another."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.reading import ROOT

REPORTS = "tests/bench/"
"""Benchmarks report figures and fail nothing (tests/bench/measuring.py)."""
CHECKS = {"raises", "warns", "fail"}
"""Functions of pytest that stand for an assertion."""


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the name of every module that is imported, and of every name that is imported from one."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{name.name}" for name in names)
            case _:
                pass


def _asserts(node: ast.AST) -> bool:
    match node:
        case ast.Assert():
            return True
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in CHECKS
        case _:
            return False


def _equalities(test: ast.expr) -> Iterator[ast.Compare]:
    """Yield what an assertion compares, without what its parts compare."""
    match test:
        case ast.Compare(ops=[ast.Eq()]):
            yield test
        case ast.BoolOp(values=values):
            for value in values:
                yield from _equalities(value)
        case _:
            pass


def _is_literal(node: ast.AST | None) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return all(_is_literal(part) for part in parts)
        case ast.Dict(keys=keys, values=values):
            return all(_is_literal(part) for part in (*keys, *values))
        case _:
            return False


def _tests(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    """Every module of the tests by its path."""
    paths = sorted((ROOT / "tests").rglob("*.py"))
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def test_no_test_module_is_imported(modules: dict[str, ast.Module]) -> None:
    """Tools of several test modules are in a module of their own, in tests/support where several folders share them."""
    imported = [
        f"{module}: {name}"
        for module, tree in modules.items()
        for name in _imported(tree)
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split("."))
    ]

    assert [] == imported


def test_every_test_asserts(modules: dict[str, ast.Module]) -> None:
    """A test that calls a helper alone can lose its only check without a failure."""
    silent = [
        f"{module}: {test.name}"
        for module, tree in modules.items()
        if not module.startswith(REPORTS)
        for test in _tests(tree)
        if not any(_asserts(node) for node in ast.walk(test))
    ]

    assert [] == silent


def test_expected_value_is_first(modules: dict[str, ast.Module]) -> None:
    """The reader sees what must come out before how it is computed: `assert 202 == answer.status`."""
    last = [
        f"{module}:{node.lineno}"
        for module, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
        for found in _equalities(node.test)
        if _is_literal(found.comparators[0]) and not _is_literal(found.left)
    ]

    assert [] == last
