"""Executes statements in the ways that SQLAlchemy has, each on the fast path and without, and prints the spans.

URL is the database's. A case gets a function that creates engines; with an asynchronous driver it runs in one of
SQLAlchemy's greenlets. What differs from run to run, such as ids and times, is left out.
"""

import asyncio
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from opentelemetry import trace as otel_trace
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from sqlalchemy import event, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.util import await_only, greenlet_spawn

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.sqlalchemy.instrumentor import SQLAlchemyInstrumentation
from brain_otel.runtime.fast_paths import configure_fast_paths
from brain_otel.runtime.guard import reraise_failures
from brain_otel.sampling.head import HeadSampler

Json = dict[str, Any]
Make = Callable[..., Engine]

URL = sa.make_url(os.environ["URL"])
DRIVER = URL.get_driver_name()
IS_ASYNC, IS_POSTGRES = DRIVER in ("aiosqlite", "asyncpg"), URL.get_backend_name() == "postgresql"

exporter = InMemorySpanExporter()
provider = TracerProvider(sampler=HeadSampler(ParentBased(ALWAYS_ON)), shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
otel_trace.set_tracer_provider(provider)
tracer = provider.get_tracer("test")


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = f"statements_{DRIVER}"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(9), unique=True)


THINGS = cast("sa.Table", Thing.__table__)
CASES: dict[str, Callable[[Make], object]] = {}


def case(function: Callable[[Make], object]) -> Callable[[Make], object]:
    CASES[function.__name__] = function
    return function


def frames(error: BaseException | None) -> list[Any]:
    """The class of an exception and of its causes, and the functions that each has passed through."""
    if error is None:
        return []
    passed = [(Path(each.filename).name, each.name) for each in traceback.extract_tb(error.__traceback__)]
    return [type(error).__name__, passed, *frames(error.__cause__)]


@contextmanager
def failing(found: list[Any]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        found.append(frames(error))


@case
def single_statements(make: Make) -> None:
    with make().connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.execute(text("/* first */ select :a"), {"a": "1"}).all()
        connection.scalar(sa.select(sa.literal(7)))
        connection.exec_driver_sql("SELECT 3")
        connection.execution_options(no_parameters=True).exec_driver_sql("SELECT '%'")
        connection.execute(THINGS.insert(), {"id": 1, "name": "a"})
        connection.execute(THINGS.update().values(name="b"))
        connection.execute(THINGS.delete())
        connection.commit()


@case
def many_parameters(make: Make) -> list[int]:
    with make(insertmanyvalues_page_size=2).begin() as connection:
        insert = text(f"INSERT INTO {THINGS.name} VALUES (:id, :name)")
        connection.execute(insert, [{"id": 1, "name": "a"}])
        connection.execute(insert, [{"id": each, "name": f"n{each}"} for each in (2, 3)])
        connection.exec_driver_sql(f"DELETE FROM {THINGS.name}")
        rows = [{"id": each, "name": f"n{each}"} for each in range(5)]
        connection.execute(THINGS.insert(), rows)
        connection.execute(THINGS.delete())
        found = connection.execute(THINGS.insert().returning(THINGS.c.id, sort_by_parameter_order=True), rows)
        numbers = [row.id for row in found]
        connection.rollback()
        return numbers


@case
def defaults_of_columns(make: Make) -> None:
    """A sequence, and a default that is a query, are executed before the statement, in its execution context."""
    queried = sa.Column("id", sa.Integer, primary_key=True, default=sa.select(sa.literal(5)).scalar_subquery())
    metadata = sa.MetaData()
    columns: list[sa.Column[Any]] = [queried, sa.Column("name", sa.String)]
    if IS_POSTGRES:
        columns.append(sa.Column("number", sa.Integer, sa.Sequence(f"numbers_{DRIVER}")))
    table = sa.Table(f"defaults_{DRIVER}", metadata, *columns, implicit_returning=False)
    with make().begin() as connection:
        metadata.create_all(connection)
        connection.execute(table.insert(), {"name": "a"})
        if IS_POSTGRES:
            connection.scalar(sa.Sequence(f"numbers_{DRIVER}"))
        metadata.drop_all(connection)


@case
def sessions(make: Make) -> list[str]:
    engine = make()
    with Session(engine) as session:
        session.add_all([Thing(name=name) for name in ("x", "y", "z")])
        session.flush()
        found = list(session.scalars(sa.select(Thing.name).order_by(Thing.name)))
        with session.begin_nested():
            session.add(Thing(name="nested"))
        session.rollback()
        session.execute(text("SELECT 'after'"))
    return found


@case
def streamed_results(make: Make) -> list[int]:
    numbers = "SELECT 1 UNION SELECT 2 UNION SELECT 3"
    with make().connect() as connection:
        found = [row[0] for row in connection.execution_options(yield_per=2).execute(text(numbers))]
        return found + [row[0] for row in connection.execution_options(stream_results=True).execute(text(numbers))]


@case
def transactions_of_two_phases(make: Make) -> list[Any]:
    found: list[Any] = []
    if DRIVER == "psycopg":
        with failing(found), make().connect() as connection:
            transaction = connection.begin_twophase()
            connection.execute(text("SELECT 1"))
            transaction.prepare()
            transaction.commit()
    return found


@case
def failures(make: Make) -> list[Any]:
    found: list[Any] = []
    engine = make()
    for statement in ("SELECT * FROM no_such_table", "NO SQL", "SELECT :a"):
        with failing(found), engine.connect() as connection:
            connection.execute(text(statement), {"b": 1} if ":a" in statement else None)
    with failing(found), engine.begin() as connection:
        connection.execute(THINGS.insert(), [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}])
    with failing(found), engine.begin() as connection:
        connection.execute(text(f"INSERT INTO {THINGS.name} VALUES (:id, 'a')"), [{"id": 1}, {"id": 1}])
    with failing(found), engine.connect() as connection:
        connection.execute(text("SELECT 1 WHERE 1 = :a"), {"a": object()})
    return found


