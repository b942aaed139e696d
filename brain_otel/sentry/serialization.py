"""Replaces sentry-sdk's functions that serialize exceptions and frames; :mod:`.stack_frames` has the replacements.

sentry-sdk's serializer looks at local variables in ways that load lazy objects, and recurses into exception groups.
:func:`patch_serialization` replaces both. What :func:`patch_frame_serialization` replaces is a fast path.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sentry_sdk.client
import sentry_sdk.serializer
import sentry_sdk.utils

from brain_otel.runtime.fast_paths import fast_paths_enabled
from brain_otel.runtime.guard import caught
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.patch import Original, Patch, Patches, replacement

if TYPE_CHECKING:
    from brain_otel.sentry import stack_frames
else:
    # The first error needs it.
    stack_frames = late_module("brain_otel.sentry.stack_frames")

_patches = Patches()


def patch_serialization() -> bool:
    """Replace the functions of sentry-sdk's that look at the application's objects.

    Returns:
        Whether local variables are safe to serialize.
    """
    _replace(sentry_sdk.utils, "exceptions_from_error_tuple", lambda: stack_frames.within_bounds)
    _replace(sentry_sdk.utils, "get_error_message", lambda: stack_frames.with_safe_text)
    return _replace(sentry_sdk.serializer, "serialize", lambda: stack_frames.with_safe_variables, _without_variables)


def patch_frame_serialization() -> None:
    """Replace three functions of sentry-sdk's; one that no longer exists is left out, and logged."""
    if fast_paths_enabled():
        _replace(sentry_sdk.utils, "serialize_frame", lambda: stack_frames.without_hidden)
        _replace(sentry_sdk.utils, "get_lines_from_file", lambda: stack_frames.with_cached_lines)
        _replace(sentry_sdk.client, "serialize", lambda: stack_frames.past_plain_frames)


def undo() -> None:
    """Restore sentry-sdk's functions."""
    _patches.undo()


_Make = Callable[[Patch], Callable[..., Any]]
"""Makes a replacement, as :func:`~brain_otel.runtime.patch.replace` takes it."""


@replacement
def _without_variables(original: Original, /, event: Any, **kwargs: Any) -> Any:
    return {} if kwargs.get("is_vars") else original(event, **kwargs)


def _replace(owner: Any, name: str, load: Callable[[], _Make], instead: _Make = lambda patch: patch.original) -> bool:
    """Replace ``name`` of ``owner``; the first call puts what ``load`` imports in the replacement's place.

    While the import fails, as where no descriptor is left, the function that ``instead`` makes is called.
    """

    def make(patch: Patch) -> Callable[..., Any]:
        loaded = functools.cache(lambda: patch.become(load()))
        fallback = instead(patch)

        @functools.wraps(patch.original)
        def call(*args: Any, **kwargs: Any) -> Any:
            function = patch.original
            if patch.active:
                try:
                    function = loaded()
                except Exception as error:
                    caught("importing what an event needs", error)
                    function = fallback
            return function(*args, **kwargs)

        return call

    return _patches.replace(owner, name, make)
