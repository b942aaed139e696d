"""Tests of masked spans: what upstream may change, and what an application may put into a span."""

import logging
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from brain_otel.privacy import FILTERED
from brain_otel.privacy.spans import MaskedSpan
from brain_otel.runtime.guard import forget_logged_places

SECRET = "hunter2"
CONTEXT = SpanContext(1, 2, False, TraceFlags(1))


def secretive_span(**more: Any) -> ReadableSpan:
    """A span with the secret in each of its parts."""
    given: dict[str, Any] = {
        "name": f"work password={SECRET}",
        "context": CONTEXT,
        "parent": SpanContext(1, 3, False, TraceFlags(1)),
        "resource": Resource({"tenant.api_key": SECRET, "service.name": "shop"}),
        "attributes": {"api_key": SECRET, "kept": 1},
        "events": [Event(f"event password={SECRET}", {"token": SECRET}, 5)],
        "links": [Link(CONTEXT, {"token": SECRET})],
        "kind": SpanKind.CLIENT,
        "status": Status(StatusCode.ERROR, f"password={SECRET}"),
        "start_time": 1,
        "end_time": 9,
        "instrumentation_scope": InstrumentationScope("scope", "1"),
    }
    return ReadableSpan(**given | more)


def test_no_part_of_a_masked_span_holds_the_secret() -> None:
    """Neither a public property nor a private attribute of the SDK's, nor its JSON; and the rest is all there."""
    span, masked = secretive_span(), MaskedSpan(secretive_span())
    assert SECRET in span.to_json()
    for name in vars(span):
        assert SECRET not in repr(getattr(masked, name)), name
    for name in dir(ReadableSpan):
        if not name.startswith("_") and name not in ("get_span_context", "instrumentation_info", "to_json"):
            assert SECRET not in repr(getattr(masked, name)), name
    assert SECRET not in masked.to_json()
    assert masked.name == f"work password={FILTERED}"
    assert masked.status.description == f"password={FILTERED}"
    assert masked.attributes == {"api_key": FILTERED, "kept": 1}
    assert masked.resource.attributes == {"tenant.api_key": FILTERED, "service.name": "shop"}
    assert [(each.name, each.attributes) for each in masked.events] == [
        (f"event password={FILTERED}", {"token": FILTERED})
    ]
    assert [dict(each.attributes or {}) for each in masked.links] == [{"token": FILTERED}]
    assert (masked.get_span_context(), masked.context, masked.kind) == (CONTEXT, CONTEXT, SpanKind.CLIENT)
    assert (masked.parent, masked.start_time, masked.end_time) == (span.parent, 1, 9)


STATE = TraceState([("shop", f"token:{SECRET}"), ("api-key", SECRET), ("kept", "7")])
IN_STATE = SpanContext(1, 2, False, TraceFlags(1), STATE)


@pytest.mark.parametrize(
    "part",
    [{"context": IN_STATE}, {"parent": IN_STATE}, {"links": [Link(IN_STATE, {})]}],
    ids=lambda part: next(iter(part)),
)
def test_a_trace_state_is_masked(part: dict[str, Any]) -> None:
    """A caller may have written anything into it; the ids and the flags stay."""
    masked = MaskedSpan(secretive_span(**part))
    contexts = [masked.context, masked.get_span_context(), masked.parent, *(link.context for link in masked.links)]
    states = [dict(each.trace_state) for each in contexts if each is not None and each.trace_state]
    assert states
    assert all(each == {"shop": f"token:{FILTERED}", "api-key": FILTERED, "kept": "7"} for each in states)
    assert SECRET not in masked.to_json()
    assert all(each is not None and (each.trace_id, each.trace_flags) == (1, 1) for each in contexts)


@pytest.mark.parametrize(
    "scope",
    [
        InstrumentationScope(f"shop.token={SECRET}"),
        InstrumentationScope("shop", f"1+token={SECRET}"),
        InstrumentationScope("shop", "1", f"https://app:{SECRET}@shop.test/schema"),
        InstrumentationScope("shop", "1", None, {"api_key": SECRET}),
    ],
    ids=["name", "version", "schema", "attributes"],
)
def test_an_instrumentation_scope_is_masked(scope: InstrumentationScope) -> None:
    """A tracer's name is the application's choice, and a logger's is its scope's."""
    masked = MaskedSpan(secretive_span(instrumentation_scope=scope))
    assert masked.instrumentation_scope is not None
    assert SECRET not in masked.instrumentation_scope.to_json()
    assert FILTERED in masked.instrumentation_scope.to_json()
    assert masked.instrumentation_info is None


def test_a_scope_without_secrets_is_the_same_object() -> None:
    """Encoders group spans by it."""
    scope = InstrumentationScope("shop.auth", "1.2", "https://shop.test/1", {"kept": 1})
    assert MaskedSpan(secretive_span(instrumentation_scope=scope)).instrumentation_scope is scope


@pytest.mark.parametrize(
    "key", [f"token={SECRET}", f"https://app:{SECRET}@shop.test/", f'{{"password": "{SECRET}"}}']
)
def test_a_key_of_an_attribute_is_masked(key: str) -> None:
    """An application may count by anything; other keys stay."""
    attributes = {key: 1, "app.auth_mode": "basic", "http.request.header.accept": ("a",)}
    masked = MaskedSpan(secretive_span(attributes=attributes)).attributes
    assert SECRET not in str(masked)
    assert len(masked) == 3
    assert "http.request.header.accept" in masked


def test_every_public_member_of_a_span_is_masked_on_purpose() -> None:
    """A new one of upstream's shows nothing of the span until it is added to the masked span."""
    public = {name for name in vars(ReadableSpan) if not name.startswith("_")}
    assert public - vars(MaskedSpan).keys() == {"to_json"}


def test_a_member_that_upstream_adds_does_not_show_the_original() -> None:
    """A later SDK's spans may have a property and a private attribute that this package does not know."""

    class LaterSpan(ReadableSpan):
        def __init__(self, *, title: str, **given: Any) -> None:
            super().__init__(**given)
            self._title = title

    span = LaterSpan(title=SECRET, name="work")
    with pytest.raises(AttributeError):
        MaskedSpan(span)._title  # noqa: B018
    with pytest.raises(AttributeError):
        MaskedSpan(span).title  # noqa: B018


class OddAttributes(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize("part", ["attributes", "events", "links"])
def test_a_part_that_cannot_be_masked_is_left_out(part: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line says so, and the rest of the span is sent."""
    forget_logged_places()
    odd_name: Any = 7
    odd: dict[str, Any] = {
        "attributes": OddAttributes(api_key=SECRET),
        "events": [Event(odd_name, {}, 5)],
        "links": [Link(CONTEXT, OddAttributes(api_key=SECRET))],
    }
    for _ in range(2):
        masked = MaskedSpan(secretive_span(**{part: odd[part]}))
        assert not getattr(masked, part)
        assert SECRET not in masked.to_json()
        assert masked.name == f"work password={FILTERED}"
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(errors) == 1
    assert f"masking a span, which is sent without its {part}" in errors[0]
