"""Imports libraries ahead of time, hides them, and lets a later `import` find them without running their code.

A hidden module is not in `sys.modules`, and is no attribute of its package. An `import` statement puts it there, and
with it what its own code imports: import hooks, and code that asks what is imported, see what they see in a new
interpreter. This module imports nothing but the standard library.
"""

import builtins
import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any


class WarmModules:
    """What was imported ahead of time."""

    def __init__(self) -> None:
        self.modules: dict[str, ModuleType] = {}
        #: What the code of each module imports, in order.
        self.imports: dict[str, list[str]] = {}
        #: The names that a module had when its code had run, without submodules that others import.
        self.names: dict[str, dict[str, Any]] = {}
        #: The modules that the code of a module put into `sys.modules` itself.
        self.made: dict[str, list[str]] = {}
        #: The variables that the code of the modules looked up; "*" if it looked through all of them.
        self.variables: set[str] = set()

    def hide(self) -> None:
        """Leave the modules out of `sys.modules` and of their packages, and find them for whom imports them."""
        for name, module in self.modules.items():
            sys.modules.pop(name, None)
            package, _, attribute = name.rpartition(".")
            own = vars(self.modules[package]) if package in self.modules else {}
            if own.get(attribute) is module:
                before = self.names.get(package, {}).get(attribute, module)
                if before is module:
                    del own[attribute]
                else:
                    own[attribute] = before
        for name, names in self.names.items():
            if "__getattr__" in names:  # loads other modules on demand, and keeps what it found
                own = vars(self.modules[name])
                for each in own.keys() - names.keys():
                    del own[each]
        sys.meta_path.insert(0, _Finder(self))

    def forget(self, package: str, says: re.Pattern[str]) -> None:
        """Forget the package's modules whose name or source `says` matches, and all that import one of them."""
        found = [name for name in self.modules if name.partition(".")[0] == package and self._says(name, says)]
        importers: dict[str, list[str]] = {}
        for name, imported in self.imports.items():
            for each in imported:
                importers.setdefault(each, []).append(name)
        while found:
            name = found.pop()
            if self.modules.pop(name, None) is not None:
                found += importers.get(name, ())

    def _says(self, name: str, says: re.Pattern[str]) -> bool:
        file = getattr(self.modules[name], "__file__", None)
        return says.search(name) is not None or (
            file is not None and says.search(Path(file).read_text(errors="replace")) is not None
        )


@contextmanager
def recorded_imports() -> Iterator[WarmModules]:
    """Record what the block imports."""
    warm = WarmModules()
    recorder = _Recorder(warm)
    plain_import, plain_getitem, plain_iter = builtins.__import__, os._Environ.__getitem__, os._Environ.__iter__
    before = set(sys.modules)

    def get(environ: Any, name: Any) -> Any:
        warm.variables.add(os.fsdecode(name))
        return plain_getitem(environ, name)

    def each(environ: Any) -> Iterator[Any]:
        warm.variables.add("*")
        return plain_iter(environ)

    sys.meta_path.insert(0, recorder)
    builtins.__import__ = recorder.importing(plain_import)
    os._Environ.__getitem__, os._Environ.__iter__ = get, each  # type: ignore[method-assign]
    try:
        yield warm
    finally:
        os._Environ.__getitem__, os._Environ.__iter__ = plain_getitem, plain_iter  # type: ignore[method-assign]
        builtins.__import__ = plain_import
        sys.meta_path.remove(recorder)
    warm.modules = {name: module for name, module in sys.modules.items() if name not in before}


class _Recorder:
    """A finder that asks the others, and notes what the code of a module imports."""

    def __init__(self, warm: WarmModules) -> None:
        self.warm = warm
        self.running: list[str] = []

    def importing(self, plain: Any) -> Any:
        def importing(
            name: str,
            globals: Any = None,  # noqa: A002  # as `__import__` calls it
            locals: Any = None,  # noqa: A002
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType:
            module: ModuleType = plain(name, globals, locals, fromlist, level)
            if self.running:
                absolute = name if level == 0 else importlib.util.resolve_name("." * level + name, _package(globals))
                self.note(absolute)
                for each in getattr(module, "__all__", ()) if fromlist == ("*",) else fromlist or ():
                    self.note(f"{absolute}.{each}")
            return module

        return importing

    def note(self, name: str) -> None:
        if name in sys.modules:
            self.warm.imports[self.running[-1]].append(name)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                if spec.loader is not None:
                    spec.loader = _RecordingLoader(self, spec.loader)  # type: ignore[assignment]
                return spec
        return None


def _package(names: dict[str, Any]) -> str:
    package: str | None = names.get("__package__")
    return package if package is not None else names["__name__"].rpartition(".")[0]


class _Loader:
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class _RecordingLoader(_Loader):
    """Runs a module's code, and notes what it imports and what names it has then."""

    def __init__(self, recorder: _Recorder, loader: Any) -> None:
        super().__init__(loader)
        self._recorder = recorder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        # An extension module may run its code here.
        with self._noted(spec.name):
            spec.loader = self._loader
            try:
                created: ModuleType | None = self._loader.create_module(spec)
                return created
            finally:
                spec.loader = self  # type: ignore[assignment]

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        before = set(sys.modules)
        with self._noted(module.__name__):
            self._loader.exec_module(module)
        warm = self._recorder.warm
        warm.names[module.__name__] = dict(vars(module))
        made = sys.modules.keys() - before - warm.imports.keys() - set(chain.from_iterable(warm.made.values()))
        warm.made[module.__name__] = sorted(made)

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        recorder = self._recorder
        if recorder.running and recorder.running[-1] != name:
            recorder.warm.imports[recorder.running[-1]].append(name)
        recorder.warm.imports.setdefault(name, [])
        recorder.running.append(name)
        try:
            yield
        finally:
            recorder.running.pop()


class _Finder:
    """Finds the modules that were imported ahead of time."""

    def __init__(self, warm: WarmModules) -> None:
        self._warm = warm
        self.forget = warm.forget

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        module = self._warm.modules.get(name)
        plain = getattr(module, "__spec__", None)
        if module is None or plain is None:
            return None
        spec = ModuleSpec(name, _WarmLoader(self._warm, plain.loader), origin=plain.origin)  # type: ignore[arg-type]
        spec.submodule_search_locations = plain.submodule_search_locations
        spec.has_location, spec.cached = plain.has_location, plain.cached
        return spec


class _WarmLoader(_Loader):
    """Gives out a module that has run, and imports what its code has imported."""

    def __init__(self, warm: WarmModules, loader: Any) -> None:
        super().__init__(loader)
        self._warm = warm

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._warm.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        own = dict(vars(module))
        for name in self._warm.made.get(module.__name__, ()):
            made = self._warm.modules[name]
            sys.modules.setdefault(name, sys.modules["__main__"] if made.__name__ == "__main__" else made)
        for name in self._warm.imports.get(module.__name__, ()):
            if name in self._warm.modules and name not in sys.modules:
                importlib.import_module(name)
        # A submodule's import has set it on its package, where the package's code has set something else since.
        vars(module).update(own)
