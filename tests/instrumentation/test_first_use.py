"""An instrumentation is installed with the first call to its library, which has the same span as each later one."""

import asyncio
import inspect
import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import pytest
import wrapt

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation import LIBRARIES, first_use
from brain_otel.instrumentation.first_use import WRAP, EntryPoints, FirstUse, wrapping
from brain_otel.runtime.fast_paths import configure_fast_paths
from brain_otel.runtime.guard import forget_logged_places, reraise_failures
from brain_otel.runtime.patch import Patch, Patches, drop_own_frame
from tests.conftest import SWITCH
from tests.instrumentation.process import Json, run_traced
from tests.instrumentation.target import HttpTarget
from tests.support.process import free_port, run_python
from tests.support.services import Valkey

SETTINGS = InstrumentationSettings()


class RefusedError(Exception):
    """What the library raises."""


class Client:
    """A library with two entry points."""

    def call(self, value: str) -> str:
        """Answer, or raise."""
        if value == "refused":
            raise RefusedError
        return value

    async def call_async(self, value: str) -> str:
        return self.call(value)


class Special(Client):
    def call(self, value: str) -> str:
        return "special " + super().call(value)


class Traced:
    """An instrumentation of the library."""

    def __init__(self, entry_points: EntryPoints) -> None:
        self.entry_points = entry_points
        self.is_removed = False

    def instrument(self, _: InstrumentationSettings) -> None:
        made.append(self)
        if fails_with:
            raise fails_with[0]
        threading.Event().wait(pauses.pop() if pauses else 0)
        self.entry_points.replace(Client, "call", _sync)
        self.entry_points.replace(Client, "call_async", _async)

    def uninstrument(self) -> None:
        self.is_removed = True
        self.entry_points.undo()


made: list[Traced] = []
spans: list[str] = []
fails_with: list[Exception] = []
pauses: list[float] = []
"""Seconds that it takes to install."""


def _sync(patch: Patch) -> Callable[..., Any]:
    def call(client: Client, value: str) -> Any:
        spans.append(value)
        try:
            return patch.original(client, value)
        except BaseException as error:
            drop_own_frame(error)
            raise

    return call


def _async(patch: Patch) -> Callable[..., Any]:
    async def call_async(client: Client, value: str) -> Any:
        spans.append(value)
        return await patch.original(client, value)

    return call_async


