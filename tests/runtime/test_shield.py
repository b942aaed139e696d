"""The application's function ends as it would without the instrumentation around it, which may fail anywhere."""

import asyncio
import gc
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from opentelemetry import context as otel_context

from brain_otel.instrumentation.fastapi import shielding
from brain_otel.runtime import guard
from brain_otel.runtime.patch import Patch
from brain_otel.runtime.shield import Relay, await_through, call_through, shielded

ERROR = ValueError("the application's")


@pytest.fixture(autouse=True)
def _failures_are_logged() -> Iterator[None]:
    guard.reraise_failures(False)
    guard.forget_logged_places()
    yield
    guard.forget_logged_places()


class Application:
    """A function that counts its calls and returns, or raises."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error, self.calls = error, 0

    def run(self, number: int) -> int:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return number

    async def run_async(self, number: int) -> int:
        await asyncio.sleep(0)
        return self.run(number)


def test_an_iteration_ends_by_the_iterators_own_error(caplog: pytest.LogCaptureFixture) -> None:
    """Contrib raises another one in its place, which is no failure: so ends each loop over a cursor of asyncpg."""
    ended = StopAsyncIteration()

    async def instrumented(run: Callable[[int], Awaitable[Any]]) -> Any:
        try:
            return await run(1)
        except StopAsyncIteration:
            pass
        raise StopAsyncIteration

    async def look() -> BaseException | None:
        try:
            await call_through("looking", instrumented, Application(ended).run_async, 1)
        except StopAsyncIteration as error:
            return error
        return None

    assert asyncio.run(look()) is ended
    assert caplog.records == []


def before(run: Callable[[int], Any]) -> Any:
    otel_context.attach(otel_context.set_value("left", True))
    raise RuntimeError("before")


def after(run: Callable[[int], Any]) -> Any:
    run(1)
    raise RuntimeError("after")


def instead(run: Callable[[int], Any]) -> Any:
    try:
        return run(1)
    finally:
        raise RuntimeError("instead")


def around(run: Callable[[int], Any]) -> Any:
    return run(1)


def awaiting(instrumented: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """The same instrumentation as a coroutine function."""

    async def through(run: Callable[[int], Awaitable[Any]]) -> Any:
        if instrumented is before:
            before(run)
        try:
            result = await run(1)
        except BaseException:
            if instrumented is instead:
                raise RuntimeError("instead") from None
            raise
        if instrumented is not around:
            raise RuntimeError("after")
        return result

    return through


WAYS = [before, after, instead, around]


@pytest.mark.parametrize("instrumented", WAYS)
@pytest.mark.parametrize("is_async", [False, True])
def test_the_functions_own_result_stands(
    instrumented: Callable[..., Any], is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The function is called once, and one line tells of the failure; no context of the instrumentation is left."""
    application = Application()
    if is_async:
        through = awaiting(instrumented)
        result = asyncio.run(await_through("observing", through, application.run_async, 1))
    else:
        result = call_through("observing", instrumented, application.run, 1)
    assert (result, application.calls) == (1, 1)
    assert otel_context.get_value("left") is None
    failed = [record for record in caplog.records if "failed while observing" in record.getMessage()]
    assert len(failed) == (instrumented is not around)


@pytest.mark.parametrize("instrumented", WAYS)
@pytest.mark.parametrize("error", [ERROR, asyncio.CancelledError(), KeyboardInterrupt()])
def test_the_functions_own_exception_stands(instrumented: Callable[..., Any], error: BaseException) -> None:
    """The same object, whatever the instrumentation raises in its place."""
    application = Application(error)
    with pytest.raises(type(error)) as caught:
        call_through("observing", instrumented, application.run, 1)
    assert caught.value is error
    assert application.calls == 1


def test_an_interrupt_of_the_instrumentation_passes() -> None:
    """Ctrl-C may arrive in any code."""

    def interrupted(run: Callable[[int], Any]) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_through("observing", interrupted, Application().run, 1)


