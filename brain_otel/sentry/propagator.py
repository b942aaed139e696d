"""Reads and writes Sentry's trace headers beside W3C's.

``sentry-trace`` and ``baggage`` follow https://develop.sentry.dev/sdk/telemetry/traces/. OpenTelemetry's own
propagator handles ``traceparent`` and must come first; the configuration puts this one last. It differs from the
class it derives from:

- It honours the caller's sampling decision. Upstream forces the sampled flag on.
- It writes headers for every valid span, recorded or not. Upstream needs its own span map.
- It keeps everyone's entries in ``baggage``. Upstream and ``W3CBaggagePropagator`` overwrite each other's.
- If ``traceparent`` and ``sentry-trace`` name two traces, ``traceparent`` wins, because it is the nearer hop. If they
  name one trace with two decisions, Sentry's holds for Sentry and the other for everyone else.
- A trace of another organization is not continued: the caller's span becomes a link. If the organization is unknown,
  the sampling context of another project stays out of our envelopes, but the trace is continued.
- Malformed headers start a new trace. They never raise.
"""

from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import CarrierT, Getter, Setter, default_getter, default_setter
from sentry_sdk.integrations.opentelemetry import SentryPropagator as UpstreamPropagator

from brain_otel.runtime.context import get_current
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module

if TYPE_CHECKING:
    from brain_otel.sentry import trace_headers
else:
    trace_headers = late_module("brain_otel.sentry.trace_headers")


class SentryPropagator(UpstreamPropagator):
    """Reads and writes ``sentry-trace`` and ``baggage``; replaces sentry-sdk's class.

    The first call loads :mod:`.trace_headers`; later ones go there directly.
    """

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """The context with the caller's span and sampling context; unchanged without Sentry's headers."""
        found = get_current() if context is None else context
        with guarded("reading trace headers"):
            self.extract = trace_headers.extract  # type: ignore[method-assign]
            return trace_headers.extract(carrier, found, getter)
        return found

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Write the headers for the current span of ``context``, if it is valid."""
        with guarded("writing trace headers"):
            self.inject = trace_headers.inject  # type: ignore[method-assign]
            trace_headers.inject(carrier, context, setter)
