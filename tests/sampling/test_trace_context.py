"""W3C's trace headers by level 2; `tests/service/test_trace_context.py` has W3C's own cases."""

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    format_span_id,
    format_trace_id,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.span import TraceState

from brain_otel.sampling.decision import SamplingDecision
from brain_otel.sampling.trace_context import (
    MAX_PARENT_LENGTH,
    MAX_STATE_LENGTH,
    LevelTwoState,
    TraceContextPropagator,
)
from tests.sampling.test_private_names import PRIVATE_NAMES
from tests.support import ROOT
from tests.support.private_names import run_renamed
from tests.support.process import run_python

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def caller(parents: list[str], states: list[str] | None = None) -> SpanContext:
    """The span that several headers of each name are read as."""
    carrier = {"traceparent": parents, "tracestate": states or []}
    context = TraceContextPropagator().extract(carrier, Context())
    return otel_trace.get_current_span(context).get_span_context()


@pytest.mark.parametrize(
    "span",
    [
        SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1)),
        SpanContext(2**128 - 1, 2**64 - 1, is_remote=True, trace_flags=TraceFlags(2)),
        SpanContext(
            1, 2, is_remote=False, trace_flags=TraceFlags(255), trace_state=TraceState([("a", "1"), ("b", "2")])
        ),
        SpanContext(0, 2, is_remote=False),
        INVALID_SPAN_CONTEXT,
    ],
    ids=["sampled", "longest", "state", "not valid", "no span"],
)
def test_the_headers_are_those_of_the_upstream_propagator(span: SpanContext) -> None:
    written: list[dict[str, str]] = [{}, {}]
    context = otel_trace.set_span_in_context(NonRecordingSpan(span), Context())
    for carrier, propagator in zip(written, (TraceContextPropagator(), TraceContextTextMapPropagator()), strict=True):
        propagator.inject(carrier, context)
    assert written[0] == written[1]
    assert bool(written[0]) is (span is not INVALID_SPAN_CONTEXT)


def test_a_header_names_the_caller() -> None:
    """Its ids, its flags, and that it is remote."""
    found = caller([PARENT], ["a=1"])
    assert (format_trace_id(found.trace_id), format_span_id(found.span_id)) == (TRACE, SPAN)
    assert (found.trace_flags, found.is_remote) == (1, True)
    assert found.trace_state.to_header() == "a=1"


@pytest.mark.parametrize(
    "parents",
    [
        [],
        [PARENT, PARENT],
        [PARENT, "x"],
        [f"{PARENT},{PARENT}"],
        [f"{PARENT}\n"],
        [f"{PARENT}-x"],
        [f"ff{PARENT[2:]}"],
    ],
)
def test_any_other_number_of_headers_and_any_malformed_one_names_nobody(parents: list[str]) -> None:
    """The context stays as it was."""
    context = otel_context.set_value("key", "value", Context())
    assert TraceContextPropagator().extract({"traceparent": parents}, context) is context


@pytest.mark.parametrize(("length", "is_read"), [(MAX_PARENT_LENGTH, True), (MAX_PARENT_LENGTH + 1, False)])
def test_a_long_traceparent_is_not_read(length: int, is_read: bool) -> None:
    """A later version may be longer than ours, up to a limit."""
    assert caller([f"01{PARENT[2:]}-".ljust(length, "x")]).is_valid is is_read


@pytest.mark.parametrize(
    ("states", "sent"),
    [
        (["a=1", "a=2", "b=3"], "a=1,b=3"),
        (["a@b@c=1", "9@=2"], "a@b@c=1,9@=2"),
        ([",".join(f"{number}=x" for number in range(32))], ",".join(f"{number}=x" for number in range(32))),
        ([",".join(f"{number}=x" for number in range(33))], ""),
        (["a=1", "A=2"], ""),
        (["a=1 2"], "a=1 2"),
        (["a=\xe9"], ""),
        (["a=1\n"], ""),
        ([f"a{number:02d}={'x' * 256}" for number in range(31)], None),
        ([" " * MAX_STATE_LENGTH, "a=1"], ""),
    ],
)
def test_a_trace_state_is_kept_or_dropped_as_a_whole(states: list[str], sent: str | None) -> None:
    """By level 2's grammar; of two members with one key the first stays."""
    expected = ",".join(states) if sent is None else sent
    assert caller([PARENT], states).trace_state.to_header() == expected


def test_a_trace_state_keeps_keys_of_level_2() -> None:
    """Where OpenTelemetry's own would drop them; the decision of a trace keeps them too."""
    entries = [("a@b@c", "1"), ("d", "2")]
    assert TraceState([("d", "2")])._dict == {"d": "2"}
    assert LevelTwoState(entries).to_header() == "a@b@c=1,d=2"
    decision = SamplingDecision(rand=0.5, rate=1.0, sampled=True, sentry=True, entries=entries)
    assert decision.state.to_header() == "a@b@c=1,d=2"


def test_a_trace_state_of_level_1_survives_a_renamed_field() -> None:
    """Then OpenTelemetry's constructor is used."""
    code = """
from brain_otel.sampling.trace_context import LevelTwoState
print(LevelTwoState([("a", "1"), ("b", "2")]).to_header())
"""
    done = run_python(run_renamed(PRIVATE_NAMES, code), pythonpath=[ROOT])
    assert done.stdout == "a=1,b=2\n", done.stderr