@case
def failing_cursors(make: Make) -> list[Any]:
    found: list[Any] = []
    with failing(found), make().connect() as connection:
        connection.connection.dbapi_connection.close()  # type: ignore[union-attr]
        connection.execute(text("SELECT 1"))
    return found


def wait_until_noticed(connection: sa.Connection) -> None:
    """Wait until asyncpg knows that its connection is lost: before, it fails with another error."""
    driver: Any = connection.connection.driver_connection
    while DRIVER == "asyncpg" and not driver.is_closed():
        await_only(asyncio.sleep(0.01))


@case
def lost_connections(make: Make) -> list[Any]:
    found: list[Any] = []
    if IS_POSTGRES:
        engine, other = make(pool_pre_ping=True), make()
        with other.connect() as killer, engine.connect() as connection:
            number = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            killer.execute(text("SELECT pg_terminate_backend(:number, 5000)"), {"number": number})
            wait_until_noticed(connection)
            with failing(found):
                connection.execute(text("SELECT 'lost'"))
            connection.rollback()
            found.append(connection.invalidated)
            number = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            connection.commit()
            connection.close()
            killer.execute(text("SELECT pg_terminate_backend(:number, 5000)"), {"number": number})
            with engine.connect() as pinged:
                pinged.execute(text("SELECT 'pinged'"))
    return found


@case
def unreachable_databases(_: Make) -> list[Any]:
    found: list[Any] = []
    if not IS_ASYNC:
        url = URL.set(port=1) if IS_POSTGRES else URL.set(database="/nowhere/at/all")
        with failing(found), sa.create_engine(url).connect():
            pass
    return found


@case
def other_ways_to_the_driver(make: Make) -> None:
    engine = make()
    raw = engine.raw_connection()
    raw.cursor().execute("SELECT 'raw'")
    raw.close()
    with engine.connect() as connection:
        connection.connection.cursor().execute("SELECT 'raw too'")
        sa.inspect(connection).get_table_names()


@case
def engines_with_options(make: Make) -> None:
    engine = make()
    with engine.execution_options(isolation_level="SERIALIZABLE").connect() as connection:
        connection.execute(text("SELECT 'first'"))
    with engine.connect() as connection:
        connection.execute(text("SELECT 'second'"))


@case
def silence(make: Make) -> None:
    engine = make()
    with suppress_instrumentation(), engine.connect() as connection:
        connection.execute(text("SELECT 'silent'"))
    with engine.connect() as connection:
        connection.execute(text("SELECT 'loud'"))


def commenting(word: str) -> Callable[..., Any]:
    def comment(_1: Any, _2: Any, statement: str, parameters: Any, _5: Any, _6: Any) -> Any:
        return f"{statement} /* {word} */", parameters

    return comment


