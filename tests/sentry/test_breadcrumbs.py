"""The trail of calls before an error."""

from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from brain_otel.sentry.breadcrumbs import breadcrumbs_of
from tests.sentry.conftest import Bridge


def crumb(bridge: Bridge, name: str, **attributes: Any) -> dict[str, Any]:
    """The breadcrumb of a span."""
    span: Any = bridge.tracer.start_span(
        name, kind=SpanKind.CLIENT, attributes={key.replace("__", "."): value for key, value in attributes.items()}
    )
    span.end()
    (found,) = breadcrumbs_of([span])
    return found


@pytest.mark.parametrize(
    ("command", "data"),
    [
        ("GET user:1", {"redis.command": "GET", "db.operation": "GET", "redis.key": "user:1"}),
        ("SET user:1 ?", {"redis.command": "SET", "db.operation": "SET", "redis.key": "user:1"}),
        ("SETEX user:1 ? ?", {"redis.command": "SETEX", "db.operation": "SETEX", "redis.key": "user:1"}),
        ("DEL user:1", {"redis.command": "DEL", "db.operation": "DEL", "redis.key": "user:1"}),
        ("DEL user:1 user:2", {"redis.command": "DEL", "db.operation": "DEL"}),
        ("MGET user:1 user:2", {"redis.command": "MGET", "db.operation": "MGET"}),
        ("HGET user:1 ?", {"redis.command": "HGET", "db.operation": "HGET"}),
        ("PING", {"redis.command": "PING", "db.operation": "PING"}),
        ("GET", {"redis.command": "GET", "db.operation": "GET"}),
    ],
)
def test_a_command_has_its_data(bridge: Bridge, command: str, data: dict[str, str]) -> None:
    """The command and its key under sentry-sdk's names, and a key for the commands for which sentry-sdk has one."""
    found = crumb(bridge, "GET", db__system__name="redis", db__query__text=command)
    assert (found["type"], found["category"], found["message"], found["data"]) == ("redis", "redis", command, data)


def test_a_pipeline_has_no_data(bridge: Bridge) -> None:
    """It has no command of its own."""
    found = crumb(bridge, "PIPELINE", db__system__name="redis", db__query__text="SET a ?\nGET b")
    assert (found["message"], found.get("data")) == ("SET a ?\nGET b", None)


def test_a_secret_key_is_masked(bridge: Bridge) -> None:
    """In the data as in the message."""
    found = crumb(bridge, "GET", db__system__name="redis", db__query__text="GET token=hunter2-4Zq-hunter2")
    assert "hunter2" not in str(found)
