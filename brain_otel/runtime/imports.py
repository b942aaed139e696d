"""Imports modules late, or without some that they import, and tells whether a module is being imported."""

import builtins
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

from brain_otel.runtime.guard import guarded


class _Missing:
    """An import finder that knows no module ``name`` on the thread that made it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread = threading.get_ident()

    def find_spec(self, name: str, *_: object) -> None:
        if name == self._name and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def without_module(name: str) -> Iterator[None]:
    """Import other modules on this thread as if ``name`` were not installed, unless it is loaded already.

    Nothing stays in ``sys.modules``: who imports ``name`` afterwards, or on another thread, gets it.
    """
    with _finding(_Missing(name)):
        yield


@contextmanager
def late_names(sources: Mapping[str, str]) -> Iterator[None]:
    """Import other modules on this thread, some of which do not import a module from which they take names.

    The names are imported when the importer uses one of them. Others get the true modules throughout.

    Args:
        sources: Importer -> the module from which it takes names.
    """
    with _finding(_Late(sources)):
        yield


@contextmanager
def _finding(finder: Any) -> Iterator[None]:
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        # A new list: another thread may be going through the old one, and would skip a finder if one were removed.
        sys.meta_path = [each for each in sys.meta_path if each is not finder]


class _Late:
    """An import finder that gives some modules late names, on the thread that made it."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._thread = threading.get_ident()
        self._asked: set[str] = set()

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        source = self._sources.get(name)
        if source is None or source in sys.modules or threading.get_ident() != self._thread or name in self._asked:
            return None
        self._asked.add(name)
        spec = find_spec(name)  # asks the other finders, which may have hooks for this module
        self._asked.discard(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _LateLoader(spec.loader, source)
        return spec


class _LateLoader(Loader):
    """Executes a module whose names of ``source`` are late ones, or as it is if it needs them at once."""

    def __init__(self, loader: Loader, source: str) -> None:
        self._loader = loader
        self._source = source

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self._loader
        scope = vars(module)
        before = dict(scope)
        # Only the importer's own statements read this dict, so no other import is changed.
        scope["__builtins__"] = own = {**vars(builtins), "__import__": self._import}
        try:
            self._loader.exec_module(module)
        except Exception:
            scope.clear()
            scope.update(before)
            self._loader.exec_module(module)
        own["__import__"] = builtins.__import__
        scope["__builtins__"] = builtins

    def _import(self, name: str, scope: Any = None, local: Any = None, names: Any = (), level: int = 0) -> Any:
        if name == self._source and names:
            return SimpleNamespace(**{each: _LateName(scope, name, each) for each in names})
        return builtins.__import__(name, scope, local, names, level)


class _LateName:
    """Stands for a class or function that a module has not imported yet."""

    def __init__(self, scope: dict[str, Any], source: str, name: str) -> None:
        self._late = scope, source, name

    def _load(self) -> Any:
        """Import the module, put its names into the place of all that stand for them, and return this one."""
        scope, source, name = self._late
        loaded = import_module(source)
        for key, value in list(scope.items()):
            if isinstance(value, _LateName) and value._late[1] == source:
                scope[key] = getattr(loaded, value._late[2])
        return getattr(loaded, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._load()(*args, **kwargs)

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, self._load())

    def __mro_entries__(self, _: object) -> tuple[Any]:
        return (self._load(),)


class LateModule(ModuleType):
    """Stands for the module ``name``, which is imported when the first attribute is asked for.

    The module then takes its place in ``scope``, the globals of the module that uses it.
    """

    def __init__(self, name: str, scope: dict[str, Any] | None = None) -> None:
        super().__init__(name)
        self._scope = {} if scope is None else scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)

    def _load(self) -> ModuleType:
        module = import_module(self.__name__)
        # A signal's handler gets a module that its thread is importing, which may fail.
        if not is_being_imported(self.__name__):
            for key, value in list(self._scope.items()):
                if value is self:
                    self._scope[key] = module
        return module


class _Left:
    """Set-up leaves these for later: modules of this package, and steps that load more than modules."""

    def __init__(self) -> None:
        self.modules: list[LateModule] = []
        self.steps: list[Callable[[], object]] = []
        self.is_wanted = False


_left = _Left()


def late_module(name: str) -> LateModule:
    """A module that set-up does not need; its first use or :func:`load_late_modules` imports it.

    Assign it to a global of the module that calls this: there the imported module takes its place.
    """
    late = LateModule(name, sys._getframe(1).f_globals)
    _left.modules.append(late)
    return late


def load_later(step: Callable[[], object]) -> None:
    """Have :func:`load_late_modules` call ``step`` too, which loads more than modules."""
    _left.steps.append(step)


def want_late_modules() -> None:
    """Have the late modules loaded before each fork: else every child would import them for itself."""
    _left.is_wanted = True


def load_late_modules() -> None:
    """Import what set-up has left, before the first request: no error of the application waits for an import."""
    for step in _left.steps:
        with guarded("loading what set-up has left"):
            step()
    for late in _left.modules:
        with suppress(Exception):  # its first use tries again, and tells
            late._load()


def _load_before_fork() -> None:
    if _left.is_wanted:
        load_late_modules()


os.register_at_fork(before=_load_before_fork)


def is_being_imported(name: str) -> bool:
    """Whether the import of the module ``name`` has begun and not ended."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
