"""The Sentry destination alone: real spans of the SDK, a real client, and an ingest that listens.

With ``BRAIN_OTEL_FAST_PATHS=false`` these tests run without fast paths, as an application would.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from brain_otel.configuration.options import Options
from brain_otel.configuration.sections.sentry import Secret, SentrySettings
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.sentry import create_destination
from brain_otel.events.listeners import configure_listeners
from brain_otel.runtime import guard
from brain_otel.runtime.fast_paths import configure_fast_paths
from tests.support.ingest import Json, SentryIngest
from tests.support.relay import assert_accepted


class Bridge:
    """A tracer whose spans go to Sentry, and what has arrived there."""

    def __init__(self, ingest: SentryIngest, options: dict[str, Any], sampled: bool, **sentry: Any) -> None:
        self.ingest = ingest
        given: dict[str, Any] = {"environment": "test", "release": "shop@1", "profiles_sample_rate": 0.0, **sentry}
        self.settings = SentrySettings(**{"dsn": Secret(ingest.dsn), **given})
        settings = Settings(environment="test", source="test", document={}, sentry=self.settings)
        self.provider = TracerProvider(
            sampler=ALWAYS_ON if sampled else ALWAYS_OFF,
            resource=Resource({"service.name": "shop"}),
            shutdown_on_exit=False,
        )
        destination = create_destination(Options(options, name="sentry"), settings)
        assert destination is not None
        assert destination.span_processor is not None
        self.destination = destination
        self.processor = destination.span_processor
        self.provider.add_span_processor(self.processor)
        assert self.destination.listener is not None
        configure_listeners((self.destination.listener,))

    @property
    def tracer(self) -> otel_trace.Tracer:
        return self.tracer_of("test")

    def tracer_of(self, scope: str) -> otel_trace.Tracer:
        return self.provider.get_tracer(scope)

    def flush(self) -> None:
        assert self.destination.flush(10.0)

    def transaction(self) -> Json:
        """Return the one transaction that was sent; Relay accepts it."""
        self.flush()
        self.ingest.wait_for(lambda it: len(it.transactions) > 0)
        (only,) = self.ingest.transactions
        assert_accepted(only)
        return only

    def close(self) -> None:
        configure_listeners(())
        self.destination.shutdown(5.0)


Connect = Callable[..., Bridge]


@pytest.fixture(autouse=True)
def _nothing_of_other_tests() -> None:
    """Forget the breadcrumbs, tags and users that tests outside of a request have left behind."""
    sentry_sdk.get_isolation_scope().clear()


@pytest.fixture(autouse=True)
def _configured_fast_paths() -> Iterator[None]:
    """Do as the packaged files do with the variable."""
    configure_fast_paths(os.environ.get("BRAIN_OTEL_FAST_PATHS", "true") == "true")
    yield
    configure_fast_paths(True)


@pytest.fixture
def fast_paths(_configured_fast_paths: None) -> None:
    """Turn fast paths on for a test that looks at one."""
    configure_fast_paths(True)


@pytest.fixture
def connect(ingest: SentryIngest) -> Iterator[Connect]:
    """Connect to Sentry once, with the settings of the test."""
    made: list[Bridge] = []

    def connected(*, sampled: bool = True, options: dict[str, Any] | None = None, **sentry: Any) -> Bridge:
        made.append(Bridge(ingest, options or {}, sampled, **sentry))
        return made[-1]

    guard.reraise_failures(True)
    yield connected
    guard.reraise_failures(False)
    for bridge in made:
        bridge.close()


@pytest.fixture
def bridge(connect: Connect) -> Bridge:
    """Connect to Sentry, every trace sampled."""
    return connect()
