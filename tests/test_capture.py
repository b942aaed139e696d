"""Each helper in Sentry, on the span, on the log record and in the context."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace as otel_trace

import brain_otel
from tests.support.process import run_python
from tests.support.relay import assert_accepted

if TYPE_CHECKING:
    from brain_otel.testing import Telemetry


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


def test_an_exception_is_an_event_a_span_event_and_a_log_record(telemetry: Telemetry) -> None:
    """`capture_exception` sends an error event, a span event and a log record, and changes no status."""
    with brain_otel.start_transaction("work"), brain_otel.start_span("step"):
        try:
            raise KeyError("k")
        except KeyError as error:
            event_id = brain_otel.capture_exception(error, mission_id="m1", agent_type="ops")
    (event,) = telemetry.events
    assert event["event_id"] == event_id
    assert event["contexts"]["extra"] == {"mission_id": "m1", "agent_type": "ops"}
    assert event["exception"]["values"][-1]["mechanism"] == {"type": "generic", "handled": True}
    step = next(span for span in telemetry.spans if span["name"] == "step")
    assert step["status"] == "unset"
    assert [each["name"] for each in step["events"]] == ["exception"]
    assert event["contexts"]["trace"]["span_id"] == step["span_id"]
    (log,) = telemetry.logs
    assert log["attributes"]["brain_otel.event_id"] == event_id
    assert log["attributes"]["exception.type"] == "KeyError"
    assert log["attributes"]["mission_id"] == "m1"
    assert_accepted(event)


def test_the_exception_being_handled_is_captured(telemetry: Telemetry) -> None:
    """Without an argument, `capture_exception` takes `sys.exc_info()`."""
    try:
        raise RuntimeError("now")
    except RuntimeError:
        assert brain_otel.capture_exception()
    assert telemetry.events[0]["exception"]["values"][-1]["value"] == "now"


def test_without_an_exception_nothing_is_captured(telemetry: Telemetry) -> None:
    """`capture_exception()` outside of an except block returns None."""
    assert brain_otel.capture_exception() is None
    assert telemetry.events == []


def test_an_exception_that_is_captured_twice_is_one_event(telemetry: Telemetry) -> None:
    """The second call for the same exception returns the first one's event id."""
    with brain_otel.start_transaction("work"):
        error = ValueError("once")
        first = brain_otel.capture_exception(error)
        assert brain_otel.capture_exception(error) == first
        with brain_otel.start_transaction("inner"):
            assert brain_otel.capture_exception(error) == first
    assert len(telemetry.events) == 1


@pytest.mark.parametrize(
    ("level", "expected", "severity"),
    [
        ("info", "info", "INFO"),
        ("WARNING", "warning", "WARN"),
        ("critical", "fatal", "FATAL"),
        ("nonsense", "info", "INFO"),
    ],
)
def test_a_message_has_its_level(telemetry: Telemetry, level: str, expected: str, severity: str) -> None:
    """`capture_message` sends a message event with the level, and emits a log record with the severity."""
    event_id = brain_otel.capture_message("Unusual activity", level=level, user_id="u1", ip_address="1.2.3.4")
    (event,) = telemetry.events
    assert (event["event_id"], event["message"], event["level"]) == (event_id, "Unusual activity", expected)
    assert event["contexts"]["extra"]["user_id"] == "u1"
    (log,) = telemetry.logs
    assert (log["body"], log["severity"]) == ("Unusual activity", severity)
    assert_accepted(event)


def test_the_user_is_on_the_root_and_on_later_spans(telemetry: Telemetry) -> None:
    """`set_user_context` sets the user in Sentry, and `user.*` on the local root, the current span and later ones."""
    with brain_otel.start_transaction("work"):
        with brain_otel.start_span("before"):
            pass
        with brain_otel.start_span("current"):
            brain_otel.set_user_context("u1", email="a@b", username="j", subscription_tier="premium")
        with brain_otel.start_span("later"):
            brain_otel.capture_message("hello")
    expected = {
        "user.id": "u1",
        "user.email": "a@b",
        "user.name": "j",
        "brain_otel.user.subscription_tier": "premium",
    }
    names = ("user.", "brain_otel.user.")
    found = {
        span["name"]: {key: value for key, value in span["attributes"].items() if key.startswith(names)}
        for span in telemetry.spans
    }
    assert found == {"before": {}, "current": expected, "later": expected, "work": expected}
    user = {"id": "u1", "email": "a@b", "username": "j", "subscription_tier": "premium"}
    assert telemetry.transactions[0]["user"] == user
    assert telemetry.events[0]["user"] == user


