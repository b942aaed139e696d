"""A pytest plugin: contrib's own tests with brain_otel's code in the place of contrib's.

Those tests instrument and uninstrument by themselves, with providers of their own. So brain_otel replaces what it
replaces in contrib, its propagator is the global one, and each provider of a test samples by brain_otel's sampler.
The tests instrument the libraries.
"""

import os
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.instrumentation import fastapi as contrib
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # no __all__
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.test.test_base import TestBase  # type: ignore[import-not-found]  # fetched for these tests

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.fastapi.native import NATIVE_KEY
from brain_otel.instrumentation.fastapi.server_span import ServerSpanMiddleware
from brain_otel.instrumentation.httpx.instrumentor import HttpxInstrumentation
from brain_otel.instrumentation.propagation import GuardedPropagator
from brain_otel.instrumentation.redis.instrumentor import RedisInstrumentation
from brain_otel.instrumentation.sqlalchemy.instrumentor import SQLAlchemyInstrumentation
from brain_otel.runtime.patch import Patch, Patches
from brain_otel.sampling.context import DecidedIds
from brain_otel.sampling.head import HeadSampler


def pytest_configure() -> None:
    """Replace, before any test is collected; with ``PLAIN`` only say that every version of a library will do."""
    BaseInstrumentor._check_dependency_conflicts = lambda _: None
    if "PLAIN" not in os.environ:
        _replace()


def _replace() -> None:
    settings = InstrumentationSettings()
    set_global_textmap(GuardedPropagator(get_global_textmap()))
    for made in (RedisInstrumentation(), HttpxInstrumentation()):
        made.instrument(settings)
        made._entry_points.undo()
    statements = SQLAlchemyInstrumentation()
    statements.instrument(settings)
    statements._listeners.remove()
    assert statements._calls is not None
    statements._calls.stop()
    patches = Patches()
    patches.replace(contrib, "OpenTelemetryMiddleware", lambda _: ServerSpanMiddleware)
    patches.replace(FastAPI, "__call__", _without_own_spans)
    _sample(TestBase)


def _without_own_spans(patch: Patch) -> Any:
    """Keep FastAPI's own spans off, as brain_otel does for each request."""

    async def call(app: FastAPI, scope: Any, receive: Any, send: Any) -> None:
        scope.setdefault(NATIVE_KEY, None)
        await patch.original(app, scope, receive, send)

    return call


def _sample(base: Any) -> None:
    original = base.create_tracer_provider

    def create_tracer_provider(**kwargs: Any) -> Any:
        provider, exporter = original(**kwargs)
        provider.id_generator = DecidedIds(provider.id_generator)
        provider.sampler = HeadSampler(provider.sampler)
        return provider, exporter

    base.create_tracer_provider = staticmethod(create_tracer_provider)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the outcome of each test on a line of its own, for the test that runs this."""
    for outcome in ("passed", "failed", "error", "skipped", "xfailed", "xpassed"):
        for report in terminalreporter.stats.get(outcome, ()):
            if outcome != "passed" or report.when == "call":
                terminalreporter.write_line(f"OUTCOME {outcome} {report.nodeid}")
