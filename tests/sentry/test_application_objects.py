"""Tests of errors with the application's objects in their variables: the report changes nothing that follows."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from opentelemetry import trace as otel_trace
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)
from sqlalchemy.pool import QueuePool

import brain_otel
from brain_otel.events.exception_tree import MAX_EXCEPTIONS
from brain_otel.testing import Telemetry

log = logging.getLogger("app.objects")


class Base(MappedAsDataclass, DeclarativeBase):
    """Mapped classes have a generated `repr` that loads."""


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(default="")
    password: Mapped[str] = mapped_column(default="hunter2")


def report(user: Any) -> None:
    """Log an exception with ``user`` among the variables, in the record and in the breadcrumbs."""
    log.info("before", extra={"user": user})
    sentry_sdk.set_extra("user", user)
    brain_otel.set_context("facts", {"user": user})
    try:
        raise ValueError("failed")
    except ValueError:
        log.exception("failed", extra={"user": user})


def variables_of(found: dict[str, Any]) -> dict[str, Any]:
    """The variables of the innermost frame."""
    shown: dict[str, Any] = found["exception"]["values"][-1]["stacktrace"]["frames"][-1]["vars"]
    return shown


@pytest.fixture(params=["memory", "file"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine for SQLite, with a table."""
    made = create_engine("sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


def test_a_report_loads_and_flushes_nothing(telemetry: Telemetry, engine: Engine) -> None:
    """The instance is expired, and another waits to be inserted."""
    statements: list[str] = []
    with Session(engine) as session:
        user = User(name="a")
        session.add(user)
        session.commit()
        session.add(User(name="pending"))
        event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
        report(user)
        assert statements == []
        assert len(session.new) == 1
        session.commit()
        assert session.execute(text("select count(*) from users")).scalar() == 2
        user.name  # noqa: B018 - loads it
        report(user)
    first, second = telemetry.events
    assert variables_of(first)["user"] == {"__class__": f"{__name__}.User"}
    assert variables_of(second)["user"]["name"] == "'a'"
    assert variables_of(second)["user"]["password"] == "[Filtered]"
    assert "hunter2" not in str(telemetry.events)
    assert "hunter2" not in str(telemetry.logs)


def test_a_report_within_run_sync_leaves_the_session_usable(telemetry: Telemetry, tmp_path: Path) -> None:
    """With aiosqlite, a load from another thread would break the transaction."""

    async def work() -> int | None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/db")
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            user = User(name="a")
            session.add(user)
            await session.commit()
            session.add(User(name="pending"))
            await session.run_sync(lambda _: report(user))
            assert len(session.new) == 1
            await session.commit()
            count = (await session.execute(text("select count(*) from users"))).scalar()
        await engine.dispose()
        return count

    assert asyncio.run(work()) == 2
    assert len(telemetry.events) == 1


def test_a_report_keeps_no_connection(telemetry: Telemetry, tmp_path: Path) -> None:
    """An object's `repr` that uses a scoped session uses the one of its thread, which the application removes."""
    engine = create_engine(
        f"sqlite:///{tmp_path}/db", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.1
    )
    sessions = scoped_session(sessionmaker(engine))

    class Asking:
        def __repr__(self) -> str:
            return f"{threading.current_thread().name} {sessions.execute(text('select 1')).scalar()}"

    report(Asking())
    sessions.remove()
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    with engine.connect() as connection:
        connection.execute(text("select 1"))
    assert variables_of(telemetry.events[0])["user"] == f"{threading.current_thread().name} 1"
    assert len([span for span in telemetry.spans if span["name"].lower().startswith("select")]) == 1
    engine.dispose()


def _capture(_: Any) -> None:
    brain_otel.capture_exception(RuntimeError("from repr"))


def _capture_with_sentry(_: Any) -> None:
    sentry_sdk.capture_exception(RuntimeError("from repr"))
    sentry_sdk.capture_message("from repr")
    sentry_sdk.add_breadcrumb(message="from repr")


def _log(_: Any) -> None:
    log.warning("from repr")
    try:
        raise RuntimeError("from repr")
    except RuntimeError:
        log.exception("from repr")


def _span(_: Any) -> None:
    with brain_otel.start_transaction("from repr"), brain_otel.start_span("from repr"):
        brain_otel.add_breadcrumb("from repr")
    with otel_trace.get_tracer("app").start_as_current_span("from repr"):
        otel_trace.get_current_span().add_event("from repr")
    otel_trace.get_current_span().set_attribute("from repr", 1)


@pytest.mark.parametrize("act", [_capture, _capture_with_sentry, _log, _span])
def test_what_a_repr_reports_is_not_recorded(telemetry: Telemetry, act: Callable[[Any], None]) -> None:
    """One error is one event, and telemetry works again afterwards."""

    class Acting:
        def __repr__(self) -> str:
            act(self)
            return "acting"

    with brain_otel.start_transaction("work"):
        report(Acting())
        sentry_sdk.capture_message("afterwards")
    first, second = telemetry.events
    assert variables_of(first)["user"] == "acting"
    assert second["message"] == "afterwards"
    assert [span["name"] for span in telemetry.spans] == ["work"]
    recorded = [telemetry.spans, telemetry.logs, telemetry.breadcrumbs]
    assert "from repr" not in str(recorded)
    assert "from repr" not in str([each.get("breadcrumbs") for each in (first, second)])


def test_what_is_set_for_a_transaction_is_looked_at_by_its_own_thread(telemetry: Telemetry) -> None:
    """The transaction is built on another thread."""
    names = []

    class Noting:
        def __repr__(self) -> str:
            names.append(threading.current_thread().name)
            return "noting"

    with brain_otel.start_transaction("work"):
        brain_otel.set_context("facts", {"it": Noting()})
        sentry_sdk.set_context("others", {"it": Noting()})
    (transaction,) = telemetry.transactions
    assert transaction["contexts"]["facts"] == {"it": "noting"}
    assert set(names) == {threading.current_thread().name}


@pytest.mark.parametrize("kind", ["deep", "wide", "long"])
def test_an_exception_with_many_others_keeps_its_event(telemetry: Telemetry, kind: str) -> None:
    """A group of 2,500 levels, one of 10,000 members, and a chain of 2,500 causes."""
    error: Exception = ValueError("0")
    if kind == "wide":
        error = ExceptionGroup("group", [ValueError(str(number)) for number in range(10_000)])
    for _ in range(2_500 if kind == "deep" else 0):
        error = ExceptionGroup("group", [error])
    for number in range(2_500 if kind == "long" else 0):
        other = ValueError(str(number))
        other.__cause__ = error
        error = other
    try:
        raise error
    except Exception:
        brain_otel.capture_exception()
    (found,) = telemetry.events
    assert len(found["exception"]["values"]) == MAX_EXCEPTIONS
    assert found["exception"]["values"][-1]["type"] == type(error).__name__
    assert telemetry.logs[0]["attributes"]["exception.stacktrace"].startswith("Traceback")
    if kind == "deep":
        while isinstance(error, ExceptionGroup):  # its destructor recurses otherwise
            error = error.exceptions[0]
