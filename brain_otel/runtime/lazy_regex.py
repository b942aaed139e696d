"""Regular expressions that are compiled on first use.

Compiling one takes up to three milliseconds, and a starting service needs few of them. Most serve to mask errors, and
spans on another thread.
"""

import re
from typing import Any, cast


class _LazyPattern:
    """Stands for a compiled pattern; compiles it when a method is used, and keeps the method."""

    def __init__(self, pattern: str, flags: int) -> None:
        self._arguments = (pattern, flags)

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(*self._arguments), name)
        setattr(self, name, value)
        return value


def expression(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Like :func:`re.compile`, except that a wrong ``pattern`` raises :exc:`re.error` on first use."""
    return cast("re.Pattern[str]", _LazyPattern(pattern, flags))