@pytest.mark.parametrize("fails", ["before", "after", ""])
def test_each_message_arrives_once(fails: str) -> None:
    """Two tasks send at the same time, as with a WebSocket; the instrumentation fails for each message."""
    sent: list[str] = []

    async def send(message: str) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    async def main() -> None:
        relay = Relay("sending", send)

        async def instrumented(message: str) -> None:
            if fails == "before":
                raise RuntimeError(fails)
            await relay.function(message)
            if fails:
                raise RuntimeError(fails)

        call = relay.through(instrumented)
        await asyncio.gather(*(call(f"message {number}") for number in range(20)))

    asyncio.run(main())
    assert sorted(sent) == sorted(f"message {number}" for number in range(20))


def test_a_failure_of_the_server_reaches_the_application() -> None:
    """A connection that is gone raises from `send`."""

    async def send(message: str) -> None:
        raise OSError("gone")

    relay = Relay("sending", send)
    with pytest.raises(OSError, match="gone"):
        asyncio.run(relay.through(relay.function)("message"))  # type: ignore[arg-type]


def test_wrappers_in_wrapts_form() -> None:
    """Sync and async ones, with the options that contrib passes."""

    def wrapper(function: Any, instance: Any, args: Any, kwargs: Any, *, option: str) -> Any:
        raise RuntimeError(option)

    async def async_wrapper(function: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        await function(*args, **kwargs)
        raise RuntimeError("after")

    application = Application()
    assert shielded("observing", wrapper)(application.run, None, (3,), {}, option="x") == 3
    assert asyncio.run(shielded("observing", async_wrapper)(application.run_async, None, (4,), {})) == 4
    assert application.calls == 2


def test_arguments_of_the_function_may_have_our_names() -> None:
    """`place`, `instrumented` and `function` are positional alone."""
    given = {"place": 1, "instrumented": 2, "function": 3}
    assert call_through("calling", lambda run: run(**given), dict, **given) == given


def test_an_exception_leaves_no_cycle() -> None:
    """Its traceback holds the frames of the application."""

    class Held:
        pass

    kept: list[weakref.ref[Held]] = []

    def fail() -> None:
        held = Held()
        kept.append(weakref.ref(held))
        raise LookupError("held")

    gc.disable()
    try:
        with pytest.raises(LookupError) as raised:
            call_through("calling", lambda run: run(), fail)
        del raised
        assert kept[0]() is None
    finally:
        gc.enable()


def test_a_coroutine_that_the_instrumentation_drops_is_awaited_once() -> None:
    """By the caller, who gets the function's own; ours is closed, so that Python warns of nothing."""
    application = Application()

    def dropping(run: Callable[[int], Any]) -> Any:
        run(1)
        raise RuntimeError("dropped")

    async def main() -> int:
        result: int = await call_through("observing", dropping, application.run_async, 1)
        return result

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert asyncio.run(main()) == 1
        gc.collect()
    assert application.calls == 1
    assert [each for each in warned if "never awaited" in str(each.message)] == []


def test_a_relay_passes_keyword_arguments_on() -> None:
    """Such as those of `send(message=...)`."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    relay = Relay("sending a message", send)

    async def call() -> None:
        await relay.through(relay.function)(message=7)

    asyncio.run(call())
    assert sent == [7]


@pytest.mark.parametrize("shield", [shielding._contrib, shielding._native])
@pytest.mark.parametrize("is_active", [True, False])
def test_an_undone_shield_only_calls_on(shield: Callable[[Patch], Callable[..., Any]], is_active: bool) -> None:
    """It may stay, because somebody has wrapped it; what it calls gets the server's own functions then."""
    seen: list[tuple[Any, Any]] = []

    class Middleware:
        app: Any = None

        async def __call__(self, scope: Any, receive: Any, send: Any, app: Any = None) -> None:  # noqa: ARG002
            seen.append((receive, send))

    async def receive() -> None:
        pass

    async def send(_: object) -> None:
        pass

    async def app(*_: object) -> None:
        pass

    patch = Patch(Middleware, "__call__")
    call = shield(patch)
    patch.active = is_active
    middleware = Middleware()
    middleware.app = app
    if shield is shielding._contrib:
        asyncio.run(call(middleware, {"type": "http"}, receive, send))
    else:
        asyncio.run(call(middleware, app=app, scope={"type": "http"}, receive=receive, send=send))
    assert seen[0] != (receive, send) if is_active else seen == [(receive, send)]
