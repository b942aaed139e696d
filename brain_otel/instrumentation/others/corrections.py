"""Corrects the spans of contrib's drivers and of its gRPC, where the semantic conventions want otherwise.

These instrumentors get a tracer provider of ours. Their code has spans that correct what it sets; everybody else sees
the SDK's own spans. Specifications: https://opentelemetry.io/docs/specs/semconv/database/database-spans/ and
https://opentelemetry.io/docs/specs/semconv/rpc/grpc/.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import wrapt
from opentelemetry import trace as otel_trace
from opentelemetry.semconv.attributes.db_attributes import DB_NAMESPACE, DB_OPERATION_NAME, DB_QUERY_TEXT
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from brain_otel.events.attributes import class_name
from brain_otel.instrumentation.database import failure_attributes, statement_operation
from brain_otel.instrumentation.others.grpc_servers import name_servers
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Patch, Patches
from brain_otel.traces.conventions import GRPC_STATUSES, raw_attributes
from brain_otel.traces.scope import SCHEMA_URL

Attributes = dict[str, Any]


class Statements:
    """Statements: the operation's name, the span's name, and the database's code of an error."""

    schema_url: str | None = None
    """The instrumentor's, which may have the old names."""

    def begin(self, name: str, given: Mapping[str, Any]) -> tuple[str, Attributes]:
        """The name and the attributes of a span."""
        attributes = self.correct(dict(given))
        return self._name(attributes) or name, attributes

    def correct(self, given: Attributes) -> Attributes:
        """Attributes with the operation of their statement."""
        text = given.get(DB_QUERY_TEXT)
        operation = statement_operation(text) if DB_OPERATION_NAME not in given else None
        return {**given, DB_OPERATION_NAME: operation} if operation else given

    def rename(self, span: Any, changed: Attributes) -> None:
        """Name ``span`` after its operation and database, once ``changed`` has told it."""
        name = self._name({**raw_attributes(span), **changed}) if DB_QUERY_TEXT in changed else None
        if name:
            span.update_name(name)

    def fail(self, span: Any, error: Exception) -> None:
        """Describe ``error``, which the driver has raised."""
        span.set_attributes(failure_attributes(error))

    @staticmethod
    def _name(attributes: Mapping[str, Any]) -> str | None:
        operation, database = attributes.get(DB_OPERATION_NAME), attributes.get(DB_NAMESPACE)
        return f"{operation} {database or ''}".rstrip() if operation else None


_RPC_SYSTEM, _RPC_SERVICE, _RPC_METHOD, _GRPC_CODE = "rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code"

_STATUS = "rpc.response.status_code"

_FAULTS_OF_SERVER = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""The others are faults of the client, and no errors on the server's span."""

_RENAMED = {
    _RPC_SYSTEM: "rpc.system.name",
    "net.peer.ip": "network.peer.address",
    "rpc.user_agent": "user_agent.original",
}

_LEFT_OUT = frozenset({_RPC_SERVICE, "net.peer.name"})


class Calls:
    """Calls of gRPC: the method with its service, and the status as text."""

    schema_url = SCHEMA_URL

    def begin(self, name: str, given: Mapping[str, Any]) -> tuple[str, Attributes]:
        """The name and the attributes of a span."""
        return name.lstrip("/"), self.correct(dict(given))

    def correct(self, given: Attributes) -> Attributes:
        """``given`` with the names of the registry."""
        found: Attributes = {}
        for key, value in given.items():
            if key == _GRPC_CODE:
                found[_STATUS] = GRPC_STATUSES[value] if 0 <= value < len(GRPC_STATUSES) else str(value)
            elif key == _RPC_METHOD:
                service = given.get(_RPC_SERVICE)
                found[_RPC_METHOD] = f"{service}/{value}" if service else value
            elif key == "net.peer.port":
                found["network.peer.port"] = int(value)
            elif key not in _LEFT_OUT:
                found[_RENAMED.get(key, key)] = value
        return found

    def rename(self, span: Any, changed: Attributes) -> None:
        """A status other than OK is the error's type."""
        status = changed.get(_STATUS)
        if status not in (None, "OK") and (span.kind is SpanKind.CLIENT or status in _FAULTS_OF_SERVER):
            span.set_attribute(ERROR_TYPE, status)

    def fail(self, span: Any, error: Exception) -> None:
        """Give ``span`` the status of an exception that is not one of gRPC's own; contrib leaves it at OK."""
        if raw_attributes(span).get(_STATUS) == "OK":
            span.set_attributes({_STATUS: "UNKNOWN", ERROR_TYPE: class_name(type(error))})
            span.set_status(StatusCode.ERROR)


Convention = Statements | Calls

_CALLS = Calls()

CONVENTIONS: Mapping[str, Convention] = {
    **dict.fromkeys(
        ("aiopg", "asyncpg", "mysql", "mysqlclient", "psycopg", "psycopg2", "pymssql", "pymysql", "sqlite3"),
        Statements(),
    ),
    **dict.fromkeys(("grpc_aio_client", "grpc_aio_server", "grpc_client", "grpc_server"), _CALLS),
}
"""Instrumentor -> what its spans follow."""


_DBAPI = "opentelemetry.instrumentation.dbapi"


class Corrections:
    """Has instrumentors follow the conventions."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._patched: set[Any] = set()

    def apply(self, name: str, module: ModuleType, options: dict[str, Any]) -> None:
        """Change the ``options`` of the instrumentor ``name`` in ``module``, which is enabled next."""
        convention = CONVENTIONS.get(name)
        if convention is None:
            return
        options.setdefault("tracer_provider", CorrectingProvider(convention))
        if convention is _CALLS and self._is_first(module):
            name_servers(module, self._patches)
            self._patches.replace(
                module, "client_interceptor", _client_interceptor
            )  # contrib ignores the option there
        for each in (module, sys.modules.get(_DBAPI)):
            for kind in list(vars(each).values()) if each else ():
                if isinstance(kind, type) and _OPERATION in vars(kind) and self._is_first(kind):
                    self._patches.replace(kind, _OPERATION, _operation)

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


def _operation(patch: Patch) -> Callable[..., str]:
    @functools.wraps(patch.original)
    def get_operation_name(tracer: Any, cursor: Any, args: Any) -> str:
        if patch.active:
            with guarded("reading the operation of a statement"):
                return statement_operation(tracer.get_statement(cursor, args)) or ""
        return patch.original(tracer, cursor, args)  # type: ignore[no-any-return]  # contrib has no types

    return get_operation_name


def _client_interceptor(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def client_interceptor(tracer_provider: Any = None, *args: Any, **kwargs: Any) -> Any:
        if patch.active:
            tracer_provider = tracer_provider or CorrectingProvider(_CALLS)
        return patch.original(tracer_provider, *args, **kwargs)

    return client_interceptor


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
