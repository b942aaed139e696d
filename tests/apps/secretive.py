"""A program whose telemetry is full of one secret, its argument. It says on stdout how far it has come."""

import sys

import brain_otel

brain_otel.setup()
print("set up", flush=True)

from opentelemetry import metrics, trace  # noqa: E402
from opentelemetry.trace import Status, StatusCode  # noqa: E402

secret = sys.argv[1]
tracer = trace.get_tracer("shop")
with brain_otel.start_transaction(f"order password={secret}") as transaction:
    transaction.set_tag("api_key", secret)
    root = trace.get_current_span().get_span_context()
    with tracer.start_as_current_span(f"pay password={secret}", attributes={"api_key": secret, "shelf": 71}) as span:
        span.set_attribute("note", f"password={secret}")
        span.add_event(f"packed password={secret}", {"token": secret, "shelf": 72})
        span.add_link(root, {"token": secret, "shelf": 73})
        span.set_status(Status(StatusCode.ERROR, f"declined password={secret}"))
    brain_otel.add_breadcrumb(f"password={secret}")
    brain_otel.capture_message(f"told password={secret}", level="warning", token=secret)
    try:
        raise ValueError(f"failed password={secret}")
    except ValueError as error:
        brain_otel.capture_exception(error)
metrics.get_meter("shop").create_counter("orders").add(1)
print("worked", flush=True)
print("flushed:", brain_otel.flush(8.0), flush=True)
brain_otel.shutdown(5.0)
