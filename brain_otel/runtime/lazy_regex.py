"""Regular expressions that are compiled when a text is first held against them.

Compiling one takes up to three milliseconds, and a service that starts needs few of them. Most are for what
is masked: errors, and spans on a thread of their own.
"""

from __future__ import annotations

import re
from typing import Any, cast


class _Expression:
    """What :func:`re.compile` would return, later; a method of it that was asked for once is here from then on."""

    def __init__(self, pattern: str, flags: int) -> None:
        self._given = (pattern, flags)

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(*self._given), name)
        setattr(self, name, value)
        return value


def expression(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """As :func:`re.compile`, but that a wrong ``pattern`` raises :exc:`re.error` only when it is used."""
    return cast("re.Pattern[str]", _Expression(pattern, flags))
