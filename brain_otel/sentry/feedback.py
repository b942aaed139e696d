"""A user's feedback in Sentry's form: https://develop.sentry.dev/sdk/telemetry/feedbacks/."""

from typing import Any

from sentry_sdk.envelope import Envelope

from brain_otel.events.listeners import Feedback

FEEDBACK = "feedback"
"""The type of the event and of the item, and the context with what the user says."""


def feedback_event(feedback: Feedback) -> Any:
    """The event that sentry-sdk captures."""
    given = {
        "message": feedback.text,
        "contact_email": feedback.email,
        "name": feedback.name,
        "associated_event_id": feedback.about,
    }
    context = {name: each for name, each in given.items() if each is not None}
    return {"event_id": feedback.event_id, "type": FEEDBACK, "level": "info", "contexts": {FEEDBACK: context}}


def type_feedback(envelope: Envelope) -> None:
    """Make items of feedback of the events in ``envelope`` that are feedback; sentry-sdk makes errors' items."""
    for item in envelope.items:
        if item.type == "event" and (item.payload.json or {}).get("type") == FEEDBACK:
            item.headers["type"] = FEEDBACK
