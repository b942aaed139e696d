"""A stream of a language model that ends before its end: what the span says, and what the application sees."""

import asyncio
import inspect
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util.genai import invocation, stream
from opentelemetry.util.genai.handler import TelemetryHandler

from brain_otel.instrumentation.others.model_streams import shield_invocations, shield_streams
from brain_otel.runtime.patch import Patches
from tests.instrumentation.others.test_llm import run_script
from tests.support import ROOT
from tests.support.tiers import thorough

SCRIPT = ROOT / "tests" / "apps" / "llm_streams.py"
METHODS = ROOT / "tests" / "apps" / "llm_methods.py"

CLIENT: dict[str, Any] = {"__name__": "openai._streaming"}
exec("def fail(): raise ConnectionError('cut')", CLIENT)


class Chunks(stream.SyncStreamWrapper[str]):
    """Contrib's wrapper around the chunks of a call."""

    def __init__(self, chunks: Any, call: Any) -> None:
        super().__init__(chunks, invocation=call)
        self._self_call = call

    def _process_chunk(self, chunk: str) -> None:
        pass

    def _on_stream_end(self) -> None:
        self._self_call.stop()

    def _on_stream_error(self, error: BaseException) -> None:
        self._self_call.fail(error)


class Source:
    """What a client gives: chunks, and a function of its own that reads them too."""

    response = None

    def __init__(self) -> None:
        self.chunks = iter(["a", "b"])

    def __iter__(self) -> Iterator[str]:
        return self.chunks

    def close(self) -> None:
        self.chunks = iter(())

    text = staticmethod(CLIENT["fail"])


class OwnError(Exception):
    """An error of the application."""


def leave(chunks: Any) -> None:
    next(chunks)


def raise_own(chunks: Any) -> None:
    with chunks:
        raise OwnError


def close_generator(chunks: Any) -> None:
    def read() -> Iterator[str]:
        with chunks:
            yield from chunks

    reading: Any = read()
    next(reading)
    reading.close()


def cancel(chunks: Any) -> None:
    with chunks:
        raise asyncio.CancelledError


def read_past(chunks: Any) -> None:
    """Past contrib's wrapper, as `text_stream` of Anthropic's."""
    with chunks as entered:
        entered.text()


@pytest.mark.parametrize(
    ("end", "error"),
    [(leave, None), (raise_own, None), (close_generator, None), (cancel, None), (read_past, "ConnectionError")],
)
def test_only_an_error_of_the_call_is_one_of_its_span(end: Any, error: str | None) -> None:
    exporter, provider, patches = InMemorySpanExporter(), TracerProvider(), Patches()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    shield_streams(stream, patches)
    shield_invocations(invocation, patches)
    try:
        before = otel_context.get_current()
        chunks = [Chunks(Source(), TelemetryHandler(tracer_provider=provider).inference("openai", request_model="m"))]
        assert otel_context.get_current() is before
        with suppress(OwnError, ConnectionError, asyncio.CancelledError):
            end(chunks.pop())
        (span,) = exporter.get_finished_spans()
        assert span.attributes is not None
        assert span.attributes.get("error.type") == error
        assert span.status.is_ok is (error is None)
    finally:
        patches.undo()


def test_contrib_reads_a_stream_through_this_method() -> None:
    """With a function of no arguments that reads one chunk."""
    for kind in (stream.SyncStreamWrapper, stream.AsyncStreamWrapper):
        assert list(inspect.signature(kind._advance).parameters) == ["self", "read"]
    assert asyncio.iscoroutinefunction(stream.AsyncStreamWrapper._advance)


def test_contrib_has_what_is_replaced() -> None:
    """A proxy gets the response and the call first, and has one way to fail; answers are described here."""
    # Both import their client, 3,700 modules, which no other test needs.
    from opentelemetry.instrumentation.genai.anthropic import _raw_response
    from opentelemetry.instrumentation.genai.openai import patch as openai_calls

    assert [*inspect.signature(_raw_response.RawResponseProxy.__init__).parameters][1:3] == [
        "raw_response",
        "invocation",
    ]
    assert [*inspect.signature(_raw_response.RawResponseProxy._fail).parameters] == ["self", "error"]
    described = inspect.signature(openai_calls._set_response_properties).parameters
    assert [*described] == ["chat_invocation", "result", "capture_content"]


@thorough
def test_the_clients_streams_end_once_with_what_is_true(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each ends while the application looks, which sees what it sees without telemetry."""
    run = run_script(SCRIPT, tmp_path_factory.mktemp("llm"))
    result = json.loads(next(each for each in run.outcome.output.splitlines() if each.startswith("{")))
    assert (result["different"], result["late"]) == ({}, [])
    assert len(result["cases"]) == len(run.outcome.transactions) > 100
    # asyncio logs that it closes both of a client's generators that nobody has closed, with and without telemetry.
    assert [each for each in run.outcome.events if each.get("logger") != "asyncio"] == []
    for case in result["cases"]:
        span = run.chat(case)
        is_failed = case.endswith((" cut", " failing"))
        assert (span["status"] == "ok", "error.type" in span["data"]) == (not is_failed, is_failed), case
        assert span["data"].get("gen_ai.response.finish_reasons") == (["stop"] if case.endswith("whole") else None)
        tokens = span["data"].get("gen_ai.usage.output_tokens")
        assert tokens in ((7,) if case.endswith("whole") else (None, 1)), case  # Anthropic's first event says 1


UNREAD = ("raw_stream_lines", "streaming_lines", "streaming_unread", "streaming_own", "streaming_lines_async")
"""Ways past contrib, which has seen no answer."""


@thorough
def test_each_method_of_the_clients_is_one_span_or_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = run_script(METHODS, tmp_path_factory.mktemp("llm"))
    (printed,) = run.outcome.output.splitlines()  # no warning of a coroutine that contrib has not awaited
    result = json.loads(printed)
    assert result["different"] == {}
    assert len(result["cases"]) == len(run.outcome.transactions) > 60
    assert run.outcome.events == []
    for case in result["cases"]:
        models = [each for each in run.outcome.spans(case) if each["op"] != "http.client"]
        assert len(run.outcome.spans(case)) == len(models) + 1, case
        if case.endswith(("count", "moderation")):
            assert models == []
            continue
        (span,) = models
        assert (span["op"], span["status"], "error.type" in span["data"]) == ("gen_ai.chat", "ok", False), case
        assert span["data"]["gen_ai.request.model"] == ("claude-5" if "messages" in case else "gpt-5")
        if not case.endswith(UNREAD) and (" streaming" not in case or "messages" in case):
            assert span["data"]["gen_ai.response.finish_reasons"] == ["stop"], case
            assert span["data"]["gen_ai.usage.total_tokens"] == 18, case
