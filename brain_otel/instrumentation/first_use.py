"""Installs an instrumentation when its library is first used: set-up is shorter, and a process may never use it.

Until then placeholders stand at the library's entry points. The first call of one installs the instrumentation, whose
functions take the places of all of them, and then goes through what stands there now. So does each later call that
still comes through a placeholder, which somebody else may have wrapped, or kept and put back.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

import wrapt
from opentelemetry.propagate import get_global_textmap

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import is_being_imported, late_names
from brain_otel.runtime.patch import Original, Patch, Patches, drop_own_frame, replace, replacement
from brain_otel.traces.scope import is_measured

_REDIS_CLIENT = ("Redis.execute_command", "Pipeline.execute", "Pipeline.immediate_execute_command")
_REDIS_CLUSTER = ("RedisCluster.execute_command", "ClusterPipeline.execute")

_ENTRY_POINTS: dict[str, dict[str, tuple[str, ...]]] = {
    "httpx": {"httpx": ("HTTPTransport.handle_request", "AsyncHTTPTransport.handle_async_request")},
    "redis": {
        "redis.client": _REDIS_CLIENT,
        "redis.cluster": _REDIS_CLUSTER,
        "redis.asyncio.client": _REDIS_CLIENT,
        "redis.asyncio.cluster": _REDIS_CLUSTER,
    },
    "sqlalchemy": {"sqlalchemy.engine": ("Connection.__init__",)},
    "tracer": {"opentelemetry.sdk.trace": ("Tracer.start_span",)},
}
"""Library -> its modules -> the methods that every use of it calls first. ``tracer`` is OpenTelemetry's SDK."""

_CONTRIB = "opentelemetry.instrumentation."

_LATE = {_CONTRIB + "dependencies": "packaging.requirements", _CONTRIB + "redis.util": "opentelemetry.semconv.trace"}
"""Modules of contrib -> what they import for calls that this package does not make; it takes 12 ms."""

WRAP = "wrap_function_wrapper"
"""The function by which contrib's modules wrap methods. One without it wraps, and unwraps, in a way of its own."""

_PAUSES = (0.0, 0.0, 1.0, 5.0, 60.0, 600.0)
"""Seconds after each failure until an instrumentation is tried again; after the last attempt, the placeholders go.

The process may have no file descriptor left for a while, or too little of its stack.
"""


class Instrumentation(Protocol):
    """Observes one library."""

    def instrument(self, settings: InstrumentationSettings) -> None:
        """Begin to observe the library, which has been imported."""

    def uninstrument(self) -> None:
        """Leave the library as it was found."""


def importing_contrib() -> AbstractContextManager[None]:
    """A block in which modules of contrib do not import what this package has no use for."""
    return late_names(_LATE)


def can_wait(library: str, settings: InstrumentationSettings) -> bool:
    """Whether ``library`` may be instrumented with its first use, because nobody can tell the difference.

    An application that has imported contrib's module may instrument for itself. What is measured, or restricted to
    some hosts, has a place in the order of the wrappers.
    """
    return (
        library in _ENTRY_POINTS
        and _CONTRIB + library not in sys.modules
        and fast_paths_enabled()
        and not (library == "sqlalchemy" and settings.sqlalchemy_connect_spans)
        and getattr(get_global_textmap(), "targets", None) is None
        and not is_measured()
    )


class EntryPoints(Patches):
    """The patches of one library. At its entry points they take the places of placeholders."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[tuple[Any, str], _Place] = {}
        self._kinds: set[tuple[str, str]] = set()

    def hold(self, library: str, load: Callable[[], object]) -> None:
        """Put the placeholders of ``library`` in; the first call of one calls ``load``."""
        for module, names in _ENTRY_POINTS[library].items():
            for path in names:
                kind, _, name = path.partition(".")
                owner, place = getattr(import_module(module), kind), _Place(load)
                self._kinds.add((module, kind))
                if super().replace(owner, name, place.stand):
                    self._places[owner, name] = place

    def are_hidden(self) -> bool:
        """Whether a test has put something else, such as a mock, into the place of the library's modules."""
        return not all(isinstance(getattr(sys.modules.get(name), kind, None), type) for name, kind in self._kinds)

    def replace(self, owner: Any, name: str, make: Callable[[Patch], Callable[..., Any]]) -> bool:
        """Put what ``make`` returns in the place of the placeholder; elsewhere, do what :class:`Patches` does."""
        place = self._places.get((owner, name))
        if place is None or not place.is_waiting:
            return super().replace(owner, name, make)
        place.become(make)
        return True

    def release(self) -> None:
        """Take the placeholders out that nothing has replaced."""
        for place in self._places.values():
            if place.is_waiting:
                place.patch.undo()


