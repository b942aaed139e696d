"""Imports without an optional module that costs more than it brings, and whether a module is being imported."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


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
    finder = _Missing(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class LateModule(ModuleType):
    """Stands for the module ``name``, which is imported when the first attribute is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


def is_being_imported(name: str) -> bool:
    """Whether the import of the module ``name`` has begun and not ended."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
