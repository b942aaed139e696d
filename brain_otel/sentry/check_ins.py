"""Check-ins of monitors in Sentry's protocol: https://develop.sentry.dev/sdk/telemetry/check-ins/."""

from typing import Any

import sentry_sdk

from brain_otel.events.check_ins import CheckIn


def capture_check_in(check_in: CheckIn) -> None:
    """Capture ``check_in``; sentry-sdk adds the current trace."""
    options = sentry_sdk.get_client().options
    event: Any = {
        "type": "check_in",
        "check_in_id": check_in.check_in_id,
        "monitor_slug": check_in.slug,
        "status": check_in.status,
        "duration": check_in.duration,
        "environment": options["environment"],
        "release": options["release"],
        "monitor_config": check_in.config,
    }
    given: Any = {name: value for name, value in event.items() if value is not None}
    sentry_sdk.capture_event(given)
