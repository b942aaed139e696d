"""Reads the answers to OpenTelemetry's gRPC exporters, which ignore them."""

from typing import Any

from brain_otel.delivery.otlp_answer import partial_success
from brain_otel.destinations.outage_log import report_partial_success
from brain_otel.runtime.guard import guarded


def reporting_partial_success(exporter: type) -> type:
    """A subclass of ``exporter`` that reports what the receiver did not accept."""
    if not hasattr(exporter, "_initialize_channel_and_stub"):  # a later release, whose answers are not read
        return exporter

    class Reporting(exporter):  # type: ignore[misc]  # a class of three kinds
        def _initialize_channel_and_stub(self) -> None:
            """Connect, as the exporter does at its start and after an outage, and look at each answer."""
            super()._initialize_channel_and_stub()
            client = self._client
            export = client.Export

            def reporting_export(*args: Any, **kwargs: Any) -> Any:
                answer = export(*args, **kwargs)
                with guarded("reading a collector's answer"):
                    report_partial_success(partial_success("", answer.SerializeToString()))
                return answer

            client.Export = reporting_export

    Reporting.__name__ = Reporting.__qualname__ = exporter.__name__  # its shutdown logs the name
    return Reporting
