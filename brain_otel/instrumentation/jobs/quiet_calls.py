"""Calls of a queue's library to its broker and its store of results, which make no spans of their own."""

import contextvars
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled, suppress_instrumentation

from brain_otel.runtime.context import Attachment
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, replacement, surrounding


def suppressed(context: Context | None = None) -> Context:
    """``context`` (default: the current one) as a context in which nothing is instrumented."""
    around = otel_context.get_current() if context is None else context

    def taken() -> Context:
        otel_context.attach(around)
        with suppress_instrumentation():
            return otel_context.get_current()

    return contextvars.Context().run(taken)


class quiet_calls:  # noqa: N801 - reads as a statement: `with quiet_calls():`
    """Nothing that runs in the block is instrumented."""

    __slots__ = ("_attachment",)

    def __enter__(self) -> None:
        self._attachment: Attachment | None = None
        with guarded("suppressing a queue's own commands"):
            if is_instrumentation_enabled():
                self._attachment = Attachment(suppressed())

    def __exit__(self, *_: object) -> None:
        if self._attachment is not None:
            with guarded("recording commands again"):
                self._attachment.detach()


quietened = surrounding(lambda *_, **__: quiet_calls())
"""The replacement of a function or a coroutine function of a library: nothing in it is instrumented."""


@replacement
async def quietened_awaitable(original: Original, /, *args: Any, **kwargs: Any) -> Any:
    """The replacement of a function that returns an awaitable: nothing is instrumented until that is done."""
    with quiet_calls():
        return await original(*args, **kwargs)
