"""Observes the functions of OpenTelemetry, Sentry and other agents by which an application configures them itself."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import wrapt

from brain_otel import telemetry
from brain_otel.doctor.inspection_report import Call, InspectionReport
from brain_otel.doctor.source_line import calling_line

_PROVIDER_SETTERS = {
    "opentelemetry.trace": "set_tracer_provider",
    "opentelemetry.metrics": "set_meter_provider",
    "opentelemetry._logs": "set_logger_provider",
}


def record_calls(report: InspectionReport) -> None:
    """Add each such call to ``report`` from now on, except those of brain_otel."""
    for module, name in _PROVIDER_SETTERS.items():
        _observe(importlib.import_module(module), name, lambda *_, name=name: _record(report, name))
    from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]  # contrib has no types
        BaseInstrumentor,
    )

    _observe(BaseInstrumentor, "instrument", lambda instrumentor, *_: _record(report, type(instrumentor).__name__))

    def fastapi_imported(module: ModuleType) -> None:
        _observe(module.FastAPIInstrumentor, "instrument_app", lambda *_: _record(report, "FastAPIInstrumentor"))
        module.FastAPIInstrumentor.instrument_app = staticmethod(module.FastAPIInstrumentor.instrument_app)

    def sentry_imported(module: Any) -> None:
        wrapped = module.init

        def init(*args: Any, **kwargs: Any) -> Any:
            result = wrapped(*args, **kwargs)
            _record(report, "sentry_sdk.init", integrations=sorted(module.get_client().integrations))
            return result

        module.init = init

    def logfire_imported(module: ModuleType) -> None:
        _observe(module, "configure", lambda *_: report.agents.append("logfire"))

    wrapt.register_post_import_hook(fastapi_imported, "opentelemetry.instrumentation.fastapi")
    wrapt.register_post_import_hook(sentry_imported, "sentry_sdk")
    wrapt.register_post_import_hook(logfire_imported, "logfire")


def _record(report: InspectionReport, name: str, **facts: Any) -> None:
    place = calling_line()
    if place is not None:
        report.calls.append(Call(name=name, place=place, before_setup=not telemetry.is_set_up(), **facts))


def _observe(holder: Any, name: str, observer: Callable[..., object]) -> None:
    """Call ``observer`` with the positional arguments before each call of the function ``name`` of ``holder``."""
    wrapped = getattr(holder, name)

    def observed(*args: Any, **kwargs: Any) -> Any:
        observer(*args)
        return wrapped(*args, **kwargs)

    setattr(holder, name, observed)
