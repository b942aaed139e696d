"""Tests that gRPC's answers are read, also after a reconnection."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from brain_otel.destinations.otlp.grpc_answers import read_answers
from tests.destinations.service import make_spans, options, traced
from tests.support.otlp import OtlpReceiver


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver(grpc=True) as running:
        yield running


def rejecting(count: int, message: str = "too old") -> bytes:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = count
    response.partial_success.error_message = message
    return bytes(response.SerializeToString())


def test_rejected_spans_are_seen_after_a_reconnection(
    receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The exporter makes a new channel when the collector was away."""
    answers = iter([503])
    receiver.respond = lambda: (next(answers, 200), {})
    receiver.answer = rejecting(2)
    with traced(options("otlp", endpoint=receiver.grpc_endpoint, protocol="grpc", timeout=8_000)) as (
        provider,
        (used,),
    ):
        make_spans(provider, 3)
        assert not used.flush(9.0)
        receiver.answer = None
        make_spans(provider, 1)
        assert used.flush(5.0)
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
    assert lines == ["otlp rejected a part of what it accepted: 2 spans (too old)"]


def test_an_exporter_of_another_release_is_used_unchanged() -> None:
    """Without what connects, answers are not read."""
    exporter = SimpleNamespace(export=len)
    read_answers(exporter)
    assert vars(exporter) == {"export": len}