@pytest.fixture(autouse=True)
def _fast_paths_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fast paths, everything is installed at once."""
    monkeypatch.setenv(SWITCH, "true")
    configure_fast_paths(True)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[FirstUse]:
    """Give the instrumentation of the library, which waits for the first call."""
    for each in (made, spans, fails_with):
        each.clear()
    monkeypatch.setitem(first_use._ENTRY_POINTS, "shop", {__name__: ("Client.call", "Client.call_async")})
    installation = FirstUse("shop", "brain_otel.instrumentation.shop", lambda: Traced)
    originals = dict(vars(Client))
    installation.instrument(SETTINGS)
    yield installation
    installation.uninstrument()
    assert dict(vars(Client)) == originals


def test_nothing_is_installed_before_the_first_call(library: FirstUse) -> None:
    """And to inspection the placeholders are the methods."""
    assert not made
    assert inspect.iscoroutinefunction(Client.call_async)
    assert list(inspect.signature(Client.call).parameters) == ["self", "value"]
    assert Client.call.__doc__ == "Answer, or raise."
    assert Client().call("a") == "a"
    assert len(made) == 1
    assert vars(Client)["call"].__name__ == "call"
    assert type(vars(Client)["call"]) is FunctionType  # the placeholder has gone
    library.load()
    assert len(made) == 1


@pytest.mark.usefixtures("library")
def test_the_first_call_is_traced_as_the_second() -> None:
    """Sync, async, through `super()` and by the class."""
    assert [Special().call("a"), Special().call("b")] == ["special a", "special b"]
    assert [asyncio.run(Client().call_async("c")), asyncio.run(Client().call_async("d"))] == ["c", "d"]
    assert Client.call(Client(), "e") == "e"
    assert spans == ["a", "b", "c", "c", "d", "d", "e"]  # the async method calls the sync one


@pytest.mark.usefixtures("library")
def test_the_first_call_may_be_the_async_one() -> None:
    assert asyncio.run(Client().call_async("a")) == "a"
    assert spans == ["a", "a"]


@pytest.mark.usefixtures("library")
def test_an_exception_of_the_first_call_has_the_traceback_of_the_second() -> None:
    """None of its frames is ours."""

    def frames() -> list[str]:
        with pytest.raises(RefusedError) as caught:
            Client().call("refused")
        return [each.name for each in traceback.extract_tb(caught.value.__traceback__)]

    assert frames() == frames() == ["frames", "call"]


def test_many_first_calls_at_once_are_traced_once_each(library: FirstUse) -> None:
    """Threads, each with a loop of its own, wait for the one that installs."""
    entered, calls = threading.Barrier(8), range(8)
    load = library._import

    def slowly() -> Any:
        entered.wait(10)
        return load()

    library._import = slowly
    pauses.append(0.05)

    def call(number: int) -> str:
        return asyncio.run(Client().call_async(str(number))) if number % 2 else Client().call(str(number))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, calls)) == [str(number) for number in calls]
    assert len(made) == 1
    assert sorted(spans) == sorted([*"01234567", *"1357"])


def test_a_placeholder_that_somebody_has_wrapped_stays_within(library: FirstUse) -> None:
    """Their wrapper runs once a call, before and after the first use, and is left alone."""
    seen: list[str] = []
    placeholder, inner = vars(Client)["call"], Client.call

    def wrapper(client: Client, value: str) -> Any:
        seen.append(value)
        return inner(client, value)

    setattr(Client, "call", wrapper)  # noqa: B010 - as somebody else does it, whom mypy does not check
    assert [Client().call(value) for value in "ab"] == ["a", "b"]
    assert seen == spans == ["a", "b"]
    library.uninstrument()
    assert vars(Client)["call"] is wrapper
    assert Client().call("c") == "c"
    assert (seen, spans) == (["a", "b", "c"], ["a", "b"])
    setattr(Client, "call", placeholder.__wrapped__)  # noqa: B010


@pytest.mark.usefixtures("library")
def test_a_placeholder_that_a_test_puts_back_traces() -> None:
    """The test's fake stood there during the first use. With the next call the placeholder has gone again."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Client, "call", lambda _, value: f"fake {value}")
        assert asyncio.run(Client().call_async("a")) == "fake a"
    assert spans == ["a"]
    assert Client().call("b") == "b"
    assert spans == ["a", "b"]
    assert type(vars(Client)["call"]) is FunctionType


def test_an_instrumentation_that_is_removed_before_the_first_call_traces_nothing(library: FirstUse) -> None:
    """Installed again, it traces."""
    kept = Client().call
    library.uninstrument()
    assert (kept("a"), Client().call("b")) == ("a", "b")
    assert not made
    again = FirstUse("shop", "brain_otel.instrumentation.shop", lambda: Traced)
    again.instrument(SETTINGS)
    assert (kept("c"), Client().call("d")) == ("c", "d")
    assert spans == ["d"]
    again.uninstrument()


