"""The instrumented libraries: one module each, one line each here.

An instrumentation knows nothing of destinations. It is installed when its library has been imported, before or after
``setup()``, or with the library's first use (:mod:`.first_use`). A library that the process does not use is never
imported for its sake.
"""

import functools
import re
import sys
from contextlib import suppress
from importlib import import_module
from logging import LogRecord, getLogger  # `logging` is a module of this package
from types import ModuleType
from typing import Any

import wrapt

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.excepthook import patch_excepthook
from brain_otel.instrumentation.exception_recording import patch_exception_recording
from brain_otel.instrumentation.first_use import FirstUse, Instrumentation, can_wait, importing_contrib
from brain_otel.instrumentation.others.enabling import OtherInstrumentors
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import is_being_imported, load_later
from brain_otel.runtime.patch import Patches, replacement

LIBRARIES = {
    "fastapi": "fastapi.instrumentor:FastAPIInstrumentation",
    "sqlalchemy": "sqlalchemy.instrumentor:SQLAlchemyInstrumentation",
    "redis": "redis.instrumentor:RedisInstrumentation",
    "httpx": "httpx.instrumentor:HttpxInstrumentation",
    "logging": "logging:LoggingInstrumentation",
    "asyncio": "asyncio:AsyncioInstrumentation",
    "threading": "threading:ThreadingInstrumentation",
    "celery": "jobs.celery:CeleryInstrumentation",
    "arq": "jobs.arq:ArqInstrumentation",
    "taskiq": "jobs.taskiq:TaskiqInstrumentation",
}
"""Library, which is also the name of its setting -> module in this folder, and class."""

_FAST_PATHS = {
    "httpx": ("httpx.client_span",),
    "redis": ("redis.command_span",),
    "sqlalchemy": ("sqlalchemy.statement_span", "sqlalchemy.driver_calls"),
}
"""Library -> the modules of its fast path, without which its instrumentation works too."""

_CONTRIB = "opentelemetry.instrumentation."

_CONTRIB_LOGGERS = (_CONTRIB + "auto_instrumentation._load", _CONTRIB + "instrumentor")
_CONFLICT = "nothing can be instrumented"


class _Registry:
    """What is installed; import hooks cannot be removed, so they ask here."""

    def __init__(self) -> None:
        self.settings: InstrumentationSettings | None = None
        self.installed: dict[str, Instrumentation] = {}
        self.hooked: set[str] = set()
        self.awaiting_contrib: set[str] = set()
        self.core_patches = Patches()
        self.instrumentor_patches = Patches()
        self.others = OtherInstrumentors(frozenset({*LIBRARIES, "exceptions"}))  # what `excepthook` does
        self.restricted: Any = None
        """The clients of others that obey ``propagation.targets``; None if targets have never been restricted."""
        self.warns = False


_registry = _Registry()


def instrument(settings: InstrumentationSettings) -> None:
    """Instrument each library of ``settings`` when it has been imported, or with its first use."""
    _registry.settings = settings
    wrapt.register_post_import_hook(_warn_of_instrumentors, _CONTRIB + "instrumentor")
    for name in _CONTRIB_LOGGERS:
        getLogger(name).addFilter(_is_true)
    with guarded("protecting the application's exceptions"):
        patch_exception_recording(_registry.core_patches)
    patch_excepthook(_registry.core_patches)
    with guarded("making the SDK's tracer faster"):
        module = f"{__name__}.tracer"
        tracer = FirstUse("tracer", module, functools.partial(_load, module, "TracerInstrumentation"))
        _registry.installed["tracer"] = tracer
        tracer.instrument(settings)
    for library in LIBRARIES:
        if not _is_wanted(library):
            continue
        if library in _registry.hooked or library in sys.modules:
            _install(library)
        if library not in _registry.hooked:
            _registry.hooked.add(library)
            wrapt.register_post_import_hook(_on_import, library)
            wrapt.register_post_import_hook(_on_contrib_import, _CONTRIB + library)
    with guarded("restricting the trace headers of clients"):
        _restrict_clients()
    _registry.others.enable(settings)


