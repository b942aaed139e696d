"""Imports an application as a server would, in a dry run, and writes a report of what it does.

:mod:`brain_otel.doctor.sandbox` runs this module as a process: ``python -m brain_otel.doctor.dry_run``. The
application may print, exit, hang or start threads; the report is written all the same, and the process then ends at
once, without exit handlers that could send something.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import brain_otel
from brain_otel import telemetry
from brain_otel.configuration.settings import Settings
from brain_otel.doctor.call_recorder import record_calls
from brain_otel.doctor.inspection_report import Apps, Failure, InspectionReport, Setup
from brain_otel.doctor.source_line import failing_line, waiting_line

if TYPE_CHECKING:
    from brain_otel.destinations.isolation import IsolatedDestination

AGENTS = ("ddtrace", "newrelic", "elasticapm", "instana", "scout_apm", "appdynamics")
"""Other observability SDKs: each is in use where its module is imported.

logfire is not: pydantic imports it wherever it is installed. It is in use where ``logfire.configure()`` is called.
"""

_writing = threading.Lock()


def main(path: str, seconds: str, target: str, by_launcher: str) -> None:
    """Import ``target``, or call ``setup()`` if it is empty, within ``seconds``, and write the report to ``path``.

    If ``by_launcher`` is not empty, do first what ``opentelemetry-instrument`` does in a process that it starts.
    """
    report = InspectionReport()
    write_and_exit = partial(_write_and_exit, Path(path), report)
    logging.getLogger("brain_otel").addHandler(_WarningRecorder(report.warnings))
    telemetry.use_destination_factory(lambda settings: _create_destinations(settings, report))
    if by_launcher:
        from opentelemetry.instrumentation.auto_instrumentation import initialize

        initialize()
    record_calls(report)
    _limit_time(float(seconds), report, write_and_exit)
    sys.path.insert(0, str(Path.cwd()))
    try:
        if target:
            _examine_process(report, app_class=_import(target))
        else:
            brain_otel.setup()
    except BaseException as error:  # an import may also end by SystemExit
        report.failure = Failure(type=type(error).__name__, text=str(error)[:2000], place=failing_line(error))
    write_and_exit()


def _write_and_exit(path: Path, report: InspectionReport) -> None:
    """Write the report, by whichever thread comes first, and end the process without exit handlers."""
    with _writing:  # never released: the process ends in here
        unfinished = path.with_suffix(".partial")
        unfinished.write_text(report.as_json(), encoding="utf-8")
        unfinished.replace(path)
        os._exit(0)


class _WarningRecorder(logging.Handler):
    """Keeps each different log line from level ``WARNING`` on."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self._lines:
            self._lines.append(line)


def _create_destinations(settings: Settings, report: InspectionReport) -> tuple[IsolatedDestination, ...]:
    """Create silent destinations for ``setup()``, and report what existed before it."""
    report.served_before_setup = [
        app.title for app in _instances("fastapi", "FastAPI") if app.middleware_stack is not None
    ]
    report.engines_before_setup = len(_instances("sqlalchemy.engine", "Engine"))
    return create_silent_destinations(settings)


def create_silent_destinations(settings: Settings) -> tuple[IsolatedDestination, ...]:
    """Create every destination of ``settings``, so that a wrong option shows, and return silent ones instead."""
    from brain_otel.sdk.pipeline import create_destinations, discard_destinations

    created = create_destinations(settings)
    discard_destinations(created)
    return tuple(map(_silent, created))


def _silent(stopped: IsolatedDestination) -> IsolatedDestination:
    from brain_otel.destinations.destination import Destination
    from brain_otel.destinations.isolation import IsolatedDestination

    silent = IsolatedDestination(Destination(name=stopped.name), stopped.index)
    silent.metric_exporter = stopped.metric_exporter  # a metric reader needs one; a stopped one drops what it gets
    return silent


def _limit_time(seconds: float, report: InspectionReport, write_and_exit: Callable[[], None]) -> None:
    """End the process after ``seconds``, and report the line at which the import was."""

    def give_up() -> None:
        report.stuck_at = waiting_line() or "?"
        write_and_exit()

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()


def _import(target: str) -> str:
    """Import ``module:attribute`` and return the class of the object there."""
    name, _, attributes = target.partition(":")
    app: Any = importlib.import_module(name)
    for attribute in (attributes or "app").split("."):
        app = getattr(app, attribute)
    return type(app).__name__


def _examine_process(report: InspectionReport, app_class: str) -> None:
    """Report what exists once everything is imported."""
    if (settings := telemetry.current_settings()) is not None:
        report.setup = Setup(
            environment=settings.environment, source=settings.source, fastapi=str(settings.instrumentation.fastapi)
        )
    report.agents = sorted({*report.agents, *(name for name in AGENTS if name in sys.modules)})
    report.conventions = _conventions()
    apps = _instances("fastapi", "FastAPI")
    defaults = _telemetry_options(sys.modules["fastapi"].FastAPI()) if apps else {}
    report.apps = Apps(
        count=len(apps),
        middleware=sorted({app_class, *(each.cls.__name__ for app in apps for each in app.user_middleware)}),
        with_native_options=[app.title for app in apps if _differ(_telemetry_options(app), defaults)],
        with_own_exporters=[app.title for app in apps if _telemetry_options(app).get("auto_configure")],
    )


def _telemetry_options(app: Any) -> dict[str, Any]:
    """The options of ``FastAPI(telemetry=...)`` with their defaults, which have no public name; a test pins it."""
    return dict(getattr(app, "_telemetry", {}))


def _differ(options: dict[str, Any], defaults: dict[str, Any]) -> bool:
    return any(options[name] != value for name, value in defaults.items() if name != "auto_configure")


def _conventions() -> dict[str, str]:
    """The semantic conventions that contrib's instrumentations chose when the first of them was used, by signal."""
    try:
        from opentelemetry.instrumentation._semconv import (  # no public name tells; a test pins these
            _get_semconv_opt_in_modes,
            _OpenTelemetryStabilitySignalType,
        )
    except ImportError:
        return {}
    signals = {"http": _OpenTelemetryStabilitySignalType.HTTP, "database": _OpenTelemetryStabilitySignalType.DATABASE}
    modes = _get_semconv_opt_in_modes(tuple(signals.values()))
    return {name: str(modes[signal].value) for name, signal in signals.items()}


def _instances(module: str, name: str) -> list[Any]:
    """Every living instance of a class, without importing its module."""
    kind = getattr(sys.modules.get(module), name, None)
    gc.unfreeze()  # `freeze_gc` hides what exists at the end of set-up
    return [each for each in gc.get_objects() if issubclass(type(each), kind)] if kind is not None else []


if __name__ == "__main__":
    main(*sys.argv[1:])
