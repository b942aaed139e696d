"""Imports an application as a server would, records what it does, and writes a report; a process of its own.

Run by :mod:`brain_otel.doctor.application` as ``python -m brain_otel.doctor.inspection``; nothing else uses it. The
application may print, exit, hang or start threads: what was recorded is written all the same, and the process then
ends at once, so that nothing is sent on its way out.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wrapt

import brain_otel
from brain_otel import telemetry
from brain_otel.doctor.sandbox import launch, silence

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType

    from brain_otel.configuration.settings import Settings

AGENTS = ("logfire", "ddtrace", "newrelic", "elasticapm", "instana", "scout_apm", "appdynamics")
"""Other observability SDKs, by the module that is imported when they are used."""

_BETWEEN = ("opentelemetry", "sentry_sdk", "wrapt", "importlib", "contextlib", "functools", "fastapi")
"""Packages whose frames lie between a call and who caused it."""

_PROVIDERS = {
    "opentelemetry.trace": "set_tracer_provider",
    "opentelemetry.metrics": "set_meter_provider",
    "opentelemetry._logs": "set_logger_provider",
}


class Record:
    """What has happened so far."""

    def __init__(self, report: Path) -> None:
        self.data: dict[str, Any] = {
            "launcher": telemetry.is_set_up(),
            "setup": None,
            "calls": [],
            "warnings": [],
            "error": None,
            "hangs": None,
        }
        self._report = report
        self._lock = threading.Lock()

    def call(self, what: str, **facts: Any) -> None:
        """Note a call of the application's; brain_otel's own are none."""
        where = caller()
        if where is not None:
            before = self.data["setup"] is None and not telemetry.is_set_up()
            self.data["calls"].append({"what": what, "where": where, "before_setup": before, **facts})

    def end(self, status: int = 0) -> None:
        """Write the report and end the process, with no exit handlers."""
        with self._lock:  # held to the end, so that only one thread writes
            partial = self._report.with_suffix(".partial")
            partial.write_text(json.dumps(self.data), encoding="utf-8")
            partial.replace(self._report)
            os._exit(status)


class _Lines(logging.Handler):
    """Keeps brain_otel's own warnings."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line once."""
        line = record.getMessage()
        if line not in self._lines:
            self._lines.append(line)


def caller() -> str | None:
    """The application's line that is being run, ``app.py:3``; None if brain_otel itself is at work."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        top = name.partition(".")[0]
        if top == "brain_otel" and not name.startswith("brain_otel.doctor"):
            return None
        if top not in (*_BETWEEN, "brain_otel", "__main__", "_frozen_importlib", "_frozen_importlib_external"):
            return _place(frame)
        frame = frame.f_back
    return "the command line"


def record_calls(record: Record) -> None:
    """Observe who configures OpenTelemetry or Sentry, beside us."""
    for module, name in _PROVIDERS.items():
        _observe(importlib.import_module(module), name, lambda *_, what=name: record.call(what))
    from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]  # contrib has no types
        BaseInstrumentor,
    )

    _observe(BaseInstrumentor, "instrument", lambda instrumentor: record.call(type(instrumentor).__name__))

    def fastapi_imported(module: ModuleType) -> None:
        wrapped = module.FastAPIInstrumentor.instrument_app

        def instrument_app(*args: Any, **kwargs: Any) -> Any:
            record.call("FastAPIInstrumentor")
            return wrapped(*args, **kwargs)

        module.FastAPIInstrumentor.instrument_app = staticmethod(instrument_app)

    def sentry_imported(module: ModuleType) -> None:
        wrapped = module.Client.__init__

        def create(client: Any, *args: Any, **kwargs: Any) -> None:
            wrapped(client, *args, **kwargs)
            if _is_called_by("_init"):  # a client of one's own, apart from the global one, is no matter of ours
                record.call("sentry_sdk.init", integrations=sorted(client.integrations))

        module.Client.__init__ = create

    wrapt.register_post_import_hook(fastapi_imported, "opentelemetry.instrumentation.fastapi")
    wrapt.register_post_import_hook(sentry_imported, "sentry_sdk")


def record_setup(record: Record) -> None:
    """Observe ``setup()``: with what, and what had been made before."""
    wrapped = telemetry.start

    def start(settings: Settings, *args: Any, **kwargs: Any) -> Any:
        found = {
            "environment": settings.environment,
            "source": settings.source,
            "fastapi": settings.instrumentation.fastapi,
            "disabled": settings.disabled,
            "built": [app.title for app in _instances("fastapi", "FastAPI") if app.middleware_stack is not None],
            "engines": len(_instances("sqlalchemy.engine", "Engine")),
        }
        result = wrapped(settings, *args, **kwargs)
        record.data["setup"] = found
        return result

    telemetry.start = start
    logging.getLogger("brain_otel").addHandler(_Lines(record.data["warnings"]))


def import_app(target: str, record: Record) -> None:
    """Import ``module:attribute``, and note what stands there."""
    name, _, attributes = target.partition(":")
    app: Any = importlib.import_module(name)
    for attribute in (attributes or "app").split("."):
        app = getattr(app, attribute)
    record.data["app"] = f"{type(app).__module__}.{type(app).__qualname__}"


def look_around(record: Record) -> None:
    """Note what is there once everything is imported."""
    apps = _instances("fastapi", "FastAPI")
    record.data["apps"] = len(apps)
    record.data["agents"] = [name for name in AGENTS if name in sys.modules]
    record.data["middleware"] = sorted({each.cls.__name__ for app in apps for each in app.user_middleware})
    record.data["conventions"] = _conventions()
    # What FastAPI(telemetry=...) was given, merged with its defaults; a test pins the name.
    configs = [(app.title, getattr(app, "_telemetry", {})) for app in apps]
    record.data["automatic"] = [title for title, config in configs if config.get("auto_configure")]
    plain = _plain_telemetry() if apps else {}
    record.data["native"] = [
        title
        for title, config in configs
        if any(config[name] != value for name, value in plain.items() if name != "auto_configure")
    ]


def _plain_telemetry() -> dict[str, Any]:
    from fastapi import FastAPI

    return dict(getattr(FastAPI(), "_telemetry", {}))


def _conventions() -> dict[str, str]:
    """The names that contrib's instrumentations write, which are decided once, when the first is used."""
    from opentelemetry.instrumentation._semconv import (
        _get_semconv_opt_in_modes,
        _OpenTelemetryStabilitySignalType,
    )

    kinds = {
        "http": _OpenTelemetryStabilitySignalType.HTTP,
        "database": _OpenTelemetryStabilitySignalType.DATABASE,
    }
    modes = _get_semconv_opt_in_modes(tuple(kinds.values()))
    return {name: str(modes[kind].value) for name, kind in kinds.items()}


