"""Which libraries are instrumented: one file each, one line each here.

An instrumentation knows nothing of destinations. Each is installed when its library is imported, be that
before ``setup()`` or after, so a library that a process does not use is not imported for our sake.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Any, Protocol

import wrapt

from brain_otel.instrumentation import exception_recording
from brain_otel.runtime.guard import guarded

if TYPE_CHECKING:
    from types import ModuleType

    from brain_otel.configuration.settings import InstrumentationSettings

logger = logging.getLogger(__name__)

LIBRARIES = {
    "fastapi": "fastapi.instrumentor",
    "sqlalchemy": "sqlalchemy.instrumentor",
    "redis": "redis.instrumentor",
    "httpx": "httpx.instrumentor",
    "logging": "logging",
    "asyncio": "asyncio",
}
"""Library, which is also the name of its setting -> module in this folder."""

_UPSTREAM = "opentelemetry.instrumentation."
"""Where contrib's instrumentation of a library is found, by the library's name."""


class Instrumentation(Protocol):
    """A module of this folder."""

    def instrument(self, settings: InstrumentationSettings) -> None:
        """Begin to observe the library, which has been imported."""

    def uninstrument(self) -> None:
        """Leave the library as it was found."""


class _State:
    """What is installed at the moment; import hooks cannot be taken back, so they ask here."""

    settings: InstrumentationSettings | None = None
    installed: dict[str, Any] = {}  # noqa: RUF012 - the one holder of this state
    hooked: set[str] = set()  # noqa: RUF012
    waiting: set[str] = set()  # noqa: RUF012


def instrument(settings: InstrumentationSettings) -> None:
    """Instrument what ``settings`` say, now where the library is imported and else when it will be."""
    _State.settings = settings
    with guarded("protecting the application's exceptions"):
        exception_recording.patch_exception_recording()
    for library in LIBRARIES:
        if not _enabled(library, settings):
            continue
        if library in _State.hooked or library in sys.modules:
            _install(library)
        if library not in _State.hooked:
            _State.hooked.add(library)
            wrapt.register_post_import_hook(_imported, library)
            wrapt.register_post_import_hook(_upstream_imported, _UPSTREAM + library)


def uninstrument() -> None:
    """Take every instrumentation out again."""
    _State.settings = None
    for library, module in list(_State.installed.items()):
        with guarded(f"taking the {library} instrumentation out"):
            module.uninstrument()
    _State.installed.clear()
    _State.waiting.clear()
    with guarded("taking the protection of exceptions out"):
        exception_recording.undo()


def _imported(module: ModuleType) -> None:
    _install(module.__name__)


def _upstream_imported(module: ModuleType) -> None:
    library = module.__name__.removeprefix(_UPSTREAM)
    if library in _State.waiting:
        _State.waiting.discard(library)
        _install_now(library)


def _enabled(library: str, settings: InstrumentationSettings) -> bool:
    value = getattr(settings, library)
    return bool(value) and value != "off"


def _install(library: str) -> None:
    if _is_being_imported(_UPSTREAM + library):
        # Somebody imports contrib's module, which imports the library, which brought us here: wait for contrib's.
        _State.waiting.add(library)
    else:
        _install_now(library)


def _install_now(library: str) -> None:
    settings = _State.settings
    if settings is None or library in _State.installed or library not in sys.modules:
        return
    if not _enabled(library, settings):
        return
    with guarded(f"instrumenting {library}"):
        module = importlib.import_module(f"{__name__}.{LIBRARIES[library]}")
        _State.installed[library] = module
        module.instrument(settings)


def _is_being_imported(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
