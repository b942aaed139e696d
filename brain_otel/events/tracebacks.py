"""Formats tracebacks as Python does, but each place in the code only once.

Python reads and compiles the source line of each frame to underline a part of it, which is most of the work. An
endpoint fails at the same few places again and again.
"""

import sys
import traceback
from types import CodeType, TracebackType

MAX_PLACES = 2_048
"""Places whose text is kept."""

MAX_LENGTH = 1_024
"""Characters of the longest text that is kept."""

_WITH_SUGGESTIONS = (NameError, AttributeError, ImportError, SyntaxError)
"""Python looks at the frames of these for names that the author may have meant."""

_HEAD = "Traceback (most recent call last):\n"


def format_exception(error: BaseException) -> str:
    """The text of ``traceback.format_exception(error)``.

    Raises:
        Exception: a method of the application's exception raises.
    """
    frames = _frames(error.__traceback__) if _is_simple(error) else None
    if frames is None:
        return "".join(traceback.format_exception(error))
    return "".join((_HEAD, *map(_places.text, frames), *traceback.format_exception_only(error)))


def _is_simple(error: BaseException) -> bool:
    """Whether Python shows nothing but the frames and the text of ``error``."""
    return (
        error.__cause__ is None
        and (error.__context__ is None or error.__suppress_context__)
        and not isinstance(error, (BaseExceptionGroup, *_WITH_SUGGESTIONS))
        and not hasattr(sys, "tracebacklimit")
    )


def _frames(entry: TracebackType | None) -> list[TracebackType] | None:
    """The entries of a traceback; None if there are none, or Python may sum up some that repeat."""
    found: list[TracebackType] = []
    before = None
    while entry is not None:
        code = entry.tb_frame.f_code
        place = code.co_filename, entry.tb_lineno, code.co_name
        if place == before:
            return None
        before = place
        found.append(entry)
        entry = entry.tb_next
    return found or None


class _Places:
    """The texts of places in the code; all are dropped when there are too many."""

    def __init__(self) -> None:
        # The code object is kept, so that no other gets its id.
        self._known: dict[tuple[int, int], tuple[CodeType, str]] = {}

    def text(self, entry: TracebackType) -> str:
        """The lines for one entry of a traceback."""
        code = entry.tb_frame.f_code
        key = id(code), entry.tb_lasti
        known = self._known.get(key)
        if known is not None:
            return known[1]
        alone = TracebackType(None, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
        text = "".join(traceback.format_tb(alone))
        if len(text) <= MAX_LENGTH:
            if len(self._known) >= MAX_PLACES:
                self._known.clear()
            self._known[key] = code, text
        return text


_places = _Places()