def _instances(module: str, name: str) -> list[Any]:
    kind = getattr(sys.modules.get(module), name, None)
    return [each for each in gc.get_objects() if issubclass(type(each), kind)] if kind is not None else []


def _observe(holder: Any, name: str, note: Callable[..., None]) -> None:
    wrapped = getattr(holder, name)

    def observed(*args: Any, **kwargs: Any) -> Any:
        note(*args[:1])
        return wrapped(*args, **kwargs)

    setattr(holder, name, observed)


def _is_called_by(function: str) -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == function and "sentry_sdk" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def _place(frame: FrameType, line: int | None = None) -> str:
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{line or frame.f_lineno}"


def _line_of(error: BaseException) -> str:
    """The deepest line of the application's own, or of whatever there is."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] not in ("brain_otel", "__main__"):
            places.append(_place(trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return next(reversed(_own(places) or places), "")


def _own(places: list[str]) -> list[str]:
    """Those below the working directory, without the packages of a virtual environment there."""
    return [each for each in places if not each.startswith(("/", "<")) and "site-packages" not in each]


def _watch(record: Record, seconds: float) -> None:
    """End the process when the application has not been imported in time, and say where it was."""
    main = threading.main_thread().ident

    def give_up() -> None:
        frame = sys._current_frames().get(main or 0)
        places = []
        while frame is not None:
            places.append(_place(frame))
            frame = frame.f_back
        record.data["hangs"] = next(iter(_own(places) or places), "?")
        record.end()

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()


def main(report: str, seconds: str, target: str, launched: str) -> None:
    """Import ``target``, or only set up where it is empty, and write the report.

    ``launched`` is empty unless it is to be as under ``opentelemetry-instrument``.
    """
    silence()
    if launched:
        launch()
    record = Record(Path(report))
    record_calls(record)
    record_setup(record)
    _watch(record, float(seconds))
    sys.path.insert(0, str(Path.cwd()))
    try:
        if target:
            import_app(target, record)
        elif not telemetry.is_set_up():
            brain_otel.setup()
        look_around(record)
    except BaseException as error:  # SystemExit as well: whatever ends the import is the finding
        record.data["error"] = {"type": type(error).__name__, "text": str(error)[:2000], "where": _line_of(error)}
    record.end()


if __name__ == "__main__":
    main(*sys.argv[1:])
