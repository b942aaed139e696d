"""Keeps what the span of a client says about its server, for spans that are not recorded too.

OpenTelemetry gives the attributes of an unrecorded span to the sampler alone. Whether a server gets trace headers
must not depend on the sampling decision.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from brain_otel.sampling.decision import DecisionState, decision_of_state
from brain_otel.sampling.head import HeadSampler

SERVER_NAMES = frozenset(
    {"url.full", "http.url", "url.scheme", "server.address", "server.port", "net.peer.name", "net.peer.port"}
)
"""Attributes that name the server of a call, in the stable conventions of OpenTelemetry and in the old ones."""

Call = Mapping[str, Any]
"""The attributes that name a call's server; empty if none does."""


class ClientCallSampler(HeadSampler):
    """Decides as :class:`HeadSampler` does, and puts the server of a client's span on its trace state."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The decision for the trace."""
        result = super().should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if kind is not SpanKind.CLIENT:
            return result
        given = result.trace_state
        state = DecisionState(decision_of_state(given), list(given.items()) if given else None)
        state.call = {key: value for key, value in (attributes or {}).items() if key in SERVER_NAMES}
        return SamplingResult(result.decision, result.attributes, state)


def call_of(span: SpanContext) -> Call | None:
    """What ``span`` says about its server; None if it is not the span of a client."""
    state = span.trace_state
    return state.call if type(state) is DecisionState else None
