"""The last step before sentry-sdk sends an event: masks what is private, then calls the application's filter.

These are sentry-sdk's ``before_send`` and ``before_send_transaction``; logs and metrics have :mod:`.masked_items`.
The event is plain data here, and complete: whatever an integration, event processor or scope put into it passes.
"""

import logging
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

from brain_otel.configuration.hooks import hooks
from brain_otel.privacy import FILTERED, Policy, policy
from brain_otel.privacy.attributes import masked_attributes, span_name_without_literals
from brain_otel.privacy.model_clients import is_model_client
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.limited_log import CountLog
from brain_otel.runtime.text import word_set
from brain_otel.sentry.feedback import FEEDBACK
from brain_otel.sentry.route_secrets import SECRETS, values_of, without_route_secrets

logger = logging.getLogger(__name__)


@cache
def _log_of(name: str) -> CountLog:
    return CountLog(logger, "The application's %s failed; events are sent unfiltered: %s", name, with_traceback=True)


MAX_PLACES = 1_024
"""Parts of source files whose masked lines are cached."""

_HIDDEN = word_set("""
    sqlalchemy asyncpg psycopg psycopg2 psycopg_pool sqlite3 aiosqlite pymysql aiomysql asyncmy MySQLdb redis valkey
    brain_otel opentelemetry sentry_sdk httpx httpcore httpx2 httpcore2
""")
"""Packages whose local variables hold the parameters of statements, and those that trace."""

_SERVERS = word_set("""
    fastapi starlette uvicorn hypercorn gunicorn anyio h11 httptools websockets celery kombu billiard arq taskiq
""")
"""Packages whose local variables hold the body, cookies and client address of a request, or a task's message."""

_AS_GIVEN = frozenset({"event_id", "timestamp", "start_timestamp", "sdk", "_meta", "transaction_info", "profile"})
"""Parts of an event that are made of ids, times and words of Sentry's protocol."""

_FILES = ("filename", "abs_path")

_SAFE = ("event_id", "type", "level", "timestamp", "start_timestamp", "platform", "environment", "release", "sdk")
"""Parts of an event that need no mask."""


def before_send(event: Any, hint: Any) -> Any:
    """An error or message as it is sent, None if the application's filter drops it; feedback passes no filter."""
    if event.get("type") == FEEDBACK:
        return masked_event(event, hint)
    return _filtered(masked_event(event, hint), hint, hooks().before_send, "before_send")


def before_send_transaction(event: Any, hint: Any) -> Any:
    """A transaction as it is sent, None if the application's filter drops it or it cannot be masked."""
    masked = masked_event(event, hint)
    if "contexts" in event and "contexts" not in masked:
        return None  # Sentry rejects a transaction without its trace context; sentry-sdk counts this one as discarded
    return _filtered(masked, hint, hooks().before_send_transaction, "before_send_transaction")


def masked_event(event: Any, hint: Any) -> Any:
    """``event`` with what is private masked; if masking fails, only the parts that need no mask."""
    with guarded("masking an event"):
        return without_route_secrets(
            mask(event), tuple((hint or {}).get(SECRETS, ()))
        )  # None, if they could not be found, raises
    return {key: event[key] for key in _SAFE if key in event}


def mask(event: dict[str, Any], by: Policy | None = None) -> dict[str, Any]:
    """``event`` with what is private masked; if this raises, the caller must not send ``event``."""
    by = by or policy()
    return {key: _part(key, value, by) if value else value for key, value in event.items()}


def _filtered(event: Any, hint: Any, own: Callable[[Any, Any], Any] | None, name: str) -> Any:
    if own is None:
        return event
    try:
        return own(event, hint)
    except Exception as error:
        _log_of(name).add(type(error).__name__)
        return event


def _part(key: str, value: Any, by: Policy) -> Any:
    """One of Sentry's interfaces, masked: https://develop.sentry.dev/sdk/event-payloads/."""
    if key in _AS_GIVEN:
        return value
    mask_part = _PARTS.get(key)
    is_known = mask_part is not None and isinstance(value, (dict, list) if key in _LISTS else dict)
    return mask_part(value, by) if mask_part is not None and is_known else by.value(value)


def _user(user: dict[str, Any], by: Policy) -> Any:
    return by.value({name: each for name, each in user.items() if name != "ip_address" or by.send_default_pii})


def _contexts(contexts: dict[str, Any], by: Policy) -> dict[str, Any]:
    return {by.text(name): by.value(each, name) for name, each in contexts.items()}


def _named_by_libraries(values: dict[str, Any], by: Policy) -> dict[str, Any]:
    """Values whose names say nothing of secrets: a package may be ``authlib``, a measurement ``tokens``."""
    return {by.text(name): by.value(each) for name, each in values.items()}


def _modules(modules: dict[str, Any], by: Policy) -> dict[str, Any]:
    """The installed packages, which are the same for each error of a process."""
    if by.mask is not None or not all(type(name) is type(each) is str for name, each in modules.items()):
        return _named_by_libraries(modules, by)
    return dict(_masked_packages(by, *modules.items()))


@lru_cache(maxsize=4)
def _masked_packages(by: Policy, *packages: tuple[str, str]) -> dict[str, Any]:
    return _named_by_libraries(dict(packages), by)


def _failures(interface: Any, by: Policy) -> dict[str, Any]:
    others = interface if isinstance(interface, dict) else {}
    values = values_of(interface)
    if any(map(_is_of_model, values)):
        values = [_without_variables(each) for each in values]
    return {**others, "values": [_failure(each, by) for each in values]}


