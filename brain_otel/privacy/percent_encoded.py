"""Masks secrets that are percent-encoded in a text, as in a header or a path.

The decoded text says whether there are any, its parts which they are. A text of many is cut before that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from urllib.parse import unquote_plus

from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

_MAX_ENCODED = 100
"""Parts of a text that are percent-decoded and looked at one by one; more of them are masked."""

_MAX_TIMES = 3
"""How often an address within an address within an address is encoded."""

_BETWEEN_WORDS = expression(r"([\s,;&\"'<>]+)")
_BETWEEN_PARTS = expression(r"([\s,;&\"'<>/?#]+)")
"""Separate texts that may be percent-encoded, each as a whole or part by part."""

_PERCENT_ENCODED = expression(r"%[0-9A-Fa-f]{2}")


def mask_with_encoded(text: str, mask_plain: Callable[[str], str]) -> str:
    """Mask ``text`` by ``mask_plain``, then each part of it that is a secret once it is percent-decoded."""
    if "%" not in text or _PERCENT_ENCODED.search(text) is None:
        return mask_plain(text)
    mask = cache(mask_plain)
    if text.count("%") > _MAX_ENCODED and mask(unquote_plus(text)).count(FILTERED) > _MAX_ENCODED:
        text = _with_first_encoded(text)
    text = mask(text)
    whole = list(_decodings(text))
    if all(mask(decoded) == decoded for decoded in whole):
        return text

    def is_secret(part: str) -> bool:
        return any(decoded in whole or mask(decoded) != decoded for decoded in _decodings(part))

    return _mask_parts(_mask_parts(text, _BETWEEN_PARTS, is_secret), _BETWEEN_WORDS, is_secret)


def _decodings(text: str) -> Iterator[str]:
    """``text`` percent-decoded once, twice and thrice, as far as that changes it."""
    for _ in range(_MAX_TIMES):
        before, text = text, unquote_plus(text)
        if text == before:
            return
        yield text


def _with_first_encoded(text: str) -> str:
    """``text`` with its first encoded signs; what stands from the word of the next one on is masked as a whole."""
    beyond = next(islice(_PERCENT_ENCODED.finditer(text), _MAX_ENCODED, None), None)
    if beyond is None:
        return text
    before = text[: beyond.start()]
    word = _BETWEEN_WORDS.split(before)[-1]
    return f"{before[: len(before) - len(word)]}{FILTERED}"


def _mask_parts(text: str, separators: re.Pattern[str], is_secret: Callable[[str], bool]) -> str:
    """Mask each part of ``text`` that is a secret once it is percent-decoded."""
    parts = separators.split(text)
    encoded = [place for place, part in enumerate(parts) if "%" in part and _PERCENT_ENCODED.search(part)]
    for place in encoded[_MAX_ENCODED:]:
        parts[place] = FILTERED
    for place in encoded[:_MAX_ENCODED]:
        part = parts[place]
        name, equals, given = part.partition("=")
        if equals and is_secret(given):
            parts[place] = f"{name}={FILTERED}"
        elif is_secret(part):
            parts[place] = FILTERED
    return "".join(parts)
