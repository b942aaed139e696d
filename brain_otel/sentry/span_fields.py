"""Translates a span into Sentry's protocol: status, data, links, origin. Pure functions.

:mod:`brain_otel.traces.operations` has its operation and description. See Sentry's
`span status <https://develop.sentry.dev/sdk/event-payloads/contexts/#trace-context>`_ and
`trace origin <https://develop.sentry.dev/sdk/telemetry/traces/trace-origin/>`_. ``data`` keeps all of OpenTelemetry's
attributes.
"""

from functools import lru_cache
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from sentry_sdk.consts import SPANSTATUS
from sentry_sdk.tracing import get_span_status_from_http_code

from brain_otel.traces import code_location
from brain_otel.traces.conventions import GRPC_STATUSES, first
from brain_otel.traces.local_trace import LocalTrace
from brain_otel.traces.operations import CACHE, MESSAGING, Convention, convention_of
from brain_otel.traces.scope import BREADCRUMB_EVENT, NAME, OP_ATTRIBUTE

_STATUSES = frozenset(value for name, value in vars(SPANSTATUS).items() if name.isupper())

_CONTRIB = "opentelemetry.instrumentation."

_SCALARS = frozenset((str, int, float, bool))

_BY_GRPC: dict[Any, str] = {
    **{name: getattr(SPANSTATUS, name) for name in GRPC_STATUSES if hasattr(SPANSTATUS, name)},
    "UNKNOWN": SPANSTATUS.UNKNOWN_ERROR,
    "INTERNAL": SPANSTATUS.INTERNAL_ERROR,
}


def status(span: ReadableSpan) -> str:
    """The Sentry status of ``span``: from its HTTP or gRPC status if it has one, else from OpenTelemetry's."""
    attributes = span.attributes or {}
    code = http_status(span)
    failed = span.status.status_code is StatusCode.ERROR
    if code is not None:
        by_code = _by_code(code)
        if by_code != SPANSTATUS.OK or not failed:
            return by_code
    grpc = first(attributes, "rpc.response.status_code", "rpc.grpc.status_code")
    if isinstance(grpc, int) and 0 <= grpc < len(GRPC_STATUSES):
        grpc = GRPC_STATUSES[grpc]
    if grpc in _BY_GRPC:
        return _BY_GRPC[grpc]
    if not failed:
        return SPANSTATUS.OK
    words = span.status.description or ""
    return words if words in _STATUSES else SPANSTATUS.INTERNAL_ERROR


def _code(attributes: Any) -> dict[str, Any]:
    """The place in the application's code under sentry-sdk's names, which Sentry's view of queries reads."""
    name, line = str(attributes.get(code_location.FUNCTION) or ""), attributes.get(code_location.LINE)
    module, file = _module_and_file(str(attributes[code_location.FILE]), name)
    found = {
        "code.filepath": file,
        "code.function": name.rpartition(".")[2] or None,
        "code.lineno": line,
        "code.namespace": module,
    }
    return {key: value for key, value in found.items() if value is not None}


@lru_cache(maxsize=1_024)
def _module_and_file(path: str, name: str) -> tuple[str | None, str]:
    """The module of the function ``name``, and its file below the folder of its top-level package."""
    plain, parts = path.replace("\\", "/"), name.split(".")
    for size in range(len(parts) - 1, 0, -1):
        folder = "/".join(parts[:size])
        for file in (f"{folder}.py", f"{folder}/__init__.py"):
            if f"/{plain}".endswith(f"/{file}"):
                return ".".join(parts[:size]), file
    return ("__main__" if parts[0] == "__main__" else None), plain.rpartition("/")[2]


def root_status(root: ReadableSpan, trace: LocalTrace) -> str:
    """The status of a trace's ``root``; a request that failed or was left after its response began is no success."""
    known = status(root)
    if known != SPANSTATUS.OK:
        return known
    return SPANSTATUS.INTERNAL_ERROR if trace.is_failed else SPANSTATUS.CANCELLED if trace.is_cancelled else known


def http_status(span: ReadableSpan) -> int | None:
    """The status code of the response in either convention."""
    code = first(span.attributes or {}, "http.response.status_code", "http.status_code")
    return code if isinstance(code, int) else None


@lru_cache(maxsize=1_024)
def _by_code(code: int) -> str:
    return str(get_span_status_from_http_code(code))


def data(span: ReadableSpan) -> dict[str, Any]:
    """The span's attributes under both names, its kind, events and status description."""
    attributes = span.attributes or {}
    convention = convention_of(attributes)
    omitted, renamed = _names_beside(tuple(attributes), convention)
    if _SCALARS.issuperset(map(type, attributes.values())):
        result = dict(attributes)
    else:
        result = {key: _plain(value) for key, value in attributes.items()}
    for source, name in renamed:
        result[name] = result[source]
    for name in omitted:
        del result[name]
    result |= convention.derived(attributes)
    if code_location.FILE in attributes:
        result |= _code(attributes)
    if span.kind is not SpanKind.INTERNAL:
        result["sentry.kind"] = span.kind.name.lower()
    if span.status.description:
        result["otel.status_description"] = span.status.description
    events: Any = [
        {"name": each.name, "timestamp": each.timestamp / 1e9, "attributes": _plain_values(each.attributes)}
        for each in span.events
        if each.name != BREADCRUMB_EVENT
    ]
    if events:
        result["otel.events"] = events
    if span.dropped_attributes:
        result["otel.dropped_attributes_count"] = span.dropped_attributes
    return result


@lru_cache(maxsize=1_024)
def _names_beside(
    keys: tuple[str, ...], convention: Convention
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The ``keys`` that are omitted from a span's data, and those that it has under Sentry's name as well."""
    kept = [key for key in keys if not key.startswith(("sentry.", CACHE, MESSAGING)) and key != OP_ATTRIBUTE]
    others: dict[str, str] = {}
    for source, name in convention.names:
        if source in keys and name not in kept:
            others.setdefault(name, source)
    return tuple(key for key in keys if key not in kept), tuple((source, name) for name, source in others.items())


def links(span: ReadableSpan) -> list[dict[str, Any]]:
    """The span's links in Sentry's protocol."""
    return [
        {
            "trace_id": f"{each.context.trace_id:032x}",
            "span_id": f"{each.context.span_id:016x}",
            "sampled": each.context.trace_flags.sampled,
            **({"attributes": _plain_values(each.attributes)} if each.attributes else {}),
        }
        for each in span.links
    ]


def origin(span: ReadableSpan) -> str:
    """Who made the span: ``auto.<category>.otel.<library>``, or ``manual`` for the application."""
    scope = span.instrumentation_scope
    library = _library(scope.name) if scope is not None else None
    if library is None:
        return "manual"
    return f"auto.{convention_of(span.attributes or {}).category}.otel.{library}"


@lru_cache(maxsize=1_024)
def _library(scope: str) -> str | None:
    """The library that the instrumentation ``scope`` is for; None for a scope of the application's."""
    _, found, library = scope.rpartition("otel.instrumentation." if scope.startswith(NAME) else _CONTRIB)
    if not found and scope != "fastapi":
        return None
    return library.split(".")[0]


def _plain_values(attributes: Any) -> dict[str, Any]:
    return {key: _plain(value) for key, value in (attributes or {}).items()}


def _plain(value: Any) -> Any:
    """An attribute's value as JSON expresses it."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value
