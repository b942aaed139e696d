"""The frames of an error's traceback, without what nobody will see of them.

sentry-sdk writes the variables of every frame out, which is most of what an error costs; those of servers, frameworks
and clients are left out before the event is sent (:mod:`~brain_otel.sentry.before_send`). It also reads the source
file of each frame anew for each error. Both are done once here, or not at all.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import sentry_sdk.utils

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import replace
from brain_otel.sentry.before_send import hides_variables

if TYPE_CHECKING:
    from collections.abc import Callable

    from brain_otel.runtime.patch import Patch

MAX_PLACES = 512
"""Places in source files whose lines are remembered, the latest."""

_patches: list[Patch] = []


def patch_frame_serialization() -> None:
    """Replace sentry-sdk's functions, by the names by which it calls them; a test tells when they change."""
    if not _patches:
        _patches.append(replace(sentry_sdk.utils, "serialize_frame", _without_hidden))
        _patches.append(replace(sentry_sdk.utils, "get_lines_from_file", _remembered))


def undo() -> None:
    """Put sentry-sdk's own back."""
    while _patches:
        _patches.pop().undo()


def _without_hidden(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def serialize_frame(frame: Any, *args: Any, **kwargs: Any) -> Any:
        with guarded("looking at a frame"):
            if patch.active and not args[1:] and hides_variables(frame.f_globals.get("__name__")):
                kwargs["include_local_variables"] = False
        return patch.original(frame, *args, **kwargs)

    return serialize_frame


def _remembered(patch: Patch) -> Callable[..., Any]:
    remembered = functools.lru_cache(maxsize=MAX_PLACES)(patch.original)

    @functools.wraps(patch.original)
    def get_lines_from_file(*args: Any, **kwargs: Any) -> Any:
        try:
            before, line, after = remembered(*args, **kwargs)
        except TypeError:  # a loader that cannot be a key
            return patch.original(*args, **kwargs)
        return list(before), line, list(after)

    return get_lines_from_file