@case
def listeners_that_change_statements(make: Make) -> None:
    engine = make()
    on_class = commenting("class")
    event.listen(Engine, "before_cursor_execute", on_class, retval=True)
    event.listen(engine, "before_cursor_execute", commenting("engine"), retval=True)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            connection.execute(THINGS.insert(), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
            connection.rollback()
    finally:
        event.remove(Engine, "before_cursor_execute", on_class)
    with make().connect() as connection:
        connection.execute(text("SELECT 2"))


@case
def listeners_that_come_late(make: Make) -> None:
    engine = make()
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    event.listen(engine, "after_cursor_execute", lambda *_: None)
    with engine.connect() as connection:
        connection.execute(text("SELECT 2"))


@case
def listeners_in_the_place_of_the_driver(make: Make) -> None:
    engine = make()

    def execute(cursor: Any, statement: str, parameters: Any, _: Any) -> bool:
        cursor.execute(statement, parameters)
        return True

    event.listen(engine, "do_execute", execute)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 WHERE 1 = :a"), {"a": 1})


@case
def listeners_that_fail(make: Make) -> list[Any]:
    found: list[Any] = []

    def fail(*_: Any) -> None:
        raise ValueError("no")

    for name in ("before_cursor_execute", "after_cursor_execute"):
        engine = make()
        event.listen(engine, name, fail)
        with failing(found), engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    return found


@case
def listeners_to_errors(make: Make) -> list[Any]:
    found: list[Any] = []
    engine = make()

    def handle(context: Any) -> LookupError:
        return LookupError(type(context.original_exception).__name__)

    event.listen(engine, "handle_error", handle)
    with failing(found), engine.connect() as connection:
        connection.execute(text("SELECT * FROM no_such_table"))
    return found


@case
def listeners_of_a_connection(make: Make) -> list[str]:
    """They see what happens in their order."""
    seen: list[str] = []
    with make().connect() as connection:
        for name in ("before_execute", "before_cursor_execute", "after_cursor_execute", "after_execute", "rollback"):
            event.listen(connection, name, lambda *_, name=name: seen.append(name))
        connection.execute(text("SELECT 1"))
    return seen


@case
def an_instrumentor_of_the_application(make: Make) -> None:
    engine, other, early = make(), make(), make()
    with early.connect() as connection:
        connection.execute(text("SELECT 'early'"))
    own = SQLAlchemyInstrumentor()
    own.instrument(engine=engine, skip_dep_check=True, enable_commenter=True, enable_attribute_commenter=True)
    try:
        for each in (engine, other, early, make()):
            with each.connect() as connection:
                connection.execute(text("SELECT 'both'"))
    finally:
        own.uninstrument()
    for each in (engine, other, early):
        with each.connect() as connection:
            connection.execute(text("SELECT 'alone'"))


class OwnDialect(SQLiteDialect_pysqlite):
    """Calls the inherited method, as dialects of others do."""

    supports_statement_cache = True

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        super().do_execute(cursor, statement + " -- own", parameters, context=context)  # type: ignore[no-untyped-call]


class InterruptedDialect(SQLiteDialect_pysqlite):
    """Is interrupted while the driver works."""

    supports_statement_cache = True

    def do_execute(self, *_: Any) -> None:
        raise KeyboardInterrupt


@case
def dialects_of_others(_: Make) -> list[Any]:
    found: list[Any] = []
    for name, kind in (("own", OwnDialect), ("interrupted", InterruptedDialect)):
        registry.register(f"sqlite.{name}", __name__, kind.__name__)
        with failing(found), sa.create_engine(f"sqlite+{name}://").connect() as connection:
            connection.execute(text("SELECT 1 WHERE 1 = :a"), {"a": 1})
            connection.execute(text("SELECT 2"))
    return found


def shown(span: ReadableSpan, names: dict[int, str]) -> Json:
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time <= span.end_time
    assert span.context is not None
    attributes = dict(span.attributes or {})
    for key in ("db.query.text", "db.statement"):
        if key in attributes:
            attributes[key] = re.sub(r"(traceparent)='[^']*'", r"\1", str(attributes[key]))
    return {
        "name": span.name,
        "kind": span.kind.name,
        "attributes": attributes,
        "status": [span.status.status_code.name, re.sub(r"0x\w+", "", span.status.description or "")],
        "events": [each.name for each in span.events],
        "parent": names.get(span.parent.span_id) if span.parent else None,
        "scope": [span.instrumentation_scope.name, span.instrumentation_scope.schema_url],  # type: ignore[union-attr]
    }


def create(**options: Any) -> Engine:
    return create_async_engine(URL, **options).sync_engine if IS_ASYNC else sa.create_engine(URL, **options)


def run(name: str, is_fast: bool) -> Json:
    """Run a case; tell its result, its spans, and whether the driver's calls are observed at its end."""
    configure_fast_paths(is_fast)
    Engine._has_events = False  # SQLAlchemy never resets it
    engines: list[Engine] = []

    def make(**options: Any) -> Engine:
        engines.append(create(**options))
        return engines[-1]

    with make().begin() as connection:  # an engine from before the instrumentation, which is silent then
        connection.execute(THINGS.delete())
    instrumentation = SQLAlchemyInstrumentation()
    instrumentation.instrument(InstrumentationSettings(sqlalchemy_returned_rows=True))
    exporter.clear()
    try:
        with tracer.start_as_current_span(name):
            result = CASES[name](make)
            with engines[0].connect() as connection:
                connection.execute(text("SELECT 'early engine'"))
        observes_calls = hasattr(DefaultDialect.do_execute, "__wrapped__")
    finally:
        instrumentation.uninstrument()
    with make().connect() as connection:
        connection.execute(text("SELECT 'nobody looks'"))
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans if span.context is not None}
    for each in engines:
        each.dispose()
    return {"result": result, "spans": [shown(span, names) for span in spans], "observes_calls": observes_calls}


def main() -> None:
    engine = create()
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    engine.dispose()
    chosen = sys.argv[1:] or list(CASES)
    print(json.dumps({name: [run(name, is_fast) for is_fast in (True, False)] for name in chosen}))


async def main_async() -> None:
    await greenlet_spawn(main)


reraise_failures(True)
asyncio.run(main_async()) if IS_ASYNC else main()
