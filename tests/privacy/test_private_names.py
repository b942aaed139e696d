"""Every private name of another package that `brain_otel/privacy` depends on, and what happens without it."""

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from brain_otel.traces.conventions import raw_attributes
from tests.support import ROOT
from tests.support.private_names import PrivateName, used_private_names
from tests.support.secretive import run_secretive
from tests.support.tiers import quick_first


def _raw(name: str) -> PrivateName:
    return PrivateName(
        name=name,
        used_in=("brain_otel/traces/conventions.py",),
        purpose="reads attributes without the two views that the public property puts around them",
        pinned_by="tests/privacy/test_private_names.py::test_raw_attributes_are_the_attributes",
    )


PRIVATE_NAMES = (
    _raw("opentelemetry.sdk.trace.ReadableSpan._attributes"),
    _raw("opentelemetry.attributes.BoundedAttributes._dict"),
    PrivateName(
        name="opentelemetry.sdk.trace.SpanProcessor._on_ending",
        used_in=("brain_otel/privacy/processors.py", "brain_otel/destinations/isolation.py"),
        purpose="passes the specification's OnEnding on to the processor of a destination",
        pinned_by="tests/destinations/test_otel_components.py::test_on_ending_reaches_processors",
    ),
)


def test_raw_attributes_are_the_attributes() -> None:
    """`_attributes` of a span is a `BoundedAttributes`, whose `_dict` is a plain dict."""
    span: Any = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("a", attributes={"a": 1})
    span.end()
    assert type(span._attributes) is BoundedAttributes
    assert type(raw_attributes(span)) is dict
    assert raw_attributes(span) == dict(span.attributes) == {"a": 1}


@pytest.mark.parametrize("each", quick_first(PRIVATE_NAMES), ids=lambda each: each.identifier)
def test_everything_arrives_masked_without_the_name(each: PrivateName, tmp_path: Path) -> None:
    """At each destination, with nothing lost."""
    assert each.exists()
    sent = run_secretive(tmp_path, [each])
    assert sent.leaks() == []
    assert sent.missing() == set()


def test_a_mask_depends_on_no_private_attribute_of_a_span(tmp_path: Path) -> None:
    """All of them are renamed at once, and everything arrives masked."""
    slots = vars(ReadableSpan("a")).keys()
    assert {"_name", "_attributes", "_events", "_links", "_status", "_resource"} <= slots
    names = [
        PrivateName(name=f"opentelemetry.sdk.trace.ReadableSpan.{name}", used_in=(), purpose="", pinned_by="")
        for name in slots
    ]
    sent = run_secretive(tmp_path, names)
    assert sent.leaks() == []
    assert sent.missing() == set()


def test_every_private_name_that_privacy_uses_is_in_the_table() -> None:
    """Each with the file that uses it."""
    listed = {(str(ROOT / file), each.identifier) for each in PRIVATE_NAMES for file in each.used_in}
    assert used_private_names(ROOT / "brain_otel" / "privacy") - listed == set()
