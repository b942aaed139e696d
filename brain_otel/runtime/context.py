"""Makes an OpenTelemetry context current and restores the one before, in whatever context the block ends.

:class:`holding` does the same to a context variable, for blocks that end where they began.

OpenTelemetry restores by token. A token is valid only in the context variables' context that made it, and a block can
end in another one: FastAPI enters and leaves a sync dependency in two threads, and another task or the garbage
collector may close a generator. ``detach()`` then logs "Failed to detach context" with a traceback
(https://github.com/open-telemetry/opentelemetry-python/issues/2606). So contexts are restored by value here, and only
where the block's own context is still current.
"""

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Generic, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.context import Context

T = TypeVar("T")

_variable: Any = getattr(getattr(otel_context, "_RUNTIME_CONTEXT", None), "_current_context", None)
_owner = _variable if isinstance(_variable, ContextVar) else None

get_current: Callable[[], Context] = otel_context.get_current if _owner is None else _owner.get
"""OpenTelemetry's function, without the two calls that it makes to read a context variable."""

attach: Callable[[Context], Any] = otel_context.attach if _owner is None else _owner.set
"""OpenTelemetry's function, as :data:`get_current`."""

_KEY = otel_context.create_key("brain_otel.runtime.attachment")


class holding(Generic[T]):  # noqa: N801 - a context manager; a class costs less than a generator
    """Gives a context variable another value for the block."""

    __slots__ = ("_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[T], value: T) -> None:
        self._variable = variable
        self._value = value

    def __enter__(self) -> None:
        self._token: Token[T] = self._variable.set(self._value)

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)


def restore(entered: Context, before: Context) -> bool:
    """Make ``before`` current again if ``entered`` is current, and return whether it was."""
    if get_current() is not entered:
        return False
    attach(before)
    return True


class Attachment:
    """A context that is current until :meth:`detach`, in any order with other attachments.

    :func:`restore` costs less, and is enough where blocks end in the reverse order of their start. Generators need
    not: one that ends inside a block of its consumer must not become current again when that block ends.
    """

    __slots__ = ("_before", "_is_detached")

    def __init__(self, context: Context) -> None:
        self._is_detached = False
        self._before = get_current()
        attach(otel_context.set_value(_KEY, self, context))

    def detach(self) -> None:
        """Restore the context from before, or the nearest one before it that is not detached."""
        self._is_detached = True
        if get_current().get(_KEY) is not self:
            return
        before = self._before
        while isinstance(around := before.get(_KEY), Attachment) and around._is_detached:
            before = around._before
        attach(before)


def settled_context() -> Context:
    """The current context, after leaving attachments that another context has detached.

    Another task, or the garbage collector, may have closed an asynchronous generator. Its attachment stays in the
    context that iterated the generator, and its span, which has ended, would be the parent of what follows.
    """
    context = get_current()
    attachment = context.get(_KEY)
    if isinstance(attachment, Attachment) and attachment._is_detached:
        attachment.detach()
        return get_current()
    return context
