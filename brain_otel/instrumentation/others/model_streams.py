"""Ends a model's span with what is true where the application stops a stream before its end.

OpenTelemetry's instrumentations call it an error if the application leaves a loop, closes a generator, is cancelled
or raises in the block of a stream. Anthropic's leaves its span current while the application has the stream.
"""

import functools
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from brain_otel.privacy.model_clients import is_model_client
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Patch, Patches
from brain_otel.runtime.shield import await_through, call_through

_PLACE = "observing a stream"


def shield_streams(module: ModuleType, patches: Patches) -> None:
    """Shield what reads a stream's chunks, and observe how the stream ends.

    Args:
        module: ``opentelemetry.util.genai.stream``.
        patches: Where the replaced methods are noted.
    """
    for kind, close, leave in (
        (module.SyncStreamWrapper, module.finalize_on_close, "__exit__"),
        (module.AsyncStreamWrapper, module.finalize_on_aclose, "__aexit__"),
    ):
        patches.replace(kind, "_advance", _advance if leave == "__exit__" else _advance_async)
        patches.replace(kind, "__init__", _init)
        patches.replace(kind, "__getattr__", functools.partial(_getattr, close))
        patches.replace(kind, leave, functools.partial(_leave, module.AbandonedStreamError))


def shield_invocations(module: ModuleType, patches: Patches) -> None:
    """End a call that the application has stopped without an error.

    Args:
        module: ``opentelemetry.util.genai.invocation``.
        patches: Where the replaced method is noted.
    """

    def make(patch: Patch) -> Callable[..., None]:
        @functools.wraps(patch.original)
        def fail(invocation: Any, error: Any) -> None:
            if patch.active and _is_stopped(error):
                invocation.stop()
            else:
                patch.original(invocation, error)

        return fail

    patches.replace(module.GenAIInvocation, "fail", make)


def _is_stopped(error: Any) -> bool:
    """Whether the application ended the call: a stream is given up, a generator closed, a task cancelled."""
    return isinstance(error, BaseException) and (
        not isinstance(error, Exception) or type(error).__name__ == "AbandonedStreamError"
    )


def _is_of_call(error: BaseException) -> bool:
    """Whether ``error`` passed through the client of a model, so it is not the application's own."""
    return any(
        is_model_client(str(frame.f_globals.get("__name__"))) for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def _advance(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def advance(stream: Any, read: Callable[[], Any]) -> Any:
        return call_through(_PLACE, lambda run: patch.original(stream, run), read)

    return advance


def _advance_async(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    async def advance(stream: Any, read: Callable[[], Any]) -> Any:
        return await await_through(_PLACE, lambda run: patch.original(stream, run), read)

    return advance


def _init(patch: Patch) -> Callable[..., None]:
    """The application gets a stream in the context in which it asked for it, as OpenAI's instrumentation does."""

    @functools.wraps(patch.original)
    def init(wrapper: Any, stream: Any, invocation: Any = None) -> None:
        patch.original(wrapper, stream, invocation)
        if patch.active and invocation is not None:
            invocation.suspend()

    return init


def _getattr(close: Callable[..., Any], patch: Patch) -> Callable[..., Any]:
    """Who closes the response of a stream of chat completions ends it, as for the other streams."""

    @functools.wraps(patch.original)
    def find(wrapper: Any, name: str) -> Any:
        found = patch.original(wrapper, name)
        return close(found, wrapper.__del__) if patch.active and name == "response" else found

    return find


def _leave(stopped: type[Exception], patch: Patch) -> Callable[..., Any]:
    """The application's own exception in the block of a stream is no error of the call."""

    @functools.wraps(patch.original)
    def leave(wrapper: Any, kind: Any, error: BaseException | None, where: Any) -> Any:
        if patch.active and error is not None:
            with guarded(_PLACE):
                if not _is_of_call(error):
                    return patch.original(wrapper, stopped, stopped(), None)
        return patch.original(wrapper, kind, error, where)

    return leave
