"""Serializes exceptions and stack frames within bounds, and skips variables that are removed later.

:mod:`.serialization` puts these functions in the place of sentry-sdk's with the first error.
:func:`without_hidden`, :func:`with_cached_lines` and :func:`past_plain_frames` are a fast path.

sentry-sdk serializes the local variables of every frame, which is most of the cost of an error. Those of servers,
frameworks and clients are removed before the event is sent (:mod:`~brain_otel.sentry.before_send`), so they are not
serialized here. sentry-sdk also reads the source file of each frame for each error; here the lines are cached. It
serializes the frames again with the event; here plain values are set aside before that, and added back afterwards.
"""

import functools
from collections.abc import Callable
from itertools import islice
from typing import Any

import sentry_sdk.utils

from brain_otel.events.exception_tree import MAX_EXCEPTIONS, Node, exceptions_in
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patch, replacement
from brain_otel.runtime.quiet import one_budget, quiet
from brain_otel.runtime.safe_repr import safe_repr, variables
from brain_otel.runtime.text import MAX_TEXT, shortened
from brain_otel.sentry.before_send import hides_variables

MAX_PLACES = 512
"""Places in source files whose lines are cached."""

_MAX_NOTES = 100
"""Notes of an exception that are sent."""

_TEXT = frozenset({str})
_PLAIN = frozenset({str, int, bool, type(None)})
"""Types that sentry-sdk's serializer leaves as they are."""

_SHARED_FRAME = ("anyio._backends._asyncio", "run")
"""The loop of a worker thread, which runs sync endpoints. While the event loop's thread reports an exception of one,
the worker may already run the next request, and its arguments are among the variables of this frame."""


def hide_shared_variables(event: Any) -> None:
    """Remove the variables of a frame that may belong to another request by now."""
    for value in event.get("exception", {}).get("values") or ():
        for frame in (value.get("stacktrace") or {}).get("frames", ()):
            if (frame.get("module"), frame.get("function")) == _SHARED_FRAME:
                frame.pop("vars", None)


@replacement
def with_safe_variables(original: Original, /, event: Any, **kwargs: Any) -> Any:
    """``serialize()``, with variables that are read without loading lazy objects."""
    if kwargs.get("is_vars"):
        return variables(event)
    return original(event, **kwargs)


@replacement
def within_bounds(original: Original, /, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
    """``exceptions_from_error_tuple()``, which takes only the first exceptions of a large group."""
    if exc_info[1] is None:
        return original(exc_info, *args, **kwargs)
    nodes = list(islice(exceptions_in(exc_info[1]), MAX_EXCEPTIONS + 1))
    with one_budget():
        if len(nodes) <= MAX_EXCEPTIONS:
            return original(exc_info, *args, **kwargs)
        return _first_exceptions(nodes[:MAX_EXCEPTIONS], *args, **kwargs)


def _first_exceptions(
    nodes: list[Node], client_options: Any = None, mechanism: Any = None, full_stack: Any = None
) -> list[Any]:
    """The exceptions in the form and order of sentry-sdk's, which has the root last."""
    made = [
        sentry_sdk.utils.single_exception_from_error_tuple(
            type(node.error),
            node.error,
            node.error.__traceback__,
            client_options=client_options,
            mechanism=mechanism,
            exception_id=position,
            parent_id=node.parent,
            source=node.source,
            full_stack=full_stack,
        )
        for position, node in enumerate(nodes)
    ]
    return made[::-1]


@replacement
def with_safe_text(original: Original, error: Any) -> Any:
    """``get_error_message()``, with a text and notes within bounds."""
    if getattr(type(error), "message", None) or getattr(type(error), "detail", None):
        return original(error)
    with quiet():
        facts = vars(error)
        text = safe_repr(facts.get("message") or facts.get("detail") or error, str)
        notes = facts.get("__notes__")
        notes = notes[:_MAX_NOTES] if type(notes) in (list, tuple) else ()
    return "\n".join([text, *(shortened(each, MAX_TEXT) for each in notes if type(each) is str)])


@replacement
def without_hidden(original: Original, /, frame: Any, *args: Any, **kwargs: Any) -> Any:
    """``serialize_frame()``, without the variables of frames that are sent without them."""
    with guarded("deciding whether to serialize a frame's variables"):
        if not args[1:] and hides_variables(frame.f_globals.get("__name__")):
            kwargs["include_local_variables"] = False
    return original(frame, *args, **kwargs)


@replacement
def past_plain_frames(original: Original, /, event: Any, **kwargs: Any) -> Any:
    """Serialize an event without the plain values of its frames and the list of packages, then restore them."""
    plain: Plain = {}
    modules: dict[str, dict[str, str]] = {}
    bare = event
    if kwargs.get("max_value_length") is None:
        with guarded("taking plain values out of frames"):
            bare = {key: _bare(key, value, plain) for key, value in event.items()}
            if _has_texts_only(bare.get("modules")):
                modules = {"modules": dict(bare.pop("modules"))}
    serialized = original(bare, **kwargs)
    serialized.update(modules)
    for (interface, position), values in plain.items():
        frames = serialized[interface]["values"][position]["stacktrace"]["frames"]
        for frame, each in zip(frames, values, strict=True):
            frame.update(each)
    return serialized


Plain = dict[tuple[str, int], list[dict[str, Any]]]
"""Interface and position of a stack trace in an event -> the plain values of each of its frames."""


def _bare(interface: str, value: Any, plain: Plain) -> Any:
    """A part of an event without the plain values of its frames, which are added to ``plain``."""
    if interface not in ("exception", "threads") or not value:
        return value
    return {
        **value,
        "values": [_bare_failure(each, (interface, at), plain) for at, each in enumerate(value["values"])],
    }


def _bare_failure(failure: Any, place: tuple[str, int], plain: Plain) -> Any:
    stacktrace = failure.get("stacktrace")
    if not stacktrace or not stacktrace.get("frames"):
        return failure
    frames = stacktrace["frames"]
    plain[place] = [{key: value for key, value in frame.items() if _is_plain(value)} for frame in frames]
    others = [{key: value for key, value in frame.items() if not _is_plain(value)} for frame in frames]
    return {**failure, "stacktrace": {**stacktrace, "frames": others}}


def _is_plain(value: Any) -> bool:
    kind = type(value)
    return kind in _PLAIN or (kind is list and _TEXT.issuperset(map(type, value)))


def _has_texts_only(value: Any) -> bool:
    """Whether ``value`` is a mapping of texts to texts, as the list of installed packages."""
    return type(value) is dict and _TEXT.issuperset(map(type, value)) and _TEXT.issuperset(map(type, value.values()))


def with_cached_lines(patch: Patch) -> Callable[..., Any]:
    """``get_lines_from_file()``, which reads the lines of a place once."""
    read = functools.lru_cache(maxsize=MAX_PLACES)(patch.original)

    @functools.wraps(patch.original)
    def get_lines_from_file(*args: Any, **kwargs: Any) -> Any:
        try:
            before, line, after = read(*args, **kwargs)
        except TypeError:  # a loader that cannot be a key
            return patch.original(*args, **kwargs)
        return list(before), line, list(after)

    return get_lines_from_file
