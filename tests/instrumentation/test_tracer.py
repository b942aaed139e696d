"""Tests of the SDK's tracer when its spans start without asking and checking: they are the same, field by field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, Tracer
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind

from brain_otel.instrumentation.fast_span import FastSpan
from brain_otel.instrumentation.tracer import patch_tracer
from brain_otel.runtime.fast_paths import configure_fast_paths
from brain_otel.runtime.patch import Patches
from brain_otel.sampling.context import suppressed
from brain_otel.sampling.head import HeadSampler
from tests.instrumentation.test_fast_span import ATTRIBUTES, REMOTE, Bench, Odd, Unusual, described, inside, use


@pytest.fixture(autouse=True)
def patches(_fast_paths: None) -> Iterator[Patches]:
    """Patch the tracer, whatever the environment says of fast paths."""
    configure_fast_paths(True)
    patches = Patches()
    patch_tracer(patches)
    yield patches
    patches.undo()


FAST: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no attributes": {"attributes": None},
    "an empty dict": {"attributes": {}, "links": None},
    "plain attributes": {"attributes": ATTRIBUTES, "links": []},
    "a kind": {"kind": SpanKind.PRODUCER},
}

SLOW: dict[str, dict[str, Any]] = {
    "links": {"links": [Link(REMOTE)]},
    "a start time": {"start_time": 7},
    "exceptions are not recorded": {"record_exception": False},
    "exceptions set no status": {"set_status_on_exception": False},
    "an empty key": {"attributes": {"": "a", "b": 1}},
    "a key that is no text": {"attributes": {1: "a"}},
    "a key of a class": {"attributes": {Odd("a"): "a"}},
    "a mapping": {"attributes": MappingProxyType({"a": 1})},
    "pairs": {"attributes": ATTRIBUTES.items()},
    "a list as value": {"attributes": {"a": ["b"]}},
    "no value": {"attributes": {"a": None}},
    "an object as value": {"attributes": {"a": object()}},
}


def by_the_patch(patches: Patches, bench: Bench, context: Context, options: dict[str, Any]) -> Any:
    return start(bench, context, options)


def by_the_original(patches: Patches, bench: Bench, context: Context, options: dict[str, Any]) -> Any:
    patches.undo()
    try:
        return start(bench, context, options)
    finally:
        patch_tracer(patches)


def start(bench: Bench, context: Context, options: dict[str, Any]) -> Any:
    """Start a span in the current context, which is what applications do."""
    token = otel_context.attach(context)
    try:
        return bench.tracer.start_span("step", **options)
    except Exception as error:  # what the SDK raises for what it cannot take
        return error
    finally:
        otel_context.detach(token)


def compare(patches: Patches, options: dict[str, Any], make: Callable[[], Bench] = Bench) -> Any:
    """Start, use and end a span in both ways; they and what processors hear are equal. Returns the patched one."""
    benches = [make(), make()]
    ways = (by_the_patch, by_the_original)
    spans = [way(patches, bench, inside(bench), options) for way, bench in zip(ways, benches, strict=True)]
    if not isinstance(spans[0], Exception):
        ours, theirs = map(described, spans)
        assert ours == theirs
        for span in spans:
            use(span)
        ours, theirs = (described(bench.heard.ended[-1]) for bench in benches)
        assert ours == theirs
    else:
        assert repr(spans[0]) == repr(spans[1])
    assert benches[0].heard.told == benches[1].heard.told
    return spans[0]


@pytest.mark.parametrize("name", FAST)
def test_a_usual_span_is_what_the_sdk_would_have_made(patches: Patches, name: str) -> None:
    assert type(compare(patches, FAST[name])) is FastSpan
    limits = SpanLimits(max_span_attributes=4, max_events=2, max_links=1)
    assert type(compare(patches, FAST[name], lambda: Bench(limits=limits))) is FastSpan


@pytest.mark.parametrize("name", SLOW)
def test_whatever_is_unusual_is_left_to_the_sdk(patches: Patches, name: str) -> None:
    assert type(compare(patches, SLOW[name])) is not FastSpan


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bench(ParentBased(ALWAYS_ON)),
        lambda: Bench(HeadSampler(Unusual())),
        lambda: Bench(limits=SpanLimits(max_span_attribute_length=1)),
        lambda: Bench(limits=SpanLimits(max_span_attributes=3)),
    ],
    ids=["another sampler", "a sampler that is asked for each span", "values are cut", "more than may be"],
)
def test_a_tracer_that_is_unusual_makes_its_spans_itself(patches: Patches, make: Callable[[], Bench]) -> None:
    assert type(compare(patches, FAST["plain attributes"], make)) is not FastSpan


def test_a_span_takes_the_context_that_it_is_given(patches: Patches) -> None:
    """Its parent is in there, and processors get it; without one they get none, as from the SDK."""
    bench = Bench()
    context = inside(bench)
    span: Any = bench.tracer.start_span("step", context)
    assert type(span) is FastSpan
    assert span.parent == otel_trace.get_current_span(context).get_span_context()
    assert bench.heard.told[-1][1][2] == repr(context)
    assert type(bench.tracer.start_span("root", Context())) is not FastSpan


def test_a_span_keeps_no_dict_of_the_application(patches: Patches) -> None:
    bench, given = Bench(), {"a": 1}
    span = start(bench, inside(bench), {"attributes": given})
    span.set_attribute("b", 2)
    given["a"] = 9
    assert (dict(span.attributes), given) == ({"a": 1, "b": 2}, {"a": 9})


def test_nothing_is_recorded_that_the_sampler_drops(patches: Patches) -> None:
    """Below an unrecorded span, and within a health check."""
    dropping = Bench(HeadSampler(ParentBased(TraceIdRatioBased(0.0))))
    assert not start(dropping, inside(dropping), {}).is_recording()
    bench = Bench()
    context = inside(bench)
    with suppressed():
        assert not start(bench, context, {}).is_recording()


def test_the_tracer_is_the_sdks_again_when_the_patch_is_undone(patches: Patches) -> None:
    """Also for code that wrapped the patched method and keeps it."""
    replaced: Any = Tracer.start_span
    patches.undo()
    assert Tracer.start_span is replaced.__wrapped__
    bench = Bench()
    token = otel_context.attach(inside(bench))
    assert type(replaced(bench.tracer, "step")) is not FastSpan
    otel_context.detach(token)
