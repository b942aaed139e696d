"""A user's feedback as Sentry takes it."""

import sentry_sdk

import brain_otel
from brain_otel.configuration.hooks import Hooks, configure_hooks
from tests.sentry.conftest import Bridge, Connect
from tests.sentry.test_spotlight import Spotlight
from tests.support.relay import assert_accepted


def test_feedback_is_an_item_of_its_own(bridge: Bridge) -> None:
    """Not an error; with the user's words, name and address. The application's filter of errors does not see it."""
    configure_hooks(Hooks(before_send=lambda _event, _hint: None))
    feedback_id = brain_otel.capture_feedback("Too slow; my password=hunter2", name="Ann", email="ann@shop.example")
    configure_hooks(Hooks())
    bridge.flush()
    bridge.ingest.wait_for(lambda it: len(it.items("feedback")) == 1)
    (item,) = bridge.ingest.items("feedback")
    assert bridge.ingest.events == []
    event = item.json
    assert (event["event_id"], event["type"], event["level"]) == (feedback_id, "feedback", "info")
    assert event["contexts"]["feedback"] == {
        "message": "Too slow; my password=[Filtered]",
        "name": "Ann",
        "contact_email": "ann@shop.example",
    }
    assert (event["environment"], event["release"]) == ("test", "shop@1")
    assert len(event["contexts"]["trace"]["trace_id"]) == 32
    assert_accepted(event)


def test_feedback_that_is_lost_is_counted_as_feedback(bridge: Bridge) -> None:
    """And a rate limit of feedback holds."""
    answers = iter([(429, {"X-Sentry-Rate-Limits": "60:feedback:organization"})])
    bridge.ingest.respond = lambda: next(answers, (200, {}))
    for _ in range(2):
        brain_otel.capture_feedback("good")
    bridge.flush()
    brain_otel.capture_message("an error passes")
    bridge.flush()
    bridge.ingest.wait_for(lambda it: len(it.events) == 1 and bool(it.client_reports))
    counts = [each for report in bridge.ingest.client_reports for each in report["discarded_events"]]
    assert sum(each["quantity"] for each in counts if each["category"] == "feedback") == 2
    assert len(bridge.ingest.items("feedback")) == 1


def test_spotlight_gets_feedback(connect: Connect) -> None:
    """With the same type."""
    with Spotlight() as spotlight:
        bridge = connect(spotlight=spotlight.url, dsn=None)
        brain_otel.capture_feedback("good")
        bridge.flush()
        assert [each["contexts"]["feedback"]["message"] for each in spotlight.payloads("feedback")] == ["good"]


def test_sentry_sdks_own_feedback_goes_the_same_way(bridge: Bridge) -> None:
    """An event of this type that the application captures."""
    sentry_sdk.capture_event({"type": "feedback", "contexts": {"feedback": {"message": "own"}}})  # type: ignore[typeddict-item]
    bridge.flush()
    bridge.ingest.wait_for(lambda it: len(it.items("feedback")) == 1)
