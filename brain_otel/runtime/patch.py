"""Methods of others' classes and functions of their modules, replaced for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brain_otel.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

INHERITED = object()
"""In the place of what a class holds: the method is that of a class above."""


class Patch:
    """A method that was replaced by a function that calls :attr:`original`, and does no more once inactive."""

    __slots__ = ("active", "found", "name", "original", "owner", "replacement")

    def __init__(self, *, owner: Any, name: str, original: Callable[..., Any], found: Any) -> None:
        self.owner = owner
        self.name = name
        self.original = original
        """What to call, with the instance first."""
        self.found = found
        """What the class held itself, to be put back: such as a static method; ``INHERITED`` if nothing."""
        self.replacement: Callable[..., Any] | None = None
        self.active = True

    @property
    def is_outermost(self) -> bool:
        """Whether nobody has replaced the method after us."""
        return vars(self.owner).get(self.name) is self.replacement

    def undo(self) -> None:
        """Put back what was found; where somebody else has wrapped ours meanwhile, ours stays and only calls on."""
        self.active = False
        if not self.is_outermost:
            return
        if self.found is INHERITED:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.found)


def replace(owner: Any, name: str, make: Callable[[Patch], Callable[..., Any]]) -> Patch:
    """Replace the method or function ``name`` of ``owner`` by what ``make`` makes of the patch."""
    original = getattr(owner, name)
    patch = Patch(owner=owner, name=name, original=original, found=vars(owner).get(name, INHERITED))
    patch.replacement = make(patch)
    setattr(owner, name, patch.replacement)
    return patch


class Patches:
    """The patches of one instrumentation."""

    def __init__(self) -> None:
        self._made: list[Patch] = []

    def replace(self, owner: Any, name: str, make: Callable[[Patch], Callable[..., Any]]) -> bool:
        """As :func:`replace`; if ``owner`` no longer has ``name``, log one line, change nothing and return False."""
        with guarded(f"replacing {owner.__name__}.{name}"):
            self._made.append(replace(owner, name, make))
            return True
        return False

    def undo(self) -> None:
        """Undo all of them, the latest first."""
        while self._made:
            self._made.pop().undo()