def test_tags_and_contexts_are_on_the_transaction_and_its_events(telemetry: Telemetry) -> None:
    """`set_tag` sets an attribute on root and current span; `set_context` sets `<name>.<key>` on the root."""
    with brain_otel.start_transaction("work"), brain_otel.start_span("step"):
        brain_otel.set_tag("agent", "ops")
        brain_otel.set_context("mission", {"id": 7, "nested": {"a": 1}})
        brain_otel.capture_message("hello")
    spans = {span["name"]: span["attributes"] for span in telemetry.spans}
    assert spans["work"]["agent"] == spans["step"]["agent"] == "ops"
    assert spans["work"]["mission.id"] == 7
    assert "mission.id" not in spans["step"]
    for event in (*telemetry.events, *telemetry.transactions):
        assert event["tags"]["agent"] == "ops"
        assert event["contexts"]["mission"] == {"id": 7, "nested": {"a": 1}}
        assert_accepted(event)


def test_a_breadcrumb_is_on_the_error_and_on_the_span(telemetry: Telemetry) -> None:
    """`add_breadcrumb` adds a breadcrumb to the event and a span event to the current span."""
    with brain_otel.start_transaction("work"):
        brain_otel.add_breadcrumb("Validating", category="validation")
        brain_otel.add_breadcrumb(message="Query", category="database", level="warning", data={"table": "missions"})
        brain_otel.capture_message("hello")
    crumbs = telemetry.events[0]["breadcrumbs"]["values"]
    assert [(crumb["message"], crumb["category"], crumb["level"]) for crumb in crumbs] == [
        ("Validating", "validation", "info"),
        ("Query", "database", "warning"),
    ]
    assert crumbs[1]["data"] == {"table": "missions"}
    (span,) = telemetry.spans
    assert [event["name"] for event in span["events"]] == ["brain_otel.breadcrumb"] * 2
    assert span["events"][1]["attributes"]["table"] == "missions"
    assert len(telemetry.transactions[0]["breadcrumbs"]["values"]) == 2


def test_unsampled_code_reports_errors_with_the_ids_it_propagates() -> None:
    """At sample rate 0 there is no transaction; an error has the trace id and the name."""
    from brain_otel.testing import captured_telemetry

    with captured_telemetry({"SENTRY_TRACES_SAMPLE_RATE": "0"}) as telemetry:
        with brain_otel.start_transaction("work") as transaction:
            brain_otel.capture_message("hello")
        assert telemetry.transactions == []
        (event,) = telemetry.events
        assert event["contexts"]["trace"]["trace_id"] == f"{transaction.get_span_context().trace_id:032x}"
        assert event["transaction"] == "work"


def test_helpers_work_in_a_thread_without_any_context(telemetry: Telemetry) -> None:
    """Outside of every trace they do what they can."""
    ids: list[str | None] = []
    thread = threading.Thread(target=lambda: ids.append(brain_otel.capture_message("from a thread")))
    thread.start()
    thread.join()
    assert [event["event_id"] for event in telemetry.events] == ids


@pytest.mark.parametrize(
    "value", [Unprintable(), object(), b"bytes", {1: Unprintable()}, [1, "a"], None, float("nan")]
)
def test_no_value_makes_a_helper_raise(telemetry: Telemetry, value: Any) -> None:
    """The helpers return, whatever an application passes."""
    with brain_otel.start_transaction("work", attribute=value) as transaction:
        transaction.set_tag("tag", value)
        transaction.set_data("data", value)
        brain_otel.set_tag("tag", value)
        brain_otel.set_context("context", {"value": value})
        brain_otel.set_user_context(user_id="u", extra=value)
        brain_otel.add_breadcrumb("crumb", data={"value": value})
        brain_otel.capture_message("message", value=value)
        brain_otel.capture_exception(ValueError("error"), value=value)
    assert len(telemetry.events) == 2
    assert len(telemetry.transactions) == 1


