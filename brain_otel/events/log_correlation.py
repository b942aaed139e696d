"""Finds the trace of a log record, be it of the standard library's logging or of a helper, and its message."""

from contextvars import ContextVar
from itertools import islice
from logging import LogRecord
from typing import Any

from opentelemetry import _logs as otel_logs
from opentelemetry import trace as otel_trace
from opentelemetry._logs import Logger
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext

from brain_otel.events.deduplication import trace_of
from brain_otel.privacy import policy
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.object_size import HARMLESS, is_large
from brain_otel.runtime.safe_repr import facts, logged, plain_text, safe_repr
from brain_otel.runtime.text import MAX_TEXT, shortened
from brain_otel.runtime.version import __version__
from brain_otel.traces import local_trace
from brain_otel.traces.scope import NAME, SCHEMA_URL

TRACE_ID, SPAN_ID = "trace_id", "span_id"
"""Attributes that every record of the standard library's logging gets, for plain format strings."""


_TASK_LOGGERS = frozenset({"celery.app.trace", "celery.worker.strategy"})
"""Loggers that log what a task was called with."""

MAX_ITEMS = 1_000
"""Named arguments of a message that are looked at."""

_NUMBERS = (int, float, bool, complex)
_NAMED = expression(r"%\(([^()]{1,256})\)")

being_emitted: ContextVar[LogRecord | None] = ContextVar("brain_otel.log_correlation.being_emitted", default=None)
"""The record of the standard library's logging that is being emitted as one of OpenTelemetry's.

OpenTelemetry's record has no place for the arguments of the message.
"""


class _Loggers:
    """OpenTelemetry's loggers by name; the SDK takes locks to find one, which could deadlock a signal handler."""

    provider: object = None
    by_name: dict[str, Logger] = {}  # noqa: RUF012 - the one holder of this state


def logger_of(name: str) -> Logger:
    """The logger ``name`` of OpenTelemetry's global provider."""
    provider = otel_logs.get_logger_provider()
    if _Loggers.provider is not provider:
        _Loggers.provider, _Loggers.by_name = provider, {}
    found = _Loggers.by_name.get(name)
    if found is None:
        ours = (__version__, SCHEMA_URL) if name == NAME else ()
        found = _Loggers.by_name[name] = provider.get_logger(name, *ours)
    return found


def span_of_log(error: BaseException | None = None) -> SpanContext | None:
    """The span whose ids a log record gets: the current one, else the local root, even if it has ended.

    A record about ``error``, which has just ended a local trace, gets the ids of that trace.
    """
    return local_trace.current_span_context(trace_of(error))


def ids_of_log(record: LogRecord) -> dict[str, str]:
    """The ids for ``record``, of the standard library's logging; empty texts outside of a trace."""
    span = span_of_log(error_of_log(record))
    return {
        TRACE_ID: f"{span.trace_id:032x}" if span is not None else "",
        SPAN_ID: f"{span.span_id:016x}" if span is not None else "",
    }


def error_of_log(record: LogRecord) -> BaseException | None:
    """The exception that ``record`` is about, if any."""
    exc_info: Any = record.exc_info
    error = exc_info[1] if isinstance(exc_info, tuple) and len(exc_info) == 3 else None
    return error if isinstance(error, BaseException) else None


def fields_of_log(record: LogRecord) -> dict[str, Any]:
    """The fields of ``record``; do not change them.

    Records of Celery and arq have the ``repr`` of a task's arguments without the names by which they could be masked;
    they are left out.
    """
    fields = record.__dict__
    if (shown := _without_call(record)) is not None:
        return {**fields, "args": shown}
    if record.name not in _TASK_LOGGERS:
        return fields
    kept = {name: value for name, value in fields.items() if name != "data"}
    if isinstance(record.args, dict):
        kept["args"] = {name: value for name, value in record.args.items() if name not in ("args", "kwargs")}
    return kept


def _without_call(record: LogRecord) -> tuple[Any, ...] | None:
    """The arguments of arq's line that a job starts, without the job's; None for another record."""
    given = record.args
    is_start = record.name == "arq.worker" and str(record.msg).endswith("%s(%s)%s") and isinstance(given, tuple)
    return (*given[:2], "...", *given[3:]) if is_start and isinstance(given, tuple) and len(given) == 4 else None


def message_of_log(record: LogRecord) -> str:
    """The message of ``record``; of its named arguments, as in ``%(password)s``, the secret ones are masked.

    Their names are lost in the message, so it could not be masked later. Large and unknown arguments are written
    within bounds, as :func:`~brain_otel.runtime.safe_repr.logged` does.
    """
    msg, given = record.msg, _without_call(record) or record.args
    if type(record).getMessage is not LogRecord.getMessage:
        return record.getMessage()  # the application's own
    text = _short(msg) if type(msg) is str else safe_repr(msg, str)
    if given is None or (type(given) is tuple and not given):  # the length of another may be expensive
        return text
    try:
        return text % (tuple(map(_argument, given)) if type(given) is tuple else _named(text, given))
    except (TypeError, ValueError):  # it wants a number
        return text if text is not msg or _has_secrets(given) else record.getMessage()


def _named(text: str, given: Any) -> dict[str, Any]:
    """The arguments that ``text`` names; a text without names may have all of them as one text."""
    names = {each[1] for each in _NAMED.finditer(text)}
    if not names:
        return _Whole(policy().value(plain_text(given)) if _has_secrets(given) else given)
    if issubclass(type(given), dict):
        known = {name: dict.__getitem__(given, name) for name in names if dict.__contains__(given, name)}
    else:
        known = {name: each for name, each in facts(given).items() if name in names}
    if not _has_secrets(known):
        return {name: _argument(each) for name, each in known.items()}
    walked = {
        name: plain_text(each) if issubclass(type(each), dict) else _argument(each) for name, each in known.items()
    }
    masked: dict[str, Any] = policy().value(walked)
    return masked


def _has_secrets(given: Any) -> bool:
    return issubclass(type(given), dict) and any(
        type(name) is str and policy().is_sensitive(name) for name in islice(dict.keys(given), MAX_ITEMS)
    )


def _argument(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return _short(value)
    if value is None or kind in _NUMBERS or (kind.__module__ in HARMLESS and not is_large(value)):
        return value
    return _Text(value)


def _short(text: str) -> str:
    """``text``, without its middle if it is far longer than what is sent, which is cut to that once more."""
    return text if len(text) <= 4 * MAX_TEXT else shortened(text, 2 * MAX_TEXT)


class _Text:
    """Stands for an object whose text is made within bounds, if the message wants it."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __str__(self) -> str:
        return logged(self._value, str)

    def __repr__(self) -> str:
        return logged(self._value, repr)


class _Whole(_Text, dict[str, Any]):
    """Stands for a mapping that is written as a whole; a message without a place for it ignores a dict alone."""


def context_of_log(error: BaseException | None = None) -> Context | None:
    """The context to emit a log record in, with the span of :func:`span_of_log`; None for the current one."""
    span = span_of_log(error)
    if span is None or span == otel_trace.get_current_span().get_span_context():
        return None
    return otel_trace.set_span_in_context(NonRecordingSpan(span))
