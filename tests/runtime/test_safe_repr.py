"""Tests of texts of the application's objects: bounded, on the thread that has the object, harmless."""

import asyncio
import collections
import threading
import time
from collections import UserList
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel
from sqlalchemy import create_engine, event, select
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column, relationship
from sqlalchemy.schema import ForeignKey
from wrapt import LazyObjectProxy

from brain_otel.events.attributes import attribute_value
from brain_otel.events.exception_tree import MAX_EXCEPTIONS, exceptions_in
from brain_otel.privacy import Policy
from brain_otel.runtime import quiet
from brain_otel.runtime.quiet import is_looking, one_budget
from brain_otel.runtime.safe_repr import plain, safe_repr, variables
from brain_otel.runtime.threads import start_daemon
from tests.support.yardstick import milliseconds

HERE = __name__


class Raising:
    def __repr__(self) -> str:
        raise RuntimeError("repr")


class Lying:
    def __repr__(self) -> Any:
        return 7


class Recursive:
    def __repr__(self) -> str:
        return repr(self)


class OnThread:
    def __repr__(self) -> str:
        return f"{threading.current_thread().name}, looking: {is_looking()}"


class Slow:
    calls = 0

    def __repr__(self) -> str:
        Slow.calls += 1
        time.sleep(0.03)
        return "slow"


class Interrupted:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


