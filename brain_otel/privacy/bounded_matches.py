"""Bounds how many matches of one rule are looked at in one text: each costs a call in Python.

A text of near-matches alone would stop an event loop. What stands behind the last of them is masked as a whole.
"""

import re
from collections.abc import Callable

from brain_otel.privacy.settings import FILTERED

MAX_NAMES = 250
"""Sensitive names in one text whose values are looked for."""

MAX_PARTIAL_NAMES = 1_000
"""Words in one text, such as ``key``, that may be the end of a name: the words before them are looked at."""

MAX_MATCHES = 250
"""Matches of an expression in one text that are looked at one by one."""


def sub_first(pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str], text: str) -> str:
    """``pattern.sub(replace, text)`` for the first :data:`MAX_MATCHES`; the text from the next one on is masked."""
    parts: list[str] = []
    done = 0
    for count, match in enumerate(pattern.finditer(text)):
        if count == MAX_MATCHES:
            return "".join([*parts, text[done : match.start()], FILTERED])
        parts += (text[done : match.start()], replace(match))
        done = match.end()
    return "".join([*parts, text[done:]]) if parts else text