def _frames(failure: Any) -> Any:
    stacktrace = failure.get("stacktrace") if isinstance(failure, dict) else None
    return stacktrace.get("frames") or () if isinstance(stacktrace, dict) else ()


def _is_of_model(failure: Any) -> bool:
    """Whether an error has come out of the client of a language model."""
    modules = (str(frame.get("module") or "") for frame in _frames(failure))
    return any(map(is_model_client, modules))


def _without_variables(failure: Any) -> Any:
    frames = [{key: each for key, each in frame.items() if key != "vars"} for frame in _frames(failure)]
    return {**failure, "stacktrace": {**failure["stacktrace"], "frames": frames}} if frames else failure


def _breadcrumbs(interface: Any, by: Policy) -> dict[str, Any]:
    return {"values": [by.value(each) for each in values_of(interface)]}


def _spans(spans: Any, by: Policy) -> list[Any]:
    """Spans of a transaction. The bridge has masked its own; others are in raw events."""
    return [_span(each, by) for each in values_of(spans)]


def _span(span: dict[str, Any], by: Policy) -> dict[str, Any]:
    masked: dict[str, Any] = by.value(span)
    data = span.get("data")
    attributes = data if isinstance(data, dict) else {}
    if attributes:
        masked["data"] = masked_attributes(by, attributes)
    if str(span.get("op")).startswith("db"):
        statement = span_name_without_literals(
            str(span.get("description") or ""), {"db.query.text": "", **attributes}
        )
        masked["description"] = by.text(statement)
    return masked


def _request(request: Any, by: Policy) -> Any:
    """The request; with ``send_default_pii`` its cookies one by one, since ``cookies`` itself is a sensitive name."""
    masked = by.value(request)
    if by.send_default_pii and isinstance(request, dict) and isinstance(request.get("cookies"), dict):
        masked["cookies"] = by.value(request["cookies"])
    return masked


def _log_entry(entry: dict[str, Any], by: Policy) -> dict[str, Any]:
    """A log message, with those of its parameters that the masked text still shows."""
    result = {key: by.value(value) for key, value in entry.items()}
    params = entry.get("params")
    if params and isinstance(params, (dict, list, tuple)):
        formatted = entry.get("formatted") or _formatted(entry.get("message"), params)
        shown = by.text(formatted)
        if formatted != shown:
            given = params.values() if isinstance(params, dict) else params
            hidden = {str(each) for each in given if str(each) not in shown}
            result["params"] = _kept(result["params"], params, hidden)
    return result


def _formatted(message: Any, params: Any) -> str:
    """The text that Sentry makes of a message and its parameters."""
    try:
        return str(message) % (params if isinstance(params, dict) else tuple(params))
    except (TypeError, ValueError, KeyError):
        return str(message)


def _kept(masked: Any, given: Any, hidden: set[str]) -> Any:
    if isinstance(given, dict):
        return {key: FILTERED if str(value) in hidden else masked.get(key) for key, value in given.items()}
    return [FILTERED if str(value) in hidden else shown for value, shown in zip(given, masked, strict=False)]


def _failure(failure: dict[str, Any], by: Policy) -> dict[str, Any]:
    return {
        key: _stacktrace(value, by) if key == "stacktrace" and value else by.value(value)
        for key, value in failure.items()
    }


def _stacktrace(stacktrace: Any, by: Policy) -> Any:
    return {**stacktrace, "frames": [_frame(frame, by) for frame in stacktrace.get("frames") or ()]}


_PARTS: Mapping[str, Callable[[Any, Policy], Any]] = {
    "request": _request,
    "user": _user,
    "contexts": _contexts,
    "modules": _modules,
    "measurements": _named_by_libraries,
    "logentry": _log_entry,
    "stacktrace": _stacktrace,
    "exception": _failures,
    "threads": _failures,
    "breadcrumbs": _breadcrumbs,
    "spans": _spans,
}
"""What masks a part of an event that is a mapping; another part is masked as a value."""

_LISTS = frozenset({"exception", "threads", "breadcrumbs", "spans"})
"""Parts that may be lists too."""


def hides_variables(module: Any) -> bool:
    """Whether the local variables of frames of ``module`` are not sent."""
    package = str(module or "").partition(".")[0]
    if package in _HIDDEN or is_model_client(str(module or "")):
        return True
    return package in _SERVERS and not policy().send_default_pii


def _frame(frame: Any, by: Policy) -> Any:
    result = {**frame}
    if hides_variables(frame.get("module")):
        result.pop("vars", None)
    elif result.get("vars"):
        result["vars"] = by.value(result["vars"])
    for key in _FILES:
        if isinstance(result.get(key), str):
            result[key] = by.text(result[key])
    for key in ("pre_context", "post_context"):
        if result.get(key):
            result[key] = _lines(result[key], by)
    if result.get("context_line"):
        (result["context_line"],) = _lines([result["context_line"]], by)
    return result


def _lines(lines: list[Any], by: Policy) -> list[Any]:
    """Source lines, masked; what an event processor has put there instead is a value."""
    if all(type(line) is str for line in lines):
        return list(_masked_lines(by, *lines))
    return [by.source(line) if isinstance(line, str) else by.value(line) for line in lines]


@lru_cache(maxsize=MAX_PLACES)
def _masked_lines(by: Policy, *lines: str) -> list[str]:
    """The lines of one place come with each error there."""
    return [by.source(line) for line in lines]
