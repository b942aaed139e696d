"""The public names, and every documented call of the module that this package replaces."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

import brain_otel

if TYPE_CHECKING:
    from brain_otel.testing import Telemetry

PUBLIC = [
    "ConfigurationError",
    "__version__",
    "add_breadcrumb",
    "capture_exception",
    "capture_feedback",
    "capture_message",
    "continue_trace",
    "flush",
    "measurement",
    "monitor",
    "set_context",
    "set_tag",
    "set_user_context",
    "setup",
    "shutdown",
    "start_span",
    "start_transaction",
    "trace_headers",
]


def test_the_public_names_are_explicit_and_sorted() -> None:
    """`__all__` lists exactly the names that users may import."""
    assert brain_otel.__all__ == PUBLIC == sorted(PUBLIC)
    assert all(hasattr(brain_otel, name) for name in PUBLIC)


def test_every_public_name_has_a_docstring() -> None:
    """The fixture `telemetry` has one too."""
    for name in PUBLIC:
        assert (getattr(brain_otel, name).__doc__ or "").strip(), name
    assert importlib.import_module("brain_otel.testing").telemetry.__doc__


def test_importing_brain_otel_imports_nothing_heavy() -> None:
    """It imports neither sentry_sdk, FastAPI nor OpenTelemetry's SDK, and no reader of configuration files."""
    code = (
        "import sys; from brain_otel import *; "
        "print([m for m in ('sentry_sdk', 'fastapi', 'opentelemetry.sdk', 'yaml', 'jsonschema') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_documented_calls_of_app_core_sentry_work_unchanged(telemetry: Telemetry) -> None:
    """`from app.core.sentry import ...` can become `from brain_otel import *` without another edit."""
    namespace: dict[str, object] = {}
    exec("from brain_otel import *", namespace)
    exec(
        """
def process(e):
    event_id = capture_exception(e, mission_id="m1", agent_type="ops")
    capture_message("Unusual activity", level="warning", user_id="u1", ip_address="10.0.0.1")
    set_user_context(user_id="u1", email="a@b", username="j", subscription_tier="premium")
    set_tag("feature", "missions")
    set_context("mission", {"id": "m1", "type": "recon"})
    add_breadcrumb("Validating", category="validation")
    add_breadcrumb(message="Fetched", category="database", level="info", data={"rows": 3})
    with start_transaction(name="process_mission", op="task.run") as transaction:
        transaction.set_tag("mission_id", "m1")
        with start_span(op="db.query", description="Fetch mission data"):
            pass
        with start_span(op="agent.run") as span:
            span.set_data("agent", "ops")
    return event_id
""",
        namespace,
    )
    process = namespace["process"]
    assert callable(process)
    try:
        raise RuntimeError("mission failed")
    except RuntimeError as error:
        event_id = process(error)
    exception, message = telemetry.events
    assert exception["event_id"] == event_id
    assert message["level"] == "warning"
    (transaction,) = telemetry.transactions
    assert transaction["transaction"] == "process_mission"
    assert transaction["user"]["subscription_tier"] == "premium"
    assert transaction["tags"] == {"feature": "missions", "mission_id": "m1"}
    assert [span["op"] for span in transaction["spans"]] == ["db.query", "agent.run"]
