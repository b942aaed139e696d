"""Bounded views of the application's objects, which may raise, load, pretend, be slow or be very large.

``repr()`` and ``str()`` are called on the thread that has the object, never on a thread of ours, and without
telemetry: what they do makes no span, no event and no breadcrumb. They are not called at all for objects that load
when looked at:

- An instance mapped by SQLAlchemy or Django is shown by its class and the attributes that are loaded.
- A proxy, a class that claims the ``__class__`` of another object, is shown by its class.
- A query or collection that fetches its items when it is iterated is shown by its class, or by what it has fetched.

Containers are walked, and large values are cut before they become text. The objects of one event share a budget of
time, which is checked between two objects. When it is used up, the rest is shown by class. The time of the
application's code counts, and the CPU time of ours too. Built-in values, and exceptions made of them, run no code of
the application's, so they need no budget: on a machine that stands still for a moment, an error keeps its message.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from brain_otel.runtime.imports import late_module
from brain_otel.runtime.quiet import TEXT, Bounds, budget, quiet

if TYPE_CHECKING:
    from brain_otel.runtime import object_kinds as kinds
    from brain_otel.runtime import object_view as looks
else:
    # A set-up shows no object.
    kinds, looks = late_module("brain_otel.runtime.object_kinds"), late_module("brain_otel.runtime.object_view")

_DATA = Bounds(8, 500, 1_000, 40_960)
_FACTS = Bounds(8, 100, 200, 32_768)  # OpenTelemetry keeps 128 attributes of a record, the latest
_VARIABLES = Bounds(5, 10, 1_000, 16_384)  # sentry-sdk's, but for the characters
_LOGGED = Bounds(8, 1_000, 2_000, 65_536)


def plain(value: Any, keep: tuple[type, ...] = ()) -> Any:
    """``value`` as dicts, lists, tuples and scalars; any other object as text, unless its class is in ``keep``."""
    return _view(looks.View(_DATA, repr, keep=keep), value)


def plain_text(value: Any) -> Any:
    """As :func:`plain`, with the ``str()`` of a single object; a container's ``repr()`` does not quote the texts."""
    write = repr if kinds.is_container(type(value)) else str
    return _view(looks.View(_DATA, write, leaf=looks.Shown), value)


def variables(values: dict[str, Any]) -> Any:
    """The local variables of a frame as sentry-sdk shows them: bounded, with the ``repr()`` of each scalar."""
    return _view(looks.View(_VARIABLES, repr, is_quoted=True), values)


def safe_repr(value: Any, write: Callable[[Any], str] = repr) -> str:
    """``write(value)``, bounded; the class name in angle brackets if that fails."""
    return str(_view(looks.View(TEXT, write, leaf=looks.Shown, is_text=True), value))


def logged(value: Any, write: Callable[[Any], str]) -> str:
    """As :func:`safe_repr`, for an argument of a log message: more items of a container are shown."""
    return str(_view(looks.View(_LOGGED, write, leaf=looks.Shown, is_text=True), value))


def facts(data: Any) -> dict[str, Any]:
    """The first names and values of a mapping that is given to a helper, as they are; of anything else one value.

    ``dict(data)`` would use up an iterator, or never end.
    """
    if data is None:
        return {}
    found: dict[str, Any] = _view(looks.View(_FACTS, repr), data, looks.View.facts)
    return found


def _view(view: "looks.View", value: Any, look: Callable[["looks.View", Any], Any] | None = None) -> Any:
    cpu = time.thread_time()
    shared = budget()
    view.clock = clock = shared.clock
    view.cpu_deadline = cpu + clock.cpu_left
    given = view.characters
    view.taken = 0 if view.is_text else max(0, given - shared.shown)
    with quiet():
        shown = view.show(value, view.bounds.depth) if look is None else look(view, value)
    clock.cpu_left -= time.thread_time() - cpu
    if not view.is_text:
        shared.shown -= given - view.characters
    return shown