def test_helpers_work_before_setup_and_after_shutdown() -> None:
    """In a process of its own, every helper, before, between and after."""
    code = """
import brain_otel
def use():
    with brain_otel.start_transaction("t") as t, brain_otel.start_span("s") as s:
        t.set_tag("a", 1); s.set_data("b", 2); s.set_status("ok"); s.set_http_status(200)
        brain_otel.set_tag("a", 1); brain_otel.set_context("c", {"a": 1}); brain_otel.set_user_context(user_id="u")
        brain_otel.add_breadcrumb("m"); assert brain_otel.capture_message("m")
        assert brain_otel.capture_exception(ValueError("v"))
use()
brain_otel.setup(environment="test")
use()
assert brain_otel.flush() and brain_otel.shutdown()
use()
brain_otel.setup()
use()
print("done")
"""
    result = run_python(code)
    assert result.stdout.strip().endswith("done"), result.stderr
    assert "brain_otel failed" not in result.stderr


def test_the_current_span_may_be_any_span(telemetry: Telemetry) -> None:
    """Helpers also write on spans that OpenTelemetry's API started."""
    with otel_trace.get_tracer("app").start_as_current_span("plain"):
        brain_otel.set_tag("a", "b")
        brain_otel.add_breadcrumb("crumb")
        brain_otel.capture_message("hello")
    (span,) = telemetry.spans
    assert span["attributes"]["a"] == "b"
    assert telemetry.events[0]["contexts"]["trace"]["trace_id"] == span["trace_id"]
    assert telemetry.transactions[0]["transaction"] == "plain"


LOG_LINES = {
    "in the text": lambda event_id: logging.getLogger("app").error(f"failed: {event_id}"),
    "as an argument": lambda event_id: logging.getLogger("app").error("failed, Sentry has it as %s", event_id),
    "in a word": lambda event_id: logging.getLogger("app").critical(f"event_id={event_id}, see Sentry"),
    "with the exception": lambda event_id: logging.getLogger("app").exception(f"failed: {event_id}"),
}


@pytest.mark.parametrize("place", ["in a transaction", "outside"])
@pytest.mark.parametrize("line", LOG_LINES)
def test_a_log_line_about_a_reported_error_is_no_second_event(telemetry: Telemetry, line: str, place: str) -> None:
    """The id of its event says so; the line is still a log record, and a breadcrumb of what follows."""
    with brain_otel.start_transaction("work") if place == "in a transaction" else contextlib.nullcontext():
        try:
            raise ValueError("declined")
        except ValueError as error:
            event_id = brain_otel.capture_exception(error)
            LOG_LINES[line](event_id)
        brain_otel.capture_message("later")
    first, later = telemetry.events
    assert first["event_id"] == event_id
    assert later["message"] == "later"
    assert [crumb["category"] for crumb in later["breadcrumbs"]["values"]] == ["app"]
    assert len(telemetry.logs) == 3


def test_a_log_line_about_a_reported_message_is_no_second_event(telemetry: Telemetry) -> None:
    """As for an error."""
    event_id = brain_otel.capture_message("odd", level="error")
    logging.getLogger("app").error("told Sentry: %s", event_id)
    assert [event["event_id"] for event in telemetry.events] == [event_id]


@pytest.mark.parametrize("text", ["failed", f"failed: {'a' * 32}", "failed: {0}0", "failed: 0{0}", "failed: {1}"])
def test_a_log_line_about_something_else_is_an_event(telemetry: Telemetry, text: str) -> None:
    """Without an id, with another one, with one that is part of a longer number, or of an earlier request."""
    with brain_otel.start_transaction("earlier"):
        earlier = brain_otel.capture_exception(KeyError("k"))
    with brain_otel.start_transaction("work"):
        event_id = brain_otel.capture_exception(ValueError("declined"))
        logging.getLogger("app").error(text.format(event_id, earlier))
    assert len(telemetry.events) == 3


def test_a_log_line_about_any_error_of_its_request_is_no_second_event(telemetry: Telemetry) -> None:
    """Also if another one was reported in between."""
    with brain_otel.start_transaction("work"):
        first = brain_otel.capture_exception(ValueError("first"))
        second = brain_otel.capture_exception(KeyError("second"))
        logging.getLogger("app").error("failed: %s", first)
    assert [event["event_id"] for event in telemetry.events] == [first, second]


