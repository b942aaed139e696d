"""The package's source code as syntax trees, for the tests of its structure."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.support import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef

CONTAINERS = {
    "Counter",
    "OrderedDict",
    "WeakKeyDictionary",
    "WeakSet",
    "WeakValueDictionary",
    "bytearray",
    "defaultdict",
    "deque",
    "dict",
    "list",
    "set",
}
DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTATORS = {
    "add",
    "append",
    "appendleft",
    "clear",
    "discard",
    "extend",
    "insert",
    "move_to_end",
    "pop",
    "popitem",
    "popleft",
    "remove",
    "setdefault",
    "sort",
    "update",
}

NOT_PRIVATE = {
    "_asdict": "NamedTuple documents it",
    "_current_frames": "sys documents it",
    "_exit": "os documents it",
    "_field_defaults": "NamedTuple documents it",
    "_fields": "NamedTuple documents it",
    "_getframe": "sys documents it",
    "_logs": "OpenTelemetry's signal for logs, public until it is stable",
    "_replace": "NamedTuple documents it",
    "_value_": "enum documents it",
}
"""Documented names that begin with an underscore, each with who documents it."""


@dataclass(frozen=True)
class Module:
    """A module of the package."""

    path: str
    """Relative to the checkout: `brain_otel/runtime/guard.py`."""
    text: str = field(repr=False)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def functions(self) -> list[Function]:
        return [node for node in self.nodes if isinstance(node, Function)]

    @property
    def globals(self) -> list[ast.Global]:
        return [node for node in self.nodes if isinstance(node, ast.Global)]

    @cached_property
    def own_names(self) -> set[str]:
        """Functions, classes, globals, and attributes of `self` and of classes that this module defines."""
        return {name for node in self.nodes for name in _defined_by(node)}

    @property
    def containers(self) -> set[str]:
        """Names bound to a container at module or class level."""
        return {name for node in _statements(self.tree.body) for name in _containers_bound_by(node)}

    @property
    def mutated(self) -> set[str]:
        """Names of containers that this module changes: by a method, or by setting or deleting an item."""
        return {name for node in self.nodes if (name := _mutated_by(node))}

    def private_names(self, package_names: set[str]) -> set[str]:
        """Return the private names of other packages that this module uses.

        A private name belongs to another package if this module imports it from there, if no module of ours
        defines it (`package_names` holds all definitions), or if this module reads it from something other
        than `self` and does not define it itself.
        """
        found: set[str] = set()
        for node in self.nodes:
            if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("brain_otel"):
                found.update((*node.module.split("."), *(alias.name for alias in node.names)))
            elif isinstance(node, ast.Import):
                found.update(part for alias in node.names for part in alias.name.split("."))
            else:
                owner, name = _attribute(node)
                if name not in (package_names if owner in ("self", "cls") else self.own_names):
                    found.add(name)
        return {name for name in found if _is_private(name)} - NOT_PRIVATE.keys()


def read_package(root: Path = ROOT) -> list[Module]:
    """Read all modules of the package."""
    paths = sorted((root / "brain_otel").rglob("*.py"))
    return [Module(path.relative_to(root).as_posix(), path.read_text()) for path in paths]


def length(function: Function) -> int:
    """Count the lines from `def` to the last one."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _name(node: ast.AST | None) -> str:
    """Return the last part of a dotted name; an empty string for any other expression."""
    if isinstance(node, ast.Subscript):  # dict[str, int]()
        return _name(node.value)
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _attribute(node: ast.AST) -> tuple[str, str]:
    """Return owner and attribute of `x.name` and of `getattr(x, "name")`, `setattr` and the like."""
    match node:
        case ast.Attribute(value=owner, attr=name):
            return _name(owner), name
        case ast.Call(
            func=ast.Name(id="delattr" | "getattr" | "hasattr" | "setattr"),
            args=[owner, ast.Constant(value=str(name)), *_],
        ):
            return _name(owner), name
    return "", ""


def _defined_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, Function | ast.ClassDef):
        yield node.name
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _name(node.value) in ("self", "cls"):
        yield node.attr
    if isinstance(node, ast.Module | ast.ClassDef):
        for statement in _statements(node.body):
            yield from map(_name, _targets(statement))
            if "__slots__" in map(_name, _targets(statement)):
                yield from (str(each.value) for each in ast.walk(statement) if isinstance(each, ast.Constant))


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module or class body, including those in `if`, `try` and nested classes."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.ClassDef | ast.If | ast.Try):
            yield from _statements(statement.body)


def _targets(statement: ast.stmt) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


def _containers_bound_by(statement: ast.stmt) -> Iterator[str]:
    value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
    if isinstance(value, DISPLAYS) or (isinstance(value, ast.Call) and _name(value.func) in CONTAINERS):
        yield from map(_name, _targets(statement))


def _mutated_by(node: ast.AST) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        return _name(node.func.value)
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        return _name(node.value)
    return _name(node.target) if isinstance(node, ast.AugAssign) else ""
