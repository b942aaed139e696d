"""Enables each of OpenTelemetry's installed instrumentors when its library is imported, before or after set-up."""

import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Collection
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import wrapt

from brain_otel.configuration.instrumentors import installed_instrumentors
from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.others.discovery import awaited_modules, conflict_of
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import is_being_imported
from brain_otel.traces.scope import is_measured

logger = logging.getLogger(__name__)

_PROCESS = "system_metrics"
"""The instrumentor of no library, which measures the process. The file has to name it."""

_OUTER = {"tortoiseorm": "tortoise"}
"""Instrumentors of libraries that call drivers -> the library's package."""


class OtherInstrumentors:
    """OpenTelemetry's instrumentors that this package has enabled.

    Args:
        ours: Plain names of the instrumentors whose place this package's instrumentations take.
    """

    def __init__(self, ours: frozenset[str]) -> None:
        self._ours = ours
        self._settings: InstrumentationSettings | None = None
        self._enabled: dict[str, Any] = {}
        self._failed: set[str] = set()
        self._hooked: set[tuple[str, str]] = set()
        self._awaiting: set[str] = set()
        self._enabling: set[str] = set()
        self._outer: set[str] = set()
        self._layers: Any = None
        self._corrections: Any = None
        self._shields: Any = None

    def enable(self, settings: InstrumentationSettings) -> None:
        """Enable each that ``settings`` want: now if its library has been imported, else when it is."""
        self._settings = settings
        for name, entry_points in installed_instrumentors(self.is_wanted).items():
            with guarded(f"looking for the library of the instrumentor {name}"):
                self._await(name, self._choose(name, entry_points))

    def is_wanted(self, name: str) -> bool:
        """Whether the instrumentor with this plain name is to be used."""
        settings = self._settings
        if settings is None or name in self._ours or settings.is_disabled(name):
            return False
        if name in settings.options:
            return settings.options[name] is not False
        if isinstance(settings.others, tuple):
            return name in settings.others
        return settings.others and name != _PROCESS

    def disable(self) -> None:
        """Leave every library as it was found."""
        self._settings = None
        for name, instrumentor in self._enabled.items():
            with guarded(f"removing the instrumentor {name}"):
                instrumentor.uninstrument()
        self._enabled.clear()
        self._failed.clear()
        self._awaiting.clear()
        self._outer.clear()
        for each in (self._layers, self._corrections, self._shields):
            if each is not None:
                each.undo()

    def add_outer(self, package: str) -> None:
        """Leave the calls that ``package`` makes to its instrumentation: that of a driver below makes no spans."""
        self._outer.add(package)

    def is_repeated(self, instrumentor: Any, options: dict[str, Any]) -> bool:
        """Whether the application enables an instrumentor again; with options of its own, it takes ours away."""
        name = next((name for name, each in self._enabled.items() if each is instrumentor), None)
        if name is None or name in self._enabling:
            return False
        if options:
            del self._enabled[name]
            instrumentor.uninstrument()
        return not options

    @staticmethod
    def _choose(name: str, entry_points: list[EntryPoint]) -> EntryPoint:
        """One of several packages that instrument the same library, which would make two spans a call."""
        chosen = min(entry_points, key=lambda each: (not each.module.startswith("opentelemetry."), each.value))
        if len({each.value for each in entry_points}) > 1:
            others = ", ".join(sorted({each.value for each in entry_points} - {chosen.value}))
            logger.warning("%s is instrumented by %s, not also by %s", name, chosen.value, others)
        return chosen

    def _await(self, name: str, entry_point: EntryPoint) -> None:
        modules = awaited_modules(entry_point)
        if modules is None:
            return
        if (name, entry_point.module) not in self._hooked:
            self._hooked.add((name, entry_point.module))
            self._hook(entry_point.module, lambda: self._resume(name, entry_point))
        if not modules or any(module in sys.modules for module in modules):
            self._begin(name, entry_point)
        for module in modules:
            if (name, module) not in self._hooked:
                self._hooked.add((name, module))
                self._hook(module, lambda: self._begin(name, entry_point))

    @staticmethod
    def _hook(module: str, begin: Callable[[], Any]) -> None:
        wrapt.register_post_import_hook(lambda _: begin(), module)

    def _begin(self, name: str, entry_point: EntryPoint) -> None:
        """Enable the instrumentor, but not while it is being imported: that import has imported the library."""
        if is_being_imported(entry_point.module) and name not in self._awaiting:
            self._awaiting.add(name)
        elif self.is_wanted(name):
            self._awaiting.discard(name)
            self._enable(name, entry_point)

    def _resume(self, name: str, entry_point: EntryPoint) -> None:
        if name in self._awaiting:
            self._begin(name, entry_point)

    def _enable(self, name: str, entry_point: EntryPoint) -> None:
        settings = self._settings
        if settings is None or name in self._enabled or name in self._failed:
            return
        if name == _PROCESS and not is_measured():
            return  # it would look at the process for nobody
        self._failed.add(name)  # until it has not
        given = settings.options.get(name)
        options = dict(given) if isinstance(given, dict) else {}
        with guarded(f"enabling the instrumentor {name}"):
            if name == _PROCESS and not options:
                self._measure_process(entry_point, settings)
                return
            with warnings.catch_warnings():  # of how contrib uses the library; the application cannot help it
                warnings.simplefilter("ignore", DeprecationWarning)
                self._load(name, entry_point, options, settings)

    def _measure_process(self, entry_point: EntryPoint, settings: InstrumentationSettings) -> None:
        from brain_otel.instrumentation.others.process_metrics import CONFIG, ProcessMetrics

        def begin(meters: ProcessMetrics) -> Any:
            if self.is_wanted(_PROCESS):
                self._load(_PROCESS, entry_point, {"config": CONFIG, "meter_provider": meters}, settings)
            return self._enabled.get(_PROCESS)

        ProcessMetrics(begin, lambda: _PROCESS in self._enabled).create()

    def _load(
        self, name: str, entry_point: EntryPoint, options: dict[str, Any], settings: InstrumentationSettings
    ) -> None:
        from brain_otel.instrumentation.others.layers import Layers  # a process without such a library needs none
        from brain_otel.instrumentation.others.shielding import Shields, shielded_method, shielded_wrappers

        conflict = conflict_of(entry_point)
        if conflict is not None:
            logger.warning("%s is not observed: %s", name, conflict)
            return
        kind = entry_point.load()
        # Instrumentors are singletons, whose constructor would replace the options of the application.
        if getattr(kind.__new__(kind), "is_instrumented_by_opentelemetry", False):
            return
        own = _taken_by_constructor(kind, options)
        instrumentor = kind(**{key: options.pop(key) for key in own})
        self._layers = self._layers or Layers(self._outer)
        self._layers.join(sys.modules[entry_point.module])
        self._correct(name, sys.modules[entry_point.module], options, settings.doubled)
        self._enabled[name] = instrumentor
        self._enabling.add(name)
        try:
            self._shields = self._shields or Shields()
            self._shields.add()
            with shielded_wrappers(name), shielded_method(name):
                instrumentor.instrument(skip_dep_check=True, **options)
        except BaseException:
            del self._enabled[name]
            raise
        finally:
            self._enabling.discard(name)
        self._failed.discard(name)
        if name in _OUTER:
            self.add_outer(_OUTER[name])

    def _correct(self, name: str, module: ModuleType, options: dict[str, Any], doubled: Collection[str]) -> None:
        from brain_otel.instrumentation.others.corrections import Corrections  # `import brain_otel` stays cheap

        self._corrections = self._corrections or Corrections()
        self._corrections.apply(name, module, options, doubled)


def _taken_by_constructor(kind: Any, options: dict[str, Any]) -> list[str]:
    """The options that the constructor takes by name; ``instrument()`` gets the others."""
    with guarded("reading an instrumentor's constructor"):
        return [key for key in options if key in inspect.signature(kind.__init__).parameters]
    return []