def test_feedback_is_an_event_and_a_log_record(telemetry: Telemetry) -> None:
    """About an event, in its trace; with the same id."""
    with brain_otel.start_transaction("work"):
        about = brain_otel.capture_message("it failed", "error")
        feedback_id = brain_otel.capture_feedback("It failed again!", about, name="Ann", email="ann@shop.example")
    (feedback,) = telemetry.feedback
    assert feedback["event_id"] == feedback_id
    assert feedback["contexts"]["feedback"] == {
        "message": "It failed again!",
        "associated_event_id": about,
        "name": "Ann",
        "contact_email": "ann@shop.example",
    }
    assert feedback["contexts"]["trace"]["trace_id"] == telemetry.events[0]["contexts"]["trace"]["trace_id"]
    log = telemetry.logs[-1]
    assert (log["body"], log["severity"], log["trace_id"]) == (
        "It failed again!",
        "INFO",
        feedback["contexts"]["trace"]["trace_id"],
    )
    assert log["attributes"] == {
        "brain_otel.event_id": feedback_id,
        "brain_otel.feedback.event_id": about,
        "user.full_name": "Ann",
        "user.email": "ann@shop.example",
    }
    assert_accepted(feedback)


@pytest.mark.parametrize("words", ["", "  \n", None])
def test_feedback_without_words_is_none(telemetry: Telemetry, words: Any) -> None:
    """Nothing is sent."""
    assert brain_otel.capture_feedback(words) is None
    assert (telemetry.feedback, telemetry.logs) == ([], [])


def test_feedback_is_bounded_and_masked(telemetry: Telemetry) -> None:
    """Long words, names and addresses are cut; an id that is none is left out; no argument raises."""
    brain_otel.capture_feedback("word " * 10_000, "not an id", name="n" * 10_000, email="e" * 10_000)
    brain_otel.capture_feedback(Unprintable(), 7, name=Unprintable(), email=3)  # type: ignore[arg-type]
    brain_otel.capture_feedback("my password=hunter2hunter2", "0AF76519-16cd-43dd-8448-eb211c80319c")
    long, odd, private = (each["contexts"]["feedback"] for each in telemetry.feedback)
    assert len(long["message"]) < 4_200
    assert max(len(long["name"]), len(long["contact_email"])) < 260
    assert "associated_event_id" not in long
    assert "associated_event_id" not in odd
    assert private["associated_event_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "hunter2" not in private["message"]
    for each in telemetry.feedback:
        assert_accepted(each)
    telemetry.assert_private("hunter2hunter2")


def test_a_measurement_is_sentrys_and_an_attribute_of_the_root(telemetry: Telemetry) -> None:
    """Of the innermost transaction, from a span, a thread and a task; the latest value of a name counts."""
    with brain_otel.start_transaction("outer"):
        brain_otel.measurement("rows_read", 3)
        with brain_otel.start_transaction("inner"), brain_otel.start_span("step"):
            brain_otel.measurement("rows_read", 7)
            thread = threading.Thread(target=brain_otel.measurement, args=("wait", 1.5, "millisecond"))
            thread.start()
            thread.join()
            brain_otel.measurement("tokens", 12, "token")
            brain_otel.measurement("wait", 2.5, "millisecond")
    inner, outer = telemetry.transactions
    assert inner["measurements"] == {
        "rows_read": {"value": 7.0, "unit": "none"},
        "wait": {"value": 2.5, "unit": "millisecond"},
        "tokens": {"value": 12.0, "unit": "token"},
    }
    assert outer["measurements"] == {"rows_read": {"value": 3.0, "unit": "none"}}
    assert telemetry.measurements["wait"] == {"value": 2.5, "unit": "millisecond"}
    spans = {each["name"]: each["attributes"] for each in telemetry.spans}
    assert spans["inner"]["brain_otel.measurement.wait"] == 2.5
    assert spans["inner"]["brain_otel.measurement.wait.unit"] == "millisecond"
    assert spans["outer"]["brain_otel.measurement.rows_read"] == 3.0
    assert not [name for name in spans["step"] if "measurement" in name]
    assert_accepted(inner)


def test_measurements_are_bounded_and_numbers(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """Anything else is not recorded, and one log line says so."""
    with brain_otel.start_transaction("work"):
        for value in (float("nan"), float("inf"), 10**400, "7", None, object()):
            brain_otel.measurement("wrong", value)  # type: ignore[arg-type]
        for number in range(150):
            brain_otel.measurement(f"m{number}", number)
        brain_otel.measurement("m0", 5)
        brain_otel.measurement(Unprintable(), 1, Unprintable())  # type: ignore[arg-type]
    (event,) = telemetry.transactions
    assert len(event["measurements"]) == 100
    assert event["measurements"]["m0"]["value"] == 5.0
    assert "Measurements that are no finite numbers, or too many, are not recorded" in caplog.text
    brain_otel.measurement("outside", 1)
