"""Pins of sentry-sdk's names that the fast paths depend on: what each must continue to mean."""

import inspect
from types import SimpleNamespace
from typing import Any

from sentry_sdk import scope
from sentry_sdk.client import SDK_INFO, _Client
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.modules import ModulesIntegration
from sentry_sdk.monitor import Monitor
from sentry_sdk.scope import Scope
from sentry_sdk.serializer import serialize

from tests.sentry.test_private_names import LOOKED_AT, NAMING, TAKEN

VALUES = {
    "_user": ("user", {"id": "7"}),
    "_tags": ("tags", {"a": "b"}),
    "_contexts": ("contexts", {"a": {"b": 1}}),
    "_extras": ("extra", {"a": 1}),
}

NOT_IN_A_TRANSACTION = {
    "_breadcrumbs",
    "_flags",
    "_error_processors",
    "_span",
    "_server_segment_span",
    "_session",
    "_force_auto_session_tracking",
    "_profile",
    "_propagation_context",
    "client",
    "_type",
    "_last_event_id",
    "_attributes",
    "_name",
    "_gen_ai_conversation_id",
}


def test_every_field_of_a_scope_is_known() -> None:
    """The fast path would lose a new field that belongs to a transaction."""
    assert set(TAKEN) == set(VALUES)
    assert set(Scope.__slots__) == {*LOOKED_AT, *TAKEN, *NOT_IN_A_TRANSACTION, *NAMING}


def test_the_scopes_are_two_variables() -> None:
    """The public functions read and set them, and do no more where both are set."""
    for variable, get, put in (
        (scope._isolation_scope, Scope.get_isolation_scope, Scope.set_isolation_scope),
        (scope._current_scope, Scope.get_current_scope, Scope.set_current_scope),
    ):
        before, made = get(), Scope()
        put(made)
        assert variable.get() is made
        variable.set(before)
        assert get() is before


def test_a_monitors_factor_is_a_field() -> None:
    """The public property starts the thread and returns the field, which the thread alone writes."""
    unhealthy: Any = SimpleNamespace(is_healthy=lambda: False)
    monitor = Monitor(unhealthy, interval=3_600)
    assert (monitor._downsample_factor, monitor.downsample_factor) == (0, 0)
    monitor.run()
    assert (monitor._downsample_factor, monitor.downsample_factor) == (1, 1)
    monitor.kill()


def test_a_scope_puts_its_fields_on_a_transaction() -> None:
    """User, tags, contexts and extra unchanged, a level and a fingerprint; nothing else of its own."""
    scope = Scope()
    scope.add_breadcrumb({"message": "not of a transaction"})
    for field, (_, value) in VALUES.items():
        setattr(scope, field, value)
    scope._level, scope._fingerprint = "warning", ["a"]
    given: Any = {"type": "transaction", "contexts": {"trace": {}}, "transaction": "GET /", "transaction_info": {}}
    event: Any = scope.apply_to_event(given, {}, {})
    assert event.pop("contexts") == {"trace": {}, "a": {"b": 1}}
    expected = {name: value for name, value in VALUES.values() if name != "contexts"}
    assert event == {
        "type": "transaction",
        "transaction": "GET /",
        "transaction_info": {},
        "level": "warning",
        "fingerprint": ["a"],
        **expected,
    }


def test_a_scope_keeps_the_name_of_its_transaction() -> None:
    """And the source, if one was given."""
    scope = Scope()
    assert (scope._transaction, scope._transaction_info) == (None, {})
    scope.set_transaction_name("nightly", "task")
    assert (scope._transaction, scope._transaction_info) == ("nightly", {"source": "task"})


def test_the_fields_that_need_the_pipeline_are_empty_until_they_are_used() -> None:
    """A new scope has none of them, and a used one has."""
    scope = Scope()
    assert not any(getattr(scope, name) for name in LOOKED_AT if name != "_should_capture")
    assert scope._should_capture is True
    scope.add_attachment(b"a", "a.txt")
    scope.add_event_processor(lambda event, _: event)
    scope.set_level("warning")
    assert scope._attachments
    assert len(scope._event_processors) == 1
    assert scope._level == "warning"
    for number in range(200):
        scope.add_breadcrumb({"message": str(number)})
    assert isinstance(scope._n_breadcrumbs_truncated, int)


def test_the_constant_parts_of_an_event_are_known() -> None:
    """The description of sentry-sdk, and the options that it puts on each event."""
    assert SDK_INFO.keys() == {"name", "version", "packages"}
    assert '"release", "environment", "server_name", "dist"' in inspect.getsource(_Client._prepare_event)
    assert list(inspect.signature(serialize).parameters) == ["event", "kwargs"]


def test_modules_and_dedupe_leave_transactions_alone() -> None:
    """Their event processors change errors only, so a transaction need not pass them."""
    for setup_once in (ModulesIntegration.setup_once, DedupeIntegration.setup_once):
        source = inspect.getsource(setup_once)
        assert 'event.get("type") == "transaction"' in source or 'hint.get("exc_info"' in source
