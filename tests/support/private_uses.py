"""Finds the private names of other packages that source code uses, to compare with the tables of those names."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

OWN = ("brain_otel", "tests")


def private_uses(files: Iterable[Path]) -> dict[str, set[str]]:
    """Return the private identifiers in ``files`` that none of them defines, each with the names of the files."""
    trees = {file: ast.parse(file.read_text()) for file in files}
    own = {name for tree in trees.values() for name in _defined(tree)}
    found: dict[str, set[str]] = {}
    for file, tree in trees.items():
        for name in _used(tree):
            if name not in own:
                found.setdefault(name, set()).add(file.name)
    return found


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _defined(tree: ast.AST) -> Iterator[str]:
    """Names of functions, classes and variables, and attributes that a class sets on itself."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg


def _used(tree: ast.AST) -> Iterator[str]:
    """Private attributes, imported names, parts of imported modules, and texts that are such names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] not in OWN:
            names = [*(node.module or "").split("."), *(each.name for each in node.names)]
            yield from filter(_is_private, names)
        elif isinstance(node, ast.Import):
            yield from (part for each in node.names for part in each.name.split(".") if _is_private(part))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (part for part in node.value.split(".") if _is_private(part) and part.isidentifier())


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")
