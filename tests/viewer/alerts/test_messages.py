"""What receivers are sent."""

import json

from brain_otel.viewer.alerts.messages import post_of, signature
from brain_otel.viewer.alerts.rules import PagerDuty, Slack
from brain_otel.viewer.alerts.state import Occasion, new_message

OCCASION = Occasion("k", "<b>&" * 2_000, "/issues/1", {"service": "shop"})
MESSAGE = new_message("new <error>", "new_error", OCCASION, 1_700_000_000_000_000)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """Of the example of its specification."""
    secret, name, at = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(secret, name, at, b'{"test": 2432232314}') == expected


def test_texts_are_escaped_and_bounded() -> None:
    slack = json.loads(post_of(Slack("http://a"), MESSAGE, "http://view", 0).body)
    text = slack["blocks"][0]["text"]["text"]
    assert "<b>" not in text
    assert len(text) <= 3_000
    assert text.endswith("<http://view/issues/1|Open it>")
    event = json.loads(post_of(PagerDuty("0" * 32), MESSAGE, "http://view", 0).body)
    assert len(event["payload"]["summary"]) == 1_024
    assert event["payload"]["source"] == "shop"
    assert len(event["dedup_key"]) <= 255
