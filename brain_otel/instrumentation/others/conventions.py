"""Corrects spans of contrib's clients, servers and drivers where they differ from the semantic conventions.

Specifications: https://opentelemetry.io/docs/specs/semconv/database/database-spans/,
https://opentelemetry.io/docs/specs/semconv/http/http-spans/, https://opentelemetry.io/docs/specs/semconv/rpc/ and
https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/.
"""

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.semconv.attributes.db_attributes import DB_NAMESPACE, DB_OPERATION_NAME, DB_QUERY_TEXT
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import HTTP_RESPONSE_STATUS_CODE
from opentelemetry.trace import SpanKind, StatusCode

from brain_otel.events.attributes import class_name
from brain_otel.events.report import set_error
from brain_otel.instrumentation.database import failure_attributes, statement_operation
from brain_otel.traces.conventions import GRPC_STATUSES, raw_attributes
from brain_otel.traces.scope import SCHEMA_URL

Attributes = dict[str, Any]


class Convention:
    """Corrects the name and the attributes of spans. Each method gets what contrib sets."""

    schema_url: str | None = None
    """None: the instrumentor's, which may have the old names."""

    def __init__(self, doubled: Collection[str] = ()) -> None:
        self._doubled = doubled

    def begin(self, name: str, given: Mapping[str, Any]) -> tuple[str, Attributes]:
        """The name and the attributes of a span."""
        return name, self.correct(dict(given))

    def correct(self, given: Attributes) -> Attributes:
        """``given`` with the names of the registry."""
        return given

    def rename(self, span: Any, changed: Attributes) -> None:
        """Set what follows from attributes that have ``changed``."""

    def fail(self, span: Any, error: BaseException) -> None:
        """Describe ``error``, which the call has raised."""


class Statements(Convention):
    """Statements: the operation's name, the span's name, and the database's code of an error."""

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

    def fail(self, span: Any, error: BaseException) -> None:
        """Describe ``error``, which the driver has raised."""
        span.set_attributes(failure_attributes(error))

    @staticmethod
    def _name(attributes: Mapping[str, Any]) -> str | None:
        operation, database = attributes.get(DB_OPERATION_NAME), attributes.get(DB_NAMESPACE)
        return f"{operation} {database or ''}".rstrip() if operation else None


_PORTS = {"http": 80, "https": 443}


class Requests(Convention):
    """HTTP requests: the server of a client, and the whole name of an exception."""

    def correct(self, given: Attributes) -> Attributes:
        """Attributes with the server that their URL names."""
        url = given.get("url.full")
        if not isinstance(url, str):
            return given
        try:
            parts = urlsplit(url)
            server = {"server.address": parts.hostname, "server.port": parts.port or _PORTS[parts.scheme]}
        except (ValueError, KeyError):
            return given
        return {**server, **given} if parts.hostname else given

    def fail(self, span: Any, error: BaseException) -> None:
        """Describe ``error``, unless the response has told what failed. Aiohttp's server answers it with 500."""
        if HTTP_RESPONSE_STATUS_CODE in raw_attributes(span):
            return
        span.set_attribute(ERROR_TYPE, class_name(type(error)))
        if span.kind is SpanKind.SERVER and isinstance(error, Exception):
            span.set_attribute(HTTP_RESPONSE_STATUS_CODE, 500)
            set_error(span, error)


_RPC_SERVICE, _RPC_METHOD, _GRPC_CODE = "rpc.service", "rpc.method", "rpc.grpc.status_code"

_STATUS = "rpc.response.status_code"

_RENAMED = {
    "aws.queue_url": "aws.sqs.queue.url",
    "db.operation": DB_OPERATION_NAME,
    "gen_ai.system": "gen_ai.provider.name",
    "http.status_code": HTTP_RESPONSE_STATUS_CODE,
    "messaging.destination": "messaging.destination.name",
    "net.peer.ip": "network.peer.address",
    "net.peer.port": "network.peer.port",
    "retry_attempts": "http.request.resend_count",
    "rpc.system": "rpc.system.name",
    "rpc.user_agent": "user_agent.original",
    "db.system": "db.system.name",
    _GRPC_CODE: _STATUS,
}

_LEFT_OUT = frozenset({_RPC_SERVICE, "messaging.destination_kind", "messaging.url", "net.peer.name"})
"""Names without a successor, or whose value another one has."""

_VALUES = {("db.system", "dynamodb"): "aws.dynamodb", ("messaging.system", "aws.sqs"): "aws_sqs"}
"""Names and values, each with the registry's value."""