@pytest.fixture
def failures(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """Give the lines about our failures, which are swallowed as in production."""
    reraise_failures(False)
    forget_logged_places()
    caplog.set_level(logging.ERROR)
    yield lambda: [each.getMessage() for each in caplog.records]
    forget_logged_places()


def test_an_instrumentation_that_fails_is_removed_and_tried_again(
    library: FirstUse, failures: Callable[[], list[str]]
) -> None:
    """One line says so. The call that made it fail goes through as if there were none."""
    fails_with.append(ValueError("broken"))
    assert Client().call("a") == "a"
    (failed,) = made
    assert failed.is_removed
    fails_with.clear()
    assert [Client().call(value) for value in "bc"] == ["b", "c"]
    assert (len(made), spans) == (2, ["b", "c"])
    assert [each.partition(";")[0] for each in failures()] == ["brain_otel failed while instrumenting shop"]
    assert type(vars(Client)["call"]) is FunctionType
    library.load()
    assert len(made) == 2


@pytest.mark.parametrize("times", [2, 3, 7])
def test_an_instrumentation_that_cannot_be_loaded_is_tried_again(
    library: FirstUse, failures: Callable[[], list[str]], times: int
) -> None:
    """The process may have had no file descriptor left for a while. After some attempts there are pauses."""
    load, errors = library._import, [OSError("too many open files")] * times

    def failing() -> Any:
        if errors:
            raise errors.pop()
        return load()

    library._import = failing
    assert [Client().call(value) for value in "abcd"] == [*"abcd"]
    assert spans == (["c", "d"] if times == 2 else [])
    for _ in range(4):
        library._again_at = 0.0  # the pause is over
        Client().call("e")
    assert spans == {2: [*"cdeeee"], 3: [*"eeee"], 7: []}[times]
    assert [each.partition(";")[0] for each in failures()] == [
        "brain_otel failed while loading what instruments shop"
    ]
    assert hasattr(Client.call, "__wrapped__") is False


@pytest.mark.parametrize("where", ["importing", "instrumenting"])
def test_an_exception_of_a_signal_passes_and_the_next_call_is_traced(
    library: FirstUse, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Ctrl-C, or a worker's limit of time, ends the first call while it installs the instrumentation."""
    load, stopped = library._import, KeyboardInterrupt()

    def stopping() -> Any:
        raise stopped

    if where == "importing":
        library._import = stopping
    else:

        def instrument(traced: Traced, _: InstrumentationSettings) -> None:
            traced.entry_points.replace(Client, "call", _sync)
            stopping()

        monkeypatch.setattr(Traced, "instrument", instrument)
    with pytest.raises(KeyboardInterrupt) as caught:
        Client().call("a")
    assert caught.value is stopped
    monkeypatch.undo()
    monkeypatch.setitem(first_use._ENTRY_POINTS, "shop", {__name__: ("Client.call", "Client.call_async")})
    library._import = load
    assert [Client().call(value) for value in "bc"] == ["b", "c"]
    assert spans == ["b", "c"]
    assert type(vars(Client)["call"]) is FunctionType


def test_a_call_while_a_test_hides_the_module_installs_nothing(library: FirstUse) -> None:
    """The instrumentation would take hold of the test's object in the place of the library's."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, __name__, SimpleNamespace(Client=SimpleNamespace()))
        assert Client().call("a") == "a"
        library.load()
    assert not made
    assert Client().call("b") == "b"
    assert spans == ["b"]


LATE = (
    *("opentelemetry.instrumentation." + name for name in ("httpx", "redis", "sqlalchemy", "_semconv", "utils")),
    *("opentelemetry.util.http", "opentelemetry.semconv.attributes.db_attributes", "opentelemetry.semconv.schemas"),
    *("brain_otel.instrumentation." + name for name in ("span_scope", "httpx.instrumentor", "httpx.targets")),
    *("brain_otel.instrumentation." + name for name in ("redis.instrumentor", "redis.command_span")),
    *("brain_otel.instrumentation." + name for name in ("sqlalchemy.instrumentor", "sqlalchemy.driver_calls")),
    *(
        "brain_otel.instrumentation." + name
        for name in ("conflicts", "database", "fast_span", "log_records", "tracer")
    ),
)

NEVER = tuple(f"brain_otel.instrumentation.{name}" for name in ("loop_lag", "others.layers", "targets", "trust"))
"""What only some configurations need, or only libraries of others."""


@pytest.mark.parametrize("event", ["setup", "the application starts", "a fork", "an import of contrib's"])
def test_what_traces_calls_is_installed_when_it_is_needed(event: str) -> None:
    """Set-up imports none of it; the lifespan's start and a fork install everything."""
    code = f"""
import asyncio, json, os, sys, warnings
import fastapi, httpx, redis.asyncio, sqlalchemy.ext.asyncio
import brain_otel

warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
brain_otel.setup()
names = {(*LATE, *NEVER)!r}
methods = [(httpx.HTTPTransport, "handle_request"), (redis.Redis, "execute_command")]
methods += [(sqlalchemy.Connection, "__init__")]
before = [vars(owner)[name] for owner, name in methods]

def show():
    changed = [vars(owner)[name] is not each for (owner, name), each in zip(methods, before)]
    print(json.dumps([[name for name in names if name in sys.modules], changed]), flush=True)
    os._exit(0)

async def start():
    async def receive():
        return {{"type": "lifespan.startup"}}

    async def send(message):
        show()

    await fastapi.FastAPI()({{"type": "lifespan", "asgi": {{"version": "3.0"}}, "state": {{}}}}, receive, send)

if {event!r} == "the application starts":
    asyncio.run(start())
elif {event!r} == "a fork" and os.fork():
    os.wait()
    os._exit(0)
elif {event!r} == "an import of contrib's":
    import opentelemetry.instrumentation.redis
show()
"""
    env = {
        "SENTRY_DSN": "http://key@127.0.0.1:9/1",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "urllib3,requests,sqlite3",
    }
    done = run_python(code, env, fresh=True)
    assert (done.returncode, done.stderr) == (0, "")
    loaded, changed = json.loads(done.stdout)
    if event == "setup":
        assert (loaded, changed) == ([], [False, False, False])
    elif event == "an import of contrib's":
        assert changed == [False, True, False]
    else:
        assert set(loaded) >= set(LATE)
        assert changed == [True, True, True]


def test_what_contrib_wraps_is_patched_on_the_thread_that_asks_for_it() -> None:
    """A contrib that wraps by another function is left to itself."""
    contrib, patches = ModuleType("contrib"), Patches()
    with wrapping(contrib, patches):
        assert not hasattr(contrib, WRAP)
    vars(contrib)[WRAP] = wrapt.wrap_function_wrapper
    original = vars(Client)["call"]

    def wrapper(call: Any, _: Any, args: Any, kwargs: Any) -> Any:
        return "wrapped " + call(*args, **kwargs)

    with wrapping(contrib, patches):
        vars(contrib)[WRAP](__name__, "Client.call", wrapper)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(vars(contrib)[WRAP], __name__, "Special.call", wrapper).result()
    assert vars(contrib)[WRAP] is wrapt.wrap_function_wrapper
    assert (Client().call("a"), Special().call("a")) == ("wrapped a", "wrapped special wrapped a")
    patches.undo()
    assert vars(Client)["call"] is original
    assert Special().call("a") == "wrapped special a"
    setattr(Special, "call", vars(Special)["call"].__wrapped__)  # noqa: B010


@pytest.mark.parametrize("library", ["httpx", "redis", "sqlalchemy"])
def test_the_entry_points_are_what_the_instrumentation_replaces(library: str) -> None:
    """Each of them, by the name that contrib calls to wrap a function."""
    module, _, name = LIBRARIES[library].partition(":")
    kind = getattr(import_module(f"brain_otel.instrumentation.{module}"), name)
    installation = FirstUse(library, "brain_otel.instrumentation.nothing", lambda: kind)
    installation.instrument(SETTINGS)
    places = installation._entry_points._places
    before = {place: vars(place[0])[place[1]] for place in places}
    installation.load()
    assert not [place for place, at_first in before.items() if vars(place[0])[place[1]] is at_first]
    assert all(each.patch.active for each in places.values())
    originals = {place: each.patch.original for place, each in places.items()}
    installation.uninstrument()
    assert {(owner, name): getattr(owner, name) for owner, name in originals} == originals


SCRIPT = """
import asyncio, contextlib, json, os, sys, traceback
import brain_otel
brain_otel.setup()
import httpx, redis, redis.asyncio, sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

KIND, URL, DEAD, REDIS = (os.environ[name] for name in ("KIND", "URL", "DEAD", "REDIS"))
seen = []

@contextlib.contextmanager
def call(number, name):
    with brain_otel.start_transaction(f"{name} {number}"):
        try:
            yield
            seen.append([name, None])
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            seen.append([name, [f"{each.filename} {each.name}" for each in frames]])

def httpx_sync(number):
    with httpx.Client(trust_env=False, verify=False) as client:
        with call(number, "request"):
            client.get(URL)
        with call(number, "refused"):
            client.get(DEAD)

async def httpx_async(number):
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        with call(number, "request"):
            await client.get(URL)
        with call(number, "refused"):
            await client.get(DEAD)

def redis_sync(number):
    with redis.Redis.from_url(REDIS) as client:
        with call(number, "command"):
            client.get("a")
        with call(number, "refused"):
            client.lpush("a")
        with call(number, "pipeline"):
            client.pipeline().get("a").get("b").execute()

async def redis_async(number):
    async with redis.asyncio.Redis.from_url(REDIS) as client:
        with call(number, "pipeline"):
            await client.pipeline().get("a").get("b").execute()
        with call(number, "command"):
            await client.get("a")
        with call(number, "refused"):
            await client.lpush("a")

def sqlalchemy_sync(number, engine=sqlalchemy.create_engine("sqlite://")):
    with call(number, "statement"), engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
    with call(number, "refused"), engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT * FROM nothing"))

async def sqlalchemy_async(number):
    engine = create_async_engine("sqlite+aiosqlite://")
    with call(number, "statement"):
        async with engine.connect() as connection:
            await connection.execute(sqlalchemy.text("SELECT 1"))
    with call(number, "refused"):
        async with engine.connect() as connection:
            await connection.execute(sqlalchemy.text("SELECT * FROM nothing"))
    await engine.dispose()

contrib = "opentelemetry.instrumentation." + KIND.partition("_")[0]
assert contrib not in sys.modules
for number in (1, 2):
    made = globals()[KIND](number)
    if made is not None:
        asyncio.run(made)
    assert contrib in sys.modules
assert seen[:len(seen) // 2] == seen[len(seen) // 2:], seen
"""

CALLS = {"httpx": ("request", "refused"), "redis": ("command", "refused", "pipeline")} | {
    "sqlalchemy": ("statement", "refused")
}


@pytest.mark.parametrize("world", ["sync", "async"])
@pytest.mark.parametrize("library", CALLS)
def test_a_trace_loses_no_first_call(target: HttpTarget, valkey: Valkey, library: str, world: str) -> None:
    """The first one has the span of the second, below the same parent, and its exception the same traceback."""
    env = {"URL": target.url, "DEAD": f"http://127.0.0.1:{free_port()}/", "REDIS": valkey.url}
    outcome = run_traced(SCRIPT, {"KIND": f"{library}_{world}", **env})
    for name in CALLS[library]:
        first, second = (outcome.span(f"{name} {number}") for number in (1, 2))
        assert _told(first) == _told(second)
        for number, span in ((1, first), (2, second)):
            assert span["parent_span_id"] == outcome.transaction(f"{name} {number}")["contexts"]["trace"]["span_id"]


def _told(span: Json) -> Json:
    """Everything but ids, times and what a slow call has."""
    told = {key: value for key, value in span.items() if not key.endswith(("_id", "timestamp"))}
    told["data"] = {key: value for key, value in span["data"].items() if not key.startswith("code.")}
    for each in told["data"].get("otel.events", ()):
        del each["timestamp"]
    return told