class Listed(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("loads")

    def __len__(self) -> int:
        raise RuntimeError("loads")


class LoadingDict(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("loads")


class Pair(NamedTuple):
    first: int
    second: int


@dataclass
class Upload:
    name: str
    body: Any
    hidden: int = field(default=1, repr=False)


class Model(BaseModel):
    body: bytes


class SimpleLazyObject:
    """As Django's: it pretends to be the object that it loads."""

    loads = 0

    def _load(self) -> type:
        SimpleLazyObject.loads += 1
        return dict

    __class__ = property(_load)

    def __repr__(self) -> str:
        return repr(self._load())


class QuerySet:
    """As Django's: it fetches its items when it is iterated or written out."""

    def __init__(self, fetched: list[Any] | None = None) -> None:
        self._result_cache = fetched

    def __repr__(self) -> str:
        raise AssertionError("a statement is run")


def test_repr_runs_on_the_callers_thread_and_nowhere_else() -> None:
    """A thread of ours, which builds events later, shows the class."""
    here = threading.current_thread().name
    assert safe_repr(OnThread()) == f"{here}, looking: True"
    assert not is_looking()
    texts: list[str] = []
    thread = start_daemon(lambda: texts.append(safe_repr(OnThread())), "brain_otel.test")
    assert thread is not None
    thread.join()
    assert texts == [f"<{HERE}.OnThread>"]


@pytest.mark.parametrize("kind", [Raising, Lying, Recursive])
def test_an_object_that_fails_is_shown_by_its_class(kind: Callable[[], Any]) -> None:
    """And so alone: its neighbours are shown."""
    name = f"<{HERE}.{getattr(kind, '__name__', '')}>"
    assert safe_repr(kind()) == name
    assert variables({"a": [kind(), 1]}) == {"a": [name, "1"]}
    assert attribute_value([kind(), 1]) == f'["{name}", 1]'  # JSON


def test_an_interrupt_passes() -> None:
    """It is for the application."""
    with pytest.raises(KeyboardInterrupt):
        safe_repr([Interrupted()])
    assert not is_looking()


def test_the_budget_is_per_event_and_silences_no_class() -> None:
    """Objects beyond it are shown by class; the next event has a budget of its own."""
    Slow.calls = 0
    with one_budget():
        shown = [variables({"a": [Slow() for _ in range(5)], "b": 1}) for _ in range(5)]
    assert Slow.calls <= quiet.MAX_SECONDS / 0.03 + 1
    assert shown[0]["a"][0] == "slow"
    assert shown[4] == {"a": [f"<{HERE}.Slow>"] * 5, "b": "1"}
    assert safe_repr([Slow()]) == "[slow]"


LARGE: list[tuple[str, Callable[[], Any]]] = [
    ("bytes", lambda: b"x" * 20_000_000),
    ("bytearray", lambda: bytearray(20_000_000)),
    ("str", lambda: "x" * 20_000_000),
    ("UserString", lambda: collections.UserString("x" * 20_000_000)),
    ("memoryview", lambda: memoryview(bytes(20_000_000))),
    ("deque", lambda: collections.deque(range(1_000_000))),
    ("list", lambda: list(range(1_000_000))),
    ("list subclass", lambda: Listed(range(1_000_000))),
    ("dict", lambda: dict.fromkeys(range(1_000_000))),
    ("keys", lambda: dict.fromkeys(range(1_000_000)).keys()),
    ("mapping proxy", lambda: MappingProxyType(dict.fromkeys(map(str, range(1_000_000))))),
    ("int", lambda: 1 << 3_000_000),
    ("dataclass", lambda: Upload("a", b"x" * 20_000_000)),
    ("pydantic model", lambda: Model(body=b"x" * 20_000_000)),
    ("namespace", lambda: SimpleNamespace(body=b"x" * 20_000_000)),
    ("exception", lambda: ValueError(b"x" * 20_000_000)),
    ("nested", lambda: [{"a": (b"x" * 20_000_000,)}]),
    ("wide and deep", lambda: [[[[[0] * 100] * 100] * 100] * 100] * 100),
]


@pytest.mark.parametrize("make", [make for _, make in LARGE], ids=[name for name, _ in LARGE])
def test_a_large_value_is_cut_before_it_is_written(make: Callable[[], Any]) -> None:
    """As a variable, as a text and as data."""
    value = make()
    for look in (lambda: variables({"a": value}), lambda: safe_repr(value), lambda: plain({"a": value})):
        assert milliseconds(look, 20) < 20
        assert isinstance(value, (str, collections.UserString)) or len(str(look())) < 200_000


def test_an_exception_of_plain_arguments_needs_no_budget() -> None:
    """Its text runs none of the application's code; that of another object, or of another class of errors, does."""

    class OurError(Exception):
        pass

    class WordyError(Exception):
        def __str__(self) -> str:
            return "words"

    with one_budget():
        quiet.clock().left = -1.0
        assert safe_repr(RuntimeError("boom"), str) == "boom"
        assert safe_repr(OurError("a", 1), str) == "('a', 1)"
        assert safe_repr(KeyError("a"), str) == "'a'"
        assert safe_repr(OSError(2, "No such file"), str) == "[Errno 2] No such file"
        assert safe_repr(ValueError(Slow()), str) == f"<{HERE}.Slow>"
        assert safe_repr(WordyError("a"), str).endswith("WordyError>")


def test_text_of_the_usual_objects_is_unchanged() -> None:
    """The text of what is small and harmless is its own."""
    for value in (
        {"a": [1, "b"]},
        (1,),
        "it's",
        b"\x00",
        1.5,
        None,
        True,
        range(3),
        Upload("a", [1]),
        ValueError("x"),
    ):
        assert safe_repr(value) == repr(value)
        assert safe_repr(value, str) == str(value)
    assert safe_repr(Model(body=b"x")) == "Model(body=b'x')"
    assert safe_repr(KeyError("x"), str) == "'x'"
    assert variables({"a": (1, 2), "b": "x", "c": {1: None}}) == {"a": ["1", "2"], "b": "'x'", "c": {"1": "None"}}


def test_overridden_methods_of_containers_are_not_called() -> None:
    """A subclass of a built-in container may load its items."""
    assert variables({"a": Listed([1]), "b": LoadingDict(a=1)}) == {"a": ["1"], "b": {"a": "1"}}


def test_a_cycle_ends() -> None:
    """In data and in text."""
    cycle: list[Any] = []
    cycle.append(cycle)
    assert variables({"a": cycle}) == {"a": ["<cyclic>"]}
    assert "<cyclic>" in safe_repr(cycle)


def test_proxies_and_queries_are_not_loaded() -> None:
    """Neither their text nor their class is asked for."""
    lazy, proxy = SimpleLazyObject(), LazyObjectProxy(lambda: pytest.fail("the target is created"))
    for value in (lazy, proxy, QuerySet()):
        name = f"<{type(value).__module__}.{type(value).__qualname__}>"
        assert variables({"a": value, "b": [value]}) == {"a": name, "b": [name]}
        assert plain({"a": value}) == {"a": name}
        assert attribute_value(value) == name
        assert safe_repr(Upload("a", value)) == f"Upload(name='a', body={name})"
        assert safe_repr(ValueError(value), str) == name
    assert SimpleLazyObject.loads == 0
    assert variables({"a": QuerySet([1])}) == {"a": ["1"]}
    Policy().value({"a": lazy, "b": [proxy]})
    assert SimpleLazyObject.loads == 0


class Color(Enum):
    RED = 1


class MissingError(KeyError):
    """An error of the application's with the interpreter's text."""


ERRORS_OF_THE_INTERPRETER: dict[str, tuple[Callable[[Any], BaseException], str]] = {
    "KeyError": (KeyError, "{}"),
    "a KeyError of the application's": (MissingError, "{}"),
    "KeyError of two": (lambda value: KeyError("a", value), "('a', {})"),
    "KeyError of a dict": (lambda value: KeyError({"a": value}), "{{'a': {}}}"),
    "OSError": (lambda value: OSError(2, "No such file", value), "[Errno 2] No such file: {}"),
    "OSError of two files": (lambda value: OSError(2, "no", "a", None, value), "[Errno 2] no: a -> {}"),
    "SyntaxError": (SyntaxError, "{}"),
    "ImportError": (ImportError, "{}"),
}


@pytest.mark.parametrize("name", ERRORS_OF_THE_INTERPRETER)
def test_the_interpreters_errors_load_nothing_for_their_text(name: str) -> None:
    """Their `str()` calls the `repr()` of an argument, which may be a lazy object."""
    make, text = ERRORS_OF_THE_INTERPRETER[name]
    before, lazy = SimpleLazyObject.loads, SimpleLazyObject()
    assert safe_repr(make(lazy), str) == text.format(f"<{HERE}.SimpleLazyObject>")
    assert SimpleLazyObject.loads == before


PLAIN_ERRORS = [
    KeyError("a"),
    KeyError(("a", 1)),
    KeyError(Color.RED),
    KeyError(),
    FileNotFoundError(2, "No such file", "a"),
    FileNotFoundError(2, "No such file", Path("a")),
    SyntaxError("bad", ("a", 1, 2, "b")),
    ImportError("no b", name="b"),
    UnicodeDecodeError("utf-8", b"a", 0, 1, "bad"),
    ExceptionGroup("several", [KeyError(1)]),
    SystemExit(3),
]


@pytest.mark.parametrize("error", PLAIN_ERRORS, ids=repr)
def test_the_interpreters_errors_keep_their_text(error: BaseException) -> None:
    assert safe_repr(error, str) == str(error)


class SlowKey(Slow):
    __hash__ = object.__hash__


def test_keys_share_the_budget_of_their_dict() -> None:
    """Also where nobody has begun a budget for an event."""
    Slow.calls = 0
    assert len(plain({SlowKey(): number for number in range(20)})) >= 1
    assert Slow.calls <= quiet.MAX_SECONDS / 0.03 + 1


def test_a_short_text_is_shown_and_a_long_one_begun_whatever_came_before() -> None:
    """The ids of an event's trace come after its large contexts."""
    with one_budget():
        for _ in range(8):
            plain({"large": "word " * 8_000})
        shown = plain({"trace_id": "a" * 32, "short": "x" * 256, "long": "word " * 5_000})
        assert variables({"short": "fine"}) == {"short": "'fine'"}
    assert (shown["trace_id"], shown["short"]) == ("a" * 32, "x" * 256)
    assert shown["long"].startswith("word " * 100)
    assert len(shown["long"]) < 600


class Base(MappedAsDataclass, DeclarativeBase):
    """Mapped classes have a generated `repr` that loads."""


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    password: Mapped[str] = mapped_column(default="hunter2")
    orders: Mapped[list["Order"]] = relationship(default_factory=list)
    numbers: AssociationProxy[list[int]] = association_proxy("orders", "id", init=False)


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), default=None)


