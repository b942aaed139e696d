"""Corrects the spans of contrib's clients, servers and drivers, where the semantic conventions want otherwise.

These instrumentors get a tracer provider of ours. Their code has spans that correct what it sets. Everybody else sees
the SDK's own spans, except within a request of aiohttp's client, whose instrumentor makes its span current itself.
"""

import sys
from collections.abc import Collection, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import wrapt
from opentelemetry import trace as otel_trace
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from brain_otel.instrumentation.database import statement_operation
from brain_otel.instrumentation.others.conventions import Calls, Convention, convention_of
from brain_otel.instrumentation.others.grpc_servers import name_servers
from brain_otel.instrumentation.others.statements import composed_text
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement

_DBAPI = "opentelemetry.instrumentation.dbapi"


class Corrections:
    """Has instrumentors follow the conventions."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._patched: set[Any] = set()

    def apply(self, name: str, module: ModuleType, options: dict[str, Any], doubled: Collection[str] = ()) -> None:
        """Change the ``options`` of the instrumentor ``name`` in ``module``, which is enabled next.

        Args:
            name: Its plain name.
            module: Its module.
            options: What its ``instrument()`` gets.
            doubled: The conventions of which spans have the old names too, such as ``rpc``.
        """
        convention = convention_of(name, doubled)
        if convention is None:
            return
        options.setdefault("tracer_provider", CorrectingProvider(convention))
        if type(convention) is Calls and self._is_first(module):
            name_servers(module, self._patches)
            intercept = replacement(partial(_client_interceptor, CorrectingProvider(convention)))
            self._patches.replace(module, "client_interceptor", intercept)  # contrib ignores the option there
        for each in (module, sys.modules.get(_DBAPI)):
            for kind in list(vars(each).values()) if each else ():
                if isinstance(kind, type) and _OPERATION in vars(kind) and self._is_first(kind):
                    self._patches.replace(kind, _OPERATION, _operation)
                    self._patches.replace(kind, "get_statement", _statement)

    def undo(self) -> None:
        """Leave the instrumentations as they were found."""
        self._patches.undo()
        self._patched.clear()

    def _is_first(self, owner: Any) -> bool:
        known = owner in self._patched
        self._patched.add(owner)
        return not known


_OPERATION = "get_operation_name"
"""The method of contrib's ``CursorTracer`` that names spans and metrics by the first word, be it of a comment."""


@replacement
def _operation(original: Original, /, tracer: Any, cursor: Any, args: Any) -> Any:
    with guarded("reading the operation of a statement"):
        return statement_operation(tracer.get_statement(cursor, args)) or ""
    return original(tracer, cursor, args)


@replacement
def _statement(original: Original, /, tracer: Any, cursor: Any, args: Any) -> Any:
    if not args or not hasattr(type(args[0]), "as_string"):
        return original(tracer, cursor, args)
    with guarded("reading a composed statement"):
        return composed_text(args[0], cursor)
    return ""


def _client_interceptor(
    provider: "CorrectingProvider", original: Original, /, tracer_provider: Any = None, *args: Any, **kwargs: Any
) -> Any:
    return original(tracer_provider or provider, *args, **kwargs)


class CorrectingProvider:
    """The global tracer provider for one instrumentor, with tracers whose spans are corrected."""

    def __init__(self, convention: Convention) -> None:
        self._convention = convention

    def get_tracer(
        self, name: str, version: str | None = None, schema_url: str | None = None, attributes: Any = None
    ) -> "CorrectingTracer":
        """A tracer of the global provider, with the schema whose names are used."""
        schema = self._convention.schema_url or schema_url
        tracer = otel_trace.get_tracer(name, version, schema_url=schema, attributes=attributes)
        return CorrectingTracer(tracer, self._convention)


class CorrectingTracer:
    """Starts spans with corrected names and attributes."""

    def __init__(self, inner: Any, convention: Convention) -> None:
        self._inner = inner
        self._convention = convention

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def start_as_current_span(
        self,
        name: str,
        context: Any = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> "CorrectedBlock":
        """A block whose code gets a :class:`CorrectedSpan`; the current span is the SDK's own."""
        with guarded("describing a call by the semantic conventions"):
            name, attributes = self._convention.begin(name, attributes or {})
        inner = self._inner.start_as_current_span(name, context, kind, attributes, **kwargs)
        return CorrectedBlock(inner, self._convention)

    def start_span(self, *args: Any, attributes: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """A span for the instrumentor, which may make it current."""
        with guarded("describing a call by the semantic conventions"):
            attributes = self._convention.correct(dict(attributes or {}))
        span = self._inner.start_span(*args, attributes=attributes, **kwargs)
        return CorrectedSpan(span, self._convention) if span.is_recording() else span


class CorrectedBlock:
    """The block of a span. A class, so that exceptions pass through as they are."""

    def __init__(self, inner: Any, convention: Convention) -> None:
        self._inner = inner
        self._convention = convention

    def __enter__(self) -> "CorrectedSpan":
        self._span = self._inner.__enter__()
        return CorrectedSpan(self._span, self._convention)

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> Any:
        if isinstance(error, Exception) and self._span.is_recording():
            with guarded("describing the failure of a call"):
                self._convention.fail(self._span, error)
        return self._inner.__exit__(kind, error, where)


class CorrectedSpan(wrapt.ObjectProxy):  # type: ignore[type-arg]  # wrapt 1 takes none
    """A span as an instrumentor sees it."""

    def __init__(self, span: Any, convention: Convention) -> None:
        super().__init__(span)
        self._self_convention = convention

    def record_exception(self, error: BaseException, *args: Any, **kwargs: Any) -> None:
        """Record what the call has raised, which the instrumentor catches."""
        with guarded("describing the failure of a call"):
            if self.__wrapped__.is_recording():
                self._self_convention.fail(self.__wrapped__, error)
        self.__wrapped__.record_exception(error, *args, **kwargs)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set one attribute."""
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set the corrected attributes, and the name that follows from them."""
        with guarded("describing a call by the semantic conventions"):
            changed = self._self_convention.correct(dict(attributes))
            self.__wrapped__.set_attributes(changed)
            if self.__wrapped__.is_recording():
                self._self_convention.rename(self.__wrapped__, changed)
