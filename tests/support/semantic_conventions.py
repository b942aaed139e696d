"""OpenTelemetry's registry of semantic conventions as its Python package tells it, and facts that it leaves out.

The package has the names, the enums, and the unit and instrument of each metric. The types of attributes, and what a
span must have, are written here, of the groups that brain_otel emits: https://opentelemetry.io/docs/specs/semconv/.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from enum import Enum
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import opentelemetry.semconv._incubating as incubating
import opentelemetry.semconv.attributes
import opentelemetry.semconv.metrics
from opentelemetry.metrics import NoOpMeter


class Attribute(NamedTuple):
    """An attribute of the registry."""

    name: str
    is_deprecated: bool
    values: frozenset[str] | None
    """The well-known values; None if it is no enum."""


class Metric(NamedTuple):
    """A metric of the registry."""

    instrument: str
    unit: str


OPEN_ENUMS = frozenset(
    {"error.type", "telemetry.sdk.language", "db.system.name", "db.system", "messaging.system", "rpc.system.name"}
)
"""Enums that have other values as well."""

INTEGERS = frozenset(
    {"server.port", "client.port", "http.response.status_code", "http.status_code", "db.operation.batch.size"}
    | {"net.peer.port", "net.host.port", "db.redis.database_index", "code.lineno", "db.response.returned_rows"}
    | {"code.line.number", "cpython.gc.generation", "network.peer.port", "aws.dynamodb.limit"}
)
LISTS = frozenset({"user.roles", "aws.dynamodb.table_names"})
"""Attributes of the registry of another type than text, among those that are emitted."""

EVENTS = {
    "exception": {"exception.type", "exception.message"},
    "http.server.request.exception": {"exception.type", "exception.message"},
}
"""Events of the registry that are emitted, with the attributes that they must have."""

REQUIRED = {
    "http server": {"http.request.method", "url.path", "url.scheme", "server.address", "server.port"},
    "http client": {"http.request.method", "url.full", "server.address", "server.port"},
    "sql": {"db.system.name", "db.operation.name", "db.query.text", "db.namespace"},
    "redis": {"db.system.name", "db.operation.name", "db.query.text", "db.namespace", "server.address"},
    "rpc client": {"rpc.system.name", "rpc.method", "server.address", "server.port"},
    "messaging": {"messaging.system", "messaging.operation.name", "messaging.operation.type"}
    | {"messaging.destination.name", "messaging.message.id"},
}
"""What each span of a kind has: what is required, and what is known here though it is only recommended."""

OPT_IN = frozenset({"db.response.returned_rows", "client.port", "user_agent.synthetic.type", "url.template"})
"""Attributes that a span has only if somebody asks for them."""


@cache
def attributes() -> dict[str, Attribute]:
    """Every attribute by its name, those with a parameter without it (``http.request.header``)."""
    found: dict[str, Attribute] = {}
    for module in _modules(incubating.__name__ + ".attributes", opentelemetry.semconv.attributes.__name__):
        notes = _notes(module)
        enums = {
            _snake(name.removesuffix("Values")): frozenset(str(each.value) for each in value)
            for name, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, Enum) and name.endswith("Values")
        }
        for constant, value in vars(module).items():
            if constant.isupper() and isinstance(value, str):
                name = value.removesuffix("_TEMPLATE")
                found[name] = Attribute(name, "Deprecated" in notes.get(constant, ""), enums.get(constant))
    return found


@cache
def metrics() -> dict[str, Metric]:
    """Every metric by its name."""
    recording = _RecordingMeter()
    for module in _modules(incubating.__name__ + ".metrics", opentelemetry.semconv.metrics.__name__):
        for name, create in vars(module).items():
            if name.startswith("create_") and "callbacks" not in inspect.signature(create).parameters:
                create(recording)
    return recording.found


class _RecordingMeter(NoOpMeter):
    """Notes what the package's functions create."""

    def __init__(self) -> None:
        super().__init__("registry")
        self.found: dict[str, Metric] = {}

    def create_histogram(self, name: str, unit: str = "", description: str = "", **_: Any) -> Any:  # noqa: ARG002
        self.found[name] = Metric("Histogram", unit)

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:  # noqa: ARG002
        self.found[name] = Metric("Sum", unit)

    create_up_down_counter = create_counter


def _modules(*packages: str) -> list[ModuleType]:
    return [
        importlib.import_module(f"{package}.{each.name}")
        for package in packages
        for each in pkgutil.iter_modules(importlib.import_module(package).__path__)
    ]


def _notes(module: ModuleType) -> dict[str, str]:
    """The text below each constant."""
    with open(str(module.__file__), encoding="utf-8") as file:  # noqa: PTH123
        body = ast.parse(file.read()).body
    found = {}
    for assigned, note in pairwise(body):
        if isinstance(assigned, ast.AnnAssign) and isinstance(note, ast.Expr):
            found[ast.unparse(assigned.target)] = ast.unparse(note)
    return found


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