async def holders_of(user: User) -> list[Any]:
    """Objects whose own text has the text of `user`."""
    future: asyncio.Future[User] = asyncio.get_running_loop().create_future()
    future.set_result(user)
    messages: asyncio.Queue[User] = asyncio.Queue()
    messages.put_nowait(user)
    variable = ContextVar("variable", default=user)
    holders = [partial(repr, user), user.__repr__, future, messages, UserList([user]), variable, variable.set(user)]
    return [*holders, Upload("a", user), ValueError(user), [user], {"user": user}]


def test_a_mapped_instance_is_shown_by_what_is_loaded() -> None:
    """On its own, in a row, in a dataclass, in an exception and as a collection: no statement, no flush."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    name = f"{HERE}.User"
    with Session(engine) as session:
        user = User()
        session.add(user)
        session.flush()
        loaded = {"__class__": name, "id": "1", "password": "'hunter2'"}
        assert variables({"a": user})["a"] == loaded
        assert Policy().value(variables({"a": user}))["a"]["password"] == "[Filtered]"
        assert "hunter2" not in str(attribute_value(user))
        session.commit()
        session.add(Order(user_id=1))
        row, query = session.execute(select(User)).one(), session.query(User)
        session.commit()
        numbers, holders = user.numbers, asyncio.run(holders_of(user))
        session.commit()
        session.add(Order(user_id=1))
        statements: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
        for value in (user, row, query, numbers, *holders):
            variables({"a": value})
            safe_repr(value)
            safe_repr(value, str)
            plain(value)
            attribute_value(value)
        assert variables({"a": user, "b": row}) == {"a": {"__class__": name}, "b": [{"__class__": name}]}
        assert statements == []
        assert len(session.new) == 1
        session.commit()
        assert len(user.orders) == 2
    engine.dispose()


def test_a_deep_group_is_walked_without_recursion() -> None:
    """And a wide one, and a long chain of causes, up to a bound."""
    deep: Exception = ValueError("innermost")
    for _ in range(2_500):
        deep = ExceptionGroup("group", [deep])
    assert len(list(exceptions_in(deep))) == 2_501
    wide = ExceptionGroup("wide", [ValueError(str(number)) for number in range(10_000)])
    assert len(list(exceptions_in(wide))) == MAX_EXCEPTIONS + 1
    first = chain = ValueError("0")
    for number in range(2_500):
        chain.__cause__ = chain = ValueError(str(number))
    assert len(list(exceptions_in(first))) > MAX_EXCEPTIONS


def test_the_end_of_the_stack_leaves_nothing_suppressed() -> None:
    """Wherever in our code the recursion of the application ends."""

    def recurse(depth: int) -> None:
        with suppress(RecursionError):
            safe_repr(object())
        recurse(depth + 1)

    with pytest.raises(RecursionError):
        recurse(0)
    assert not is_looking()