class _Place:
    """An entry point: first its placeholder stands there, then the function that traces."""

    def __init__(self, load: Callable[[], object]) -> None:
        self._load = load
        self._traced: Any = None
        self.patch: Patch

    @property
    def is_waiting(self) -> bool:
        return self._traced is None and self.patch.active

    def stand(self, patch: Patch) -> Callable[..., Any]:
        """Make the placeholder. To inspection it is the function, like the wrappers that take its place."""
        self.patch = patch
        return wrapt.FunctionWrapper(patch.original, self._call)

    def become(self, make: Callable[[Patch], Callable[..., Any]]) -> None:
        """Put the function that traces in the place of the placeholder."""
        self._traced = self.patch.become(make)

    def _call(self, wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        if self.is_waiting:
            self._load()
        call, traced = wrapped, self._traced
        if traced is not None and self.patch.active:
            self.patch.become(lambda _: traced)  # if this was kept and put back
            call = traced if instance is None else traced.__get__(instance, type(instance))
        try:
            return call(*args, **kwargs)
        except BaseException as error:
            drop_own_frame(error)
            raise


class FirstUse:
    """The instrumentation of one library, which is imported and installed when the library is used.

    Args:
        library: Its name.
        module: The module of the instrumentation.
        load: Imports it, and returns the class.
    """

    def __init__(
        self, library: str, module: str, load: Callable[[], Callable[[EntryPoints], Instrumentation]]
    ) -> None:
        self._library, self._module, self._import = library, module, load
        self._settings: InstrumentationSettings | None = None
        self._installed: Instrumentation | None = None
        self._entry_points = EntryPoints()
        self._pauses = iter(_PAUSES)
        self._again_at = 0.0
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Replace the lock: another thread of the parent may have held it."""
        self._lock = threading.RLock()

    def instrument(self, settings: InstrumentationSettings) -> None:
        """Wait for the first call."""
        self._settings = settings
        self._entry_points.hold(self._library, self.load)

    def uninstrument(self) -> None:
        """Leave the library as it was found."""
        with self._lock:
            self._settings = None
            if self._installed is not None:
                self._installed.uninstrument()
            self._entry_points.undo()

    def contrib_imported(self) -> None:
        """Install now: the application may instrument for itself next, and ours comes first."""
        if not is_being_imported(self._module):  # else that thread imports contrib's module too, and installs
            self.load()

    def load(self) -> None:
        """Install the instrumentation; return when it is installed, or cannot be for now."""
        if time.monotonic() < self._again_at or self._entry_points.are_hidden():
            return
        kind = None
        with guarded(f"loading what instruments {self._library}"):
            # Not within the lock, which a thread that imports contrib's module may await.
            kind = self._import() if self._settings is not None else None
        with self._lock:
            settings, self._settings = self._settings, None  # calls that come from within are not traced
            if settings is None:
                return
            is_installed = False
            try:
                with guarded(f"instrumenting {self._library}"):
                    if kind is not None:
                        self._installed = kind(self._entry_points)
                        self._installed.instrument(settings)
                        is_installed = True
            finally:  # also after an exception of the application, which its handler of a signal raises
                if not is_installed:
                    self._wait_again(settings)
                if self._settings is None:
                    self._entry_points.release()

    def _wait_again(self, settings: InstrumentationSettings) -> None:
        """Leave the library as it was found, and wait for a call after the next pause, if there is one."""
        pause = next(self._pauses, None)
        installed, self._installed = self._installed, None
        if installed is not None:
            with guarded(f"removing what instruments {self._library}"):
                installed.uninstrument()
            self._entry_points.undo()
        if pause is not None:
            self._again_at = time.monotonic() + pause
            if installed is not None:
                self._entry_points.hold(self._library, self.load)
            self._settings = settings


@contextmanager
def wrapping(contrib: ModuleType, patches: Patches) -> Iterator[None]:
    """Have ``patches`` replace what ``contrib`` wraps within the block on this thread, so that they also undo it."""
    if not hasattr(contrib, WRAP):
        yield
        return
    thread = threading.get_ident()

    def wrap(original: Original, target: Any, name: str, wrapper: Callable[..., Any]) -> Any:
        if threading.get_ident() != thread:
            return original(target, name, wrapper)
        owner, attribute, _ = wrapt.resolve_path(target, name)
        return patches.replace(owner, attribute, lambda patch: wrapt.FunctionWrapper(patch.original, wrapper))

    patch = replace(contrib, WRAP, replacement(wrap))
    try:
        yield
    finally:
        patch.undo()
