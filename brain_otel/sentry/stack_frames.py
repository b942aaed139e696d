"""Serializes the frames of tracebacks without the work that nobody sees: a fast path.

sentry-sdk serializes the local variables of every frame, which is most of the cost of an error. Those of servers,
frameworks and clients are removed before the event is sent (:mod:`~brain_otel.sentry.before_send`), so they are not
serialized here. sentry-sdk also reads the source file of each frame for each error; here the lines are cached.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import sentry_sdk.utils

from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import replace
from brain_otel.sentry.before_send import hides_variables

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.runtime.patch import Patch

MAX_PLACES = 512
"""Places in source files whose lines are cached."""

_patches: list[Patch] = []


def patch_frame_serialization() -> None:
    """Replace two functions of sentry-sdk's; one that no longer exists is left out, and logged."""
    if _patches or not fast_paths_enabled():
        return
    for name, make in (("serialize_frame", _without_hidden), ("get_lines_from_file", _cached)):
        with guarded(f"replacing sentry_sdk.utils.{name}"):
            _patches.append(replace(sentry_sdk.utils, name, make))


def undo() -> None:
    """Restore sentry-sdk's functions."""
    while _patches:
        _patches.pop().undo()


def _without_hidden(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def serialize_frame(frame: Any, *args: Any, **kwargs: Any) -> Any:
        with guarded("deciding whether to serialize a frame's variables"):
            if patch.active and not args[1:] and hides_variables(frame.f_globals.get("__name__")):
                kwargs["include_local_variables"] = False
        return patch.original(frame, *args, **kwargs)

    return serialize_frame


def _cached(patch: Patch) -> Callable[..., Any]:
    read = functools.lru_cache(maxsize=MAX_PLACES)(patch.original)

    @functools.wraps(patch.original)
    def get_lines_from_file(*args: Any, **kwargs: Any) -> Any:
        try:
            before, line, after = read(*args, **kwargs)
        except TypeError:  # a loader that cannot be a key
            return patch.original(*args, **kwargs)
        return list(before), line, list(after)

    return get_lines_from_file
