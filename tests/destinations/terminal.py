"""A tracer whose local traces the console destination prints, and the printed text."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from brain_otel.configuration.options import Options
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.destination import create_destination
from brain_otel.events.listeners import configure_listeners, local_trace_entered
from brain_otel.runtime import guard
from brain_otel.traces.local_trace import LocalTrace

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from opentelemetry.trace import Span

    from brain_otel.destinations.destination import Destination

SETTINGS = Settings(environment="development", source="development.yaml", document={})
MS = 1_000_000


class Terminal:
    """A tracer whose local traces are printed, and what was printed on stderr."""

    def __init__(self, destination: Destination, capsys: pytest.CaptureFixture[str], **provider: Any) -> None:
        self._capsys = capsys
        self.destination = destination
        self.provider = TracerProvider(shutdown_on_exit=False, **provider)
        assert destination.span_processor is not None
        self.provider.add_span_processor(destination.span_processor)
        self.tracer = self.provider.get_tracer("test")

    @contextmanager
    def request(self, name: str = "GET /users/{user_id}", status: int = 200) -> Iterator[Span]:
        """A server span as the root of a local trace."""
        attributes: dict[str, Any] = {"http.request.method": "GET", "http.response.status_code": status}
        with (
            local_trace_entered(LocalTrace(kind="request")),
            self.tracer.start_as_current_span(name, kind=SpanKind.SERVER, attributes=attributes) as span,
        ):
            yield span

    def sql(self, statement: str, start: int = 0, milliseconds: float = 1.0) -> None:
        """A database span that took so long, in the stable conventions."""
        attributes = {"db.system.name": "postgresql", "db.query.text": statement}
        span = self.tracer.start_span("SELECT", kind=SpanKind.CLIENT, attributes=attributes, start_time=start)
        span.end(start + int(milliseconds * MS))

    def printed(self) -> str:
        """What was printed up to now; stdout has nothing."""
        assert self.destination.flush(5.0)
        captured = self._capsys.readouterr()
        assert captured.out == ""
        return captured.err


@contextmanager
def terminal(capsys: pytest.CaptureFixture[str], options: Any = None, **provider: Any) -> Iterator[Terminal]:
    destination = create_destination(Options(options, name="console"), SETTINGS)
    assert destination is not None
    assert destination.listener is not None
    configure_listeners((destination.listener,))
    guard.reraise_failures(True)
    try:
        yield Terminal(destination, capsys, **provider)
    finally:
        guard.reraise_failures(False)
        configure_listeners(())
        destination.shutdown(5.0)
