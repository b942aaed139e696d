"""Reads the answers to OpenTelemetry's gRPC exporters, which ignore them."""

from typing import Any

from brain_otel.delivery.otlp_answer import partial_success
from brain_otel.destinations.outage_log import report_partial_success
from brain_otel.runtime.guard import guarded


def read_answers(exporter: Any) -> None:
    """Have ``exporter`` report what the receiver did not accept, now and after it has connected again."""
    if not (hasattr(exporter, "_stub") and hasattr(exporter, "_client")):
        return  # a later release, whose answers are not read
    create_client = exporter._stub
    exporter._stub = lambda channel: _reporting(create_client(channel))
    _reporting(exporter._client)


def _reporting(client: Any) -> Any:
    export = client.Export

    def reporting_export(*args: Any, **kwargs: Any) -> Any:
        answer = export(*args, **kwargs)
        with guarded("reading a collector's answer"):
            report_partial_success(partial_success("", answer.SerializeToString()))
        return answer

    client.Export = reporting_export
    return client
