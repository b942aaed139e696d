"""Ends a model's span with what is true where the application stops a stream before its end.

OpenTelemetry's instrumentations call it an error if the application leaves a loop, closes a generator, is cancelled
or raises in the block of a stream. Anthropic's leaves its span current while the application has the stream.
"""

import inspect
import traceback
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from brain_otel.privacy.model_clients import is_model_client
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement
from brain_otel.runtime.shield import await_through, call_through

_PLACE = "observing a stream"


def shield_streams(module: ModuleType, patches: Patches) -> None:
    """Shield what reads a stream's chunks, and observe how the stream ends.

    Args:
        module: ``opentelemetry.util.genai.stream``.
        patches: Where the replaced methods are noted.
    """
    stopped = module.AbandonedStreamError
    for kind, leaving, advance, close in (
        (module.SyncStreamWrapper, "__exit__", _advance, module.finalize_on_close),
        (module.AsyncStreamWrapper, "__aexit__", _advance_async, module.finalize_on_aclose),
    ):
        patches.replace(kind, "_advance", replacement(advance))
        patches.replace(kind, "__init__", replacement(_init))
        patches.replace(kind, "__getattr__", replacement(partial(_getattr, close)))
        patches.replace(kind, leaving, replacement(partial(_leave, stopped)))


def shield_invocations(module: ModuleType, patches: Patches) -> None:
    """End a call that the application has stopped without an error.

    Args:
        module: ``opentelemetry.util.genai.invocation``.
        patches: Where the replaced method is noted.
    """
    patches.replace(module.GenAIInvocation, "fail", replacement(_fail))


def shield_raw_responses(module: ModuleType, patches: Patches) -> None:
    """End a call of Anthropic's ``with_raw_response`` or ``with_streaming_response`` as a stream.

    Args:
        module: Contrib's module of the proxy around such a response.
        patches: Where the replaced methods are noted.
    """
    patches.replace(module.RawResponseProxy, "__init__", replacement(_init_response))
    patches.replace(module.RawResponseProxy, "_fail", replacement(_fail_response))


def shield_openai(module: ModuleType, patches: Patches) -> None:
    """Keep the instrumentation of OpenAI's client from an answer that it would have to await, at which Python warns.

    Args:
        module: Contrib's module of the calls.
        patches: Where the replaced function is noted.
    """
    patches.replace(module, "_set_response_properties", replacement(_describe_response))


def _init_response(original: Original, response: Any, raw: Any, invocation: Any, *args: Any, **kwargs: Any) -> None:
    original(response, raw, invocation, *args, **kwargs)
    invocation.suspend()


def _fail_response(original: Original, response: Any, error: BaseException) -> None:
    original(response, error if _is_of_call(error) else GeneratorExit())


def _describe_response(original: Original, invocation: Any, result: Any, *args: Any) -> Any:
    if inspect.iscoroutinefunction(getattr(result, "parse", None)):
        return invocation
    return original(invocation, result, *args)


def _fail(original: Original, invocation: Any, error: Any) -> None:
    """It is no error to give up a stream, to close a generator or to cancel a task."""
    is_cancelled = isinstance(error, BaseException) and not isinstance(error, Exception)
    if is_cancelled or type(error).__name__ == "AbandonedStreamError":
        invocation.stop()
    else:
        original(invocation, error)


def _advance(original: Original, stream: Any, read: Callable[[], Any]) -> Any:
    return call_through(_PLACE, lambda run: original(stream, run), read)


async def _advance_async(original: Original, stream: Any, read: Callable[[], Any]) -> Any:
    return await await_through(_PLACE, lambda run: original(stream, run), read)


def _init(original: Original, wrapper: Any, stream: Any, invocation: Any = None) -> None:
    """The application gets a stream in the context in which it asked for it, as OpenAI's instrumentation does."""
    original(wrapper, stream, invocation)
    if invocation is not None:
        invocation.suspend()


def _getattr(close: Callable[..., Any], original: Original, wrapper: Any, name: str) -> Any:
    """Who closes the response of a stream of chat completions ends it, as for the other streams."""
    found = original(wrapper, name)
    return close(found, wrapper.__del__) if name == "response" else found


def _leave(stopped: type[Exception], original: Original, wrapper: Any, kind: Any, error: Any, where: Any) -> Any:
    """The application's own exception in the block of a stream is no error of the call."""
    with guarded(_PLACE):
        if error is not None and not _is_of_call(error):
            return original(wrapper, stopped, stopped(), None)
    return original(wrapper, kind, error, where)


def _is_of_call(error: BaseException) -> bool:
    """Whether ``error`` passed through the client of a model, so it is not the application's own."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(is_model_client(str(frame.f_globals.get("__name__"))) for frame, _ in frames)
