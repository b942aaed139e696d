"""One span for what two layers see: SQLAlchemy's stays, and the driver below makes none.

SQLAlchemy's span is not the current one while its driver runs, and a context that tells the driver to be silent would
stay behind where a statement is cancelled. So the driver's instrumentation looks who calls it. Anthropic's client
makes spans itself, but none where contrib's are made, which follow OpenTelemetry's variables for prompts and answers.
"""

import sys
from collections.abc import Callable, Collection
from types import FrameType, ModuleType
from typing import Any

from opentelemetry import trace as otel_trace
from opentelemetry.trace import SpanKind

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement

_DBAPI = "opentelemetry.instrumentation.dbapi"

_TRANSPARENT = frozenset(
    {"opentelemetry", "wrapt", "brain_otel", "asyncpg", "psycopg", "psycopg2", "pymysql", "MySQLdb"}
)
"""Packages between a call and who makes it: the instrumentations and the drivers themselves."""

_ASKING = "is_instrumentation_enabled"
"""The function of ``opentelemetry.instrumentation.utils`` that instrumentations of drivers ask before each call."""

_CONNECTING = "wrapped_connection"
"""The method that puts a traced connection in the place of a driver's."""


_WITHOUT_CALLER = frozenset({"aiosqlite"})
"""Packages that call a driver on a thread of their own, where a span would have no parent."""

_ANTHROPIC = "opentelemetry.instrumentation.genai.anthropic"
"""The instrumentation of Anthropic's client."""

_STARTING = "start_api_call_span"
"""The function of ``anthropic._base_client`` (private) that starts the client's own span of a call, or gives None."""


class Layers:
    """Makes instrumentations of drivers ask whether an outer layer makes the span.

    Args:
        outer: The packages whose calls their own instrumentations see; more may come.
    """

    def __init__(self, outer: Collection[str]) -> None:
        self._outer = outer
        self._joined: set[str] = set()
        self._patches = Patches()

    def join(self, module: ModuleType) -> None:
        """Let the instrumentation in ``module`` ask, if it is one of a driver."""
        if module.__name__ == _ANTHROPIC:
            self._join_client(sys.modules.get("anthropic._base_client"))
            return
        dbapi = sys.modules.get(_DBAPI)
        if module.__name__ not in _DRIVERS and (dbapi is None or dbapi not in vars(module).values()):
            return
        for each in filter(None, (module, dbapi)):
            if each.__name__ not in self._joined:
                self._joined.add(each.__name__)
                self._patch(each)

    def undo(self) -> None:
        """Leave the instrumentations as they were found."""
        self._patches.undo()
        self._joined.clear()

    def _join_client(self, module: ModuleType | None) -> None:
        if module is not None and module.__name__ not in self._joined and hasattr(module, _STARTING):
            self._joined.add(module.__name__)
            self._patches.replace(module, _STARTING, replacement(_starting))

    def _patch(self, module: ModuleType) -> None:
        if hasattr(module, _ASKING):
            self._patches.replace(module, _ASKING, replacement(self._asking))
        for kind in list(vars(module).values()):
            if isinstance(kind, type) and kind.__module__ == module.__name__ and _CONNECTING in vars(kind):
                self._patches.replace(kind, _CONNECTING, replacement(self._connecting))

    def _asking(self, original: Original) -> bool:
        return bool(original()) and not self._is_inner()

    def _connecting(
        self, original: Original, integration: Any, method: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """Gives an outer layer the driver's own connection, which costs nothing and is of the driver's class."""
        if self._is_inner():
            return method(*args, **kwargs)
        return original(integration, method, args, kwargs)

    def _is_inner(self) -> bool:
        with guarded("looking for the caller of a driver"):
            if _is_statement(otel_trace.get_current_span()):
                return True
            caller = _caller()
            return caller in self._outer or caller in _WITHOUT_CALLER
        return False


def _starting(_: Original, *args: object, **kwargs: object) -> None:
    """Contrib's span is the call's; calls that contrib does not see have the span of their request."""


_SYSTEMS = frozenset({"db.system.name", "db.system"})

_DRIVERS = frozenset({"opentelemetry.instrumentation.asyncpg"})
"""Instrumentations of drivers that do not use the one of DB-API."""


def _caller() -> str:
    """The top-level package that called the driver; a coroutine is called by the one that awaits it."""
    frame: FrameType | None = sys._getframe(3)
    while frame is not None:
        package: str = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in _TRANSPARENT:
            return package
        frame = frame.f_back
    return ""


def _is_statement(span: Any) -> bool:
    """Whether ``span`` stands for a statement, which an outer layer has made current around the driver's call."""
    if getattr(span, "kind", None) is not SpanKind.CLIENT:
        return False
    return not _SYSTEMS.isdisjoint(span.attributes or ())
