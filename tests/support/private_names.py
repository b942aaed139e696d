"""Private names of other packages: the format of the tables, and code that runs as if one were renamed.

A private name is a module, class, function or attribute of another package whose name begins with an underscore.
Each room of the package has one table, in ``tests/<room>/test_private_names.py``::

    PRIVATE_NAMES = private_names(
        "sentry_sdk.scope.Scope",
        "_user _tags",
        "sentry/fast_transactions.py",
        "reads the user without copying the scope",
        "tests/sentry/test_pins.py::test_a_scope_puts_its_fields_on_a_transaction",
    )

This module imports nothing outside of the standard library, so that :func:`rename` can run before anything else.
"""

import ast
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

SUFFIX = "_renamed_upstream"


@dataclass(frozen=True, kw_only=True)
class PrivateName:
    """One private name of another package that brain_otel uses."""

    name: str
    """Dotted, from the top-level package on: ``sentry_sdk.scope.Scope._user``."""
    used_in: tuple[str, ...]
    """The files that use it, from the checkout on."""
    purpose: str
    """What it is used for, and why no public name does."""
    pinned_by: str
    """The test that fails when the name goes or changes its meaning: ``tests/room/test_file.py::test_name``."""

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.name.partition(".")[0]

    @property
    def identifier(self) -> str:
        """The private part of the name, or else its last part."""
        parts = self.name.split(".")
        return next((part for part in reversed(parts) if part.startswith("_")), parts[-1])

    def exists(self) -> bool:
        """Whether upstream has the name today: in the source of its module, since instances hold some of them."""
        parts = self.name.split(".")
        module, rest = _longest_module(parts)
        if not rest:
            return True
        owner: Any = module
        for part in rest[:-1]:
            owner = getattr(owner, part)
        return hasattr(owner, rest[-1]) or _pattern([rest[-1]]).search(inspect.getsource(module)) is not None


def private_names(owner: str, names: str, used_in: str, purpose: str, pinned_by: str) -> tuple[PrivateName, ...]:
    """Names of one owner with one purpose. Names and files are separated by spaces; files are from the package on."""
    files = tuple(f"brain_otel/{file}" for file in used_in.split())
    return tuple(
        PrivateName(name=f"{owner}.{name}", used_in=files, purpose=purpose, pinned_by=pinned_by)
        for name in names.split()
    )


def _longest_module(parts: list[str]) -> tuple[ModuleType, list[str]]:
    for count in range(len(parts), 0, -1):
        try:
            return importlib.import_module(".".join(parts[:count])), parts[count:]
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(".".join(parts))


def run_renamed(names: Iterable[PrivateName], code: str) -> str:
    """``code`` for a process in which upstream has renamed ``names``; give it to ``run_python`` with ROOT as path."""
    calls = "".join(f"rename({each.package!r}, {each.identifier!r})\n" for each in names)
    return f"from tests.support.private_names import rename\n{calls}{code}"


def rename(package: str, identifier: str) -> None:
    """Rename ``identifier`` throughout ``package``, as a release of it would: wherever its own code says the name.

    Works by rewriting the source as it is imported, so call it before ``package`` is. Names that C code defines stay.
    """
    if any(name.partition(".")[0] == package and name != package for name in sys.modules):
        raise RuntimeError(f"{package} is imported already")
    for finder in sys.meta_path:
        if hasattr(finder, "forget"):  # of a child of the fork server, which has imported the package
            finder.forget(package, _pattern([identifier]))
    for finder in sys.meta_path:
        if isinstance(finder, _RenamingFinder) and finder.package == package:
            finder.identifiers.append(identifier)
            return
    sys.meta_path.insert(0, _RenamingFinder(package, [identifier]))


def _pattern(identifiers: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, identifiers))})(?!\w)")


class _RenamingFinder(MetaPathFinder):
    """Finds the modules of a package whose source says a renamed name, and rewrites it."""

    def __init__(self, package: str, identifiers: list[str]) -> None:
        self.package = package
        self.identifiers = identifiers

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != self.package:
            return None
        name = fullname.rpartition(".")[2]
        if name in self.identifiers:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        original = fullname.removesuffix(SUFFIX)
        spec = PathFinder.find_spec(original, path)
        if spec is None or spec.origin is None or not isinstance(spec.loader, SourceFileLoader):
            return spec if SUFFIX in fullname else None
        loader = _RenamingLoader(fullname, spec.origin, self.identifiers)
        if SUFFIX not in fullname and loader.is_unchanged():
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            spec.origin,
            loader=loader,
            submodule_search_locations=spec.submodule_search_locations,
        )


class _RenamingLoader(SourceFileLoader):
    """Loads a module from its rewritten source, past the bytecode that Python has cached."""

    def __init__(self, fullname: str, path: str, identifiers: list[str]) -> None:
        super().__init__(fullname, path)
        self._pattern = _pattern(identifiers)

    def is_unchanged(self) -> bool:
        return self._pattern.search(self.get_data(self.path).decode()) is None

    def get_code(self, fullname: str) -> CodeType | None:
        source = self.get_data(self.path).decode()
        renamed, count = self._pattern.subn(rf"\g<1>{SUFFIX}", source)
        return super().get_code(fullname) if count == 0 else compile(renamed, self.path, "exec", dont_inherit=True)


def used_private_names(folder: Path) -> set[tuple[str, str]]:
    """The private names of other packages in the modules of a folder, each with its file.

    Names of this package are left out, and so are `_logs` and its like: `opentelemetry._logs` is the documented API.
    """
    trees = {path: ast.parse(path.read_text()) for path in sorted(folder.rglob("*.py"))}
    own = {name for tree in trees.values() for name in _defined(tree)} | {"_logs", "_replace", "_asdict", "_fields"}
    return {
        (path.as_posix(), name)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        for name in _read(node)
        if re.fullmatch("_[A-Za-z]\\w*", name) and name not in own
    }


def _defined(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
            yield node.attr


def _read(node: ast.AST) -> Iterator[str]:
    """The names that a node takes from elsewhere: by import, as an attribute, or as text for ``getattr``."""
    if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(("brain_otel", "__future__")):
        yield from [*(node.module or "").split("."), *(each.name for each in node.names)]
    elif isinstance(node, ast.Attribute) and not _is_self(node.value):
        yield node.attr
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
        yield from [str(each.value) for each in node.args[1:2] if isinstance(each, ast.Constant)]


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")
