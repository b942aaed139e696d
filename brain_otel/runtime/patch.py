"""Methods and functions of other packages, replaced until the patch is undone."""

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

import wrapt

from brain_otel.runtime.guard import guarded

Original = Callable[..., Any]
"""The replaced function. Where that is a method, its first argument is the instance."""

INHERITED = object()
"""Stands for an attribute that a class inherits."""


class Patch:
    """A replaced method. The replacement calls :attr:`original`, and does nothing else once the patch is inactive."""

    __slots__ = ("_own_attribute", "active", "name", "original", "owner", "replacement")

    def __init__(self, owner: Any, name: str) -> None:
        self.owner = owner
        self.name = name
        self.original: Callable[..., Any] = getattr(owner, name)
        """The method; call it with the instance first."""
        self.replacement: Callable[..., Any] | None = None
        self.active = True
        # The raw attribute: putting back what `getattr` returns would turn a static method into a method.
        self._own_attribute = vars(owner).get(name, INHERITED)

    @property
    def is_outermost(self) -> bool:
        """Whether nobody has replaced our replacement."""
        return vars(self.owner).get(self.name) is self.replacement

    def become(self, make: Callable[["Patch"], Callable[..., Any]]) -> Callable[..., Any]:
        """Put what ``make`` returns in the place of the replacement, unless somebody has wrapped it; return it."""
        made = make(self)
        if self.is_outermost:
            self.replacement = made
            setattr(self.owner, self.name, made)
        return made

    def undo(self) -> None:
        """Put the original back, unless somebody has wrapped the replacement, which then stays and only calls on."""
        self.active = False
        if not self.is_outermost:
            return
        if self._own_attribute is INHERITED:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self._own_attribute)


def replace(owner: Any, name: str, make: Callable[[Patch], Callable[..., Any]]) -> Patch:
    """Replace the method or function ``name`` of ``owner`` by what ``make`` returns for the patch."""
    patch = Patch(owner, name)
    patch.replacement = make(patch)
    setattr(owner, name, patch.replacement)
    return patch


def replacement(around: Callable[..., Any]) -> Callable[[Patch], Callable[..., Any]]:
    """What :func:`replace` takes, of a function that gets the original before the arguments of a call.

    It is not called once the patch is inactive. A replacement that is called for every request is made without this:
    it would cost one call more.
    """

    def make(patch: Patch) -> Callable[..., Any]:
        original = patch.original

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs) if patch.active else original(*args, **kwargs)

        @functools.wraps(original)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return await (around(original, *args, **kwargs) if patch.active else original(*args, **kwargs))

        return call_async if inspect.iscoroutinefunction(around) else call

    return make


def surrounding(block: Callable[..., AbstractContextManager[object]]) -> Callable[[Patch], Callable[..., Any]]:
    """What :func:`replace` takes, of a function that makes a context manager of the arguments of a call.

    The original, a function or a coroutine function, runs in it, and by itself once the patch is inactive.
    """

    def make(patch: Patch) -> Callable[..., Any]:
        original = patch.original

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            with block(*args, **kwargs) if patch.active else nullcontext():
                return original(*args, **kwargs)

        @functools.wraps(original)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with block(*args, **kwargs) if patch.active else nullcontext():
                return await original(*args, **kwargs)

        return call_async if inspect.iscoroutinefunction(inspect.unwrap(original)) else call

    return make


def drop_own_frame(error: BaseException) -> None:
    """Take the caller out of the traceback of ``error``, which it has caught and raises again.

    So the traceback of the application's exception is the one that it would have without the replacement.
    """
    where = error.__traceback__
    if where is not None and where.tb_next is not None:
        error.__traceback__ = where.tb_next


class Patches:
    """The patches of one instrumentation."""

    def __init__(self) -> None:
        self._made: list[Patch] = []

    def replace(self, owner: Any, name: str, make: Callable[[Patch], Callable[..., Any]]) -> bool:
        """As :func:`replace`; if ``owner`` has no ``name``, log one line, change nothing and return False."""
        with guarded(f"replacing {owner.__name__}.{name}"):
            patch = Patch(owner, name)
            patch.replacement = make(patch)
            self._made.append(patch)  # first: an exception of a signal's handler may come between the two
            setattr(owner, name, patch.replacement)
            return True
        return False

    def replace_when_imported(
        self, module: str, owner: str, name: str, make: Callable[[Patch], Callable[..., Any]]
    ) -> None:
        """Replace ``name`` of a module's class, or of the module if ``owner`` is empty, once it is imported.

        Does nothing if everything has been undone by then: a hook for imports cannot be removed.
        """
        made = self._made

        def imported(found: ModuleType) -> None:
            if made is self._made:
                with guarded(f"finding {owner} of {module}"):
                    self.replace(getattr(found, owner) if owner else found, name, make)

        wrapt.register_post_import_hook(imported, module)

    def undo(self) -> None:
        """Undo all patches, the latest first."""
        made, self._made = self._made, []
        while made:
            made.pop().undo()