def _restrict_clients() -> None:
    from opentelemetry.propagate import get_global_textmap  # `import brain_otel` stays cheap

    if getattr(get_global_textmap(), "targets", None) is None:
        return
    from brain_otel.instrumentation.others.restricted import RestrictedClients

    _registry.restricted = _registry.restricted or RestrictedClients()
    _registry.restricted.restrict()


def _is_true(record: LogRecord) -> bool:
    """Filter: drops contrib's line that a library cannot be instrumented in its version, if it or ours says more."""
    message = str(record.msg)
    if not message.rstrip(".").endswith(_CONFLICT):
        return True
    if record.name == _CONTRIB_LOGGERS[0]:
        return False  # the launcher's, before the library is imported, and without a remedy
    first = message.partition('"')[2]
    return not any(_is_wanted(name) and re.match(rf"{name}(?![\w.-])", first) for name in LIBRARIES)


def _warn_of_instrumentors(module: ModuleType) -> None:
    if _registry.settings is not None and not _registry.warns:
        from brain_otel.instrumentation.conflicts import warn_once, warning_instrument  # not before contrib's

        warn_once.cache_clear()
        warn = replacement(functools.partial(warning_instrument, _is_wanted, _registry.others.is_repeated))
        _registry.warns = _registry.instrumentor_patches.replace(module.BaseInstrumentor, "instrument", warn)


def uninstrument() -> None:
    """Remove every instrumentation."""
    _registry.settings = None
    _registry.others.disable()
    if _registry.restricted is not None:
        _registry.restricted.undo()
    for name in _CONTRIB_LOGGERS:
        getLogger(name).removeFilter(_is_true)
    for library, installed in list(_registry.installed.items()):
        with guarded(f"removing the {library} instrumentation"):
            installed.uninstrument()
    _registry.installed.clear()
    _registry.awaiting_contrib.clear()
    _registry.core_patches.undo()
    _registry.instrumentor_patches.undo()
    _registry.warns = False


def _on_import(module: ModuleType) -> None:
    _install(module.__name__)


def _on_contrib_import(module: ModuleType) -> None:
    library = module.__name__.removeprefix(_CONTRIB)
    if library in _registry.awaiting_contrib:
        _registry.awaiting_contrib.discard(library)
        _install_now(library)
    installed = _registry.installed.get(library)
    if isinstance(installed, FirstUse):
        installed.contrib_imported()


def _is_wanted(library: str) -> bool:
    settings = _registry.settings
    return (
        settings is not None
        and not settings.is_disabled(library)
        and getattr(settings, library, "off") not in (False, "off")
    )


def _install(library: str) -> None:
    # Code that imports contrib's module imports the library first, and that import has called this function.
    if is_being_imported(_CONTRIB + library):
        _registry.awaiting_contrib.add(library)
    else:
        _install_now(library)


def _install_now(library: str) -> None:
    settings = _registry.settings
    if settings is None or library in _registry.installed or library not in sys.modules or not _is_wanted(library):
        return
    with guarded(f"instrumenting {library}"):
        module, _, name = f"{__name__}.{LIBRARIES[library]}".partition(":")
        installed: Instrumentation
        if can_wait(library, settings):
            load = functools.partial(_load, module, name, *_FAST_PATHS.get(library, ()))
            installed = FirstUse(library, module, load)
        else:
            installed = _load(module, name)()
        _registry.installed[library] = installed
        installed.instrument(settings)
        _registry.others.add_outer(library)


def _load(module: str, name: str, *fast_paths: str) -> Any:
    """The class of an instrumentation; its fast paths are imported unless another package is not as expected."""
    with importing_contrib():
        kind = getattr(import_module(module), name)
        for each in fast_paths:
            with suppress(ImportError):  # any other failure, such as no descriptor left, is a reason to try again
                import_module(f"{__name__}.{each}")
        return kind


def _load_late() -> None:
    """Install what waits for the first use of its library, before a request would."""
    with importing_contrib():
        import_module(_CONTRIB + "dependencies")  # what serves FastAPI's requests imports it too
    for each in list(_registry.installed.values()):
        if isinstance(each, FirstUse):
            each.load()


load_later(_load_late)