_CATEGORIES = {"db": "database", "http": "http", "messaging": "messaging"}
"""First parts of old names, each with its convention in OTEL_SEMCONV_STABILITY_OPT_IN; all others are of ``rpc``."""

_FAULTS_OF_SERVER = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""The others are faults of the client, and no errors on the server's span."""


def _value_of(key: str, value: Any, given: Attributes) -> Any:
    """The value that the registry has in the place of ``value``; None if the attribute should not be."""
    if key == _GRPC_CODE:
        return GRPC_STATUSES[value] if 0 <= value < len(GRPC_STATUSES) else str(value)
    if key == _RPC_METHOD:
        service = given.get(_RPC_SERVICE)
        return f"{service}/{value}".rstrip("/") if service else value
    if key == "net.peer.port":
        return int(value)
    return (value or None) if key == "retry_attempts" else _VALUES.get((key, value), value)


class Calls(Convention):
    """Calls of gRPC: the method with its service, and the status as text."""

    schema_url: str | None = SCHEMA_URL

    def begin(self, name: str, given: Mapping[str, Any]) -> tuple[str, Attributes]:
        """The name and the attributes of a span."""
        return name.strip("/"), self.correct(dict(given))

    def correct(self, given: Attributes) -> Attributes:
        """``given`` with the names of the registry, and with the old ones too where the user wants both."""
        found: Attributes = {}
        for key, value in given.items():
            is_old = key in _RENAMED or key in _LEFT_OUT
            if is_old and _CATEGORIES.get(key.partition(".")[0], "rpc") in self._doubled:
                found[key] = value
            corrected = None if key in _LEFT_OUT else _value_of(key, value, given)
            if corrected is not None:
                found[_RENAMED.get(key, key)] = corrected
        return found

    def rename(self, span: Any, changed: Attributes) -> None:
        """A status other than OK is the error's type."""
        status = changed.get(_STATUS)
        if status not in (None, "OK") and (span.kind is SpanKind.CLIENT or status in _FAULTS_OF_SERVER):
            span.set_attribute(ERROR_TYPE, status)

    def fail(self, span: Any, error: BaseException) -> None:
        """Give ``span`` the status of an exception that is not one of gRPC's own; contrib leaves it at OK."""
        if raw_attributes(span).get(_STATUS) == "OK":
            span.set_attributes({_STATUS: "UNKNOWN", ERROR_TYPE: class_name(type(error))})
            span.set_status(StatusCode.ERROR)


_MESSAGES = {
    **dict.fromkeys(("SendMessage", "SendMessageBatch", "Publish", "PublishBatch"), "send"),
    "ReceiveMessage": "receive",
    **dict.fromkeys(("DeleteMessage", "DeleteMessageBatch"), "settle"),
}
"""Operations of SQS and SNS, each with its type."""


class AwsCalls(Calls):
    """Calls of AWS: the current names, and the code of an error."""

    def begin(self, name: str, given: Mapping[str, Any]) -> tuple[str, Attributes]:
        """The name and the attributes of a span."""
        name, attributes = super().begin(name, given)
        kind = _MESSAGES.get(str(given.get(_RPC_METHOD))) if "messaging.system" in given else None
        if kind is not None:
            attributes |= {"messaging.operation.name": given[_RPC_METHOD], "messaging.operation.type": kind}
        return name, attributes

    def fail(self, span: Any, error: BaseException) -> None:
        """Give ``span`` AWS's code of a failure, or the class of one before an answer; a 304 is none."""
        if span.status.status_code is not StatusCode.ERROR:
            return
        response = getattr(error, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        span.set_attribute(ERROR_TYPE, str(code) if code else class_name(type(error)))
        if code:
            span.set_attribute(_STATUS, str(code))


def convention_of(name: str, doubled: Collection[str] = ()) -> Convention | None:
    """The convention for the spans of an instrumentor; None if they need no correction.

    Args:
        name: The instrumentor's plain name, as in the configuration file.
        doubled: The conventions of which spans have the old names too.
    """
    kind = _CONVENTIONS.get(name)
    return None if kind is None else kind(doubled)


_CONVENTIONS: Mapping[str, type[Convention]] = {
    **dict.fromkeys(
        ("aiopg", "asyncpg", "mysql", "mysqlclient", "psycopg", "psycopg2", "pymssql", "pymysql", "sqlite3"),
        Statements,
    ),
    **dict.fromkeys(("aiohttp_client", "aiohttp_server", "requests", "urllib", "urllib3"), Requests),
    **dict.fromkeys(("grpc_aio_client", "grpc_aio_server", "grpc_client", "grpc_server"), Calls),
    **dict.fromkeys(("aiobotocore", "botocore"), AwsCalls),
}
