"""Finds where a value in a text ends: a quoted text, a bracket, an unquoted value.

The text may be JSON, a ``repr``, a line of a shell or of SQL, and any of them within another one: quotes may be
escaped once for each level, or doubled. Every function takes time linear in the length of what it walks over.
"""

import re

from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple

OPENING = expression(r"(?:[brufBRUF]{1,2})?(\\*+)(\"\"\"|'''|[\"'])(\2{1,7}(?=[^\s,;&)\]}]))?")
"""An opening quote, with its string prefix and escapes; quotes are doubled inside an SQL literal."""

_STRUCTURE = expression(r"(?<!\w)(?:[bBrRuUfF]{1,2})?(\\*+)(\"\"\"|'''|[\"'])|[\[\](){}]")
_BRACKETS = {"{": "}", "[": "]", "(": ")"}

_CLOSERS = r"[)\]}>\"',;.]{0,8}+"
_ENDS = rf"(?={_CLOSERS}(?:\s|\\++[nrt]|$))"
_NEXT_PAIR = r"(?=[)\]}>\"',;&]{1,8}+\\{0,7}+[\"']?\[?[\w.-]{1,64}+\]?\\{0,7}+[\"']?[ ]?[=:])"
_NEXT_ITEM = r"(?=\\{0,7}[\"'](?:,\\{0,7}[\"'b(\[{]|\s{0,4}/?>))"
_SHORT = r"[^\s,;&)\]}\"'<>\\]"
_KEPT = r"\[Filtered\]|%\(\w{1,64}+\)s"
_TAG = r"</[A-Za-z]|<!|<(?:br|p|b|i|a|td|th|tr|li|ul|div|span|pre|code|em|strong|input|hr)[\s/>]"
SHORT_VALUE = expression(rf"(?:{_KEPT}|{_SHORT})++")
"""An unquoted value up to the first sign that may end it."""

_UNQUOTED = expression(
    rf"(?: {_KEPT} | (?:(?!%\(){_SHORT})++"
    rf"| (?!{_ENDS}|{_NEXT_PAIR}|{_NEXT_ITEM}|{_TAG}) [,;&)\]}}\"'<>] | \\++(?![nrtu\"']|\r?\n) )++",
    re.VERBOSE,
)
"""A sign that closes or separates is a part of the value, unless the value or another pair of its kind ends there."""

_CALL = expression(r"[(\[{](?=(?:[\w.]{1,64}+=)?[bBrRuUfF]{0,2}\\*+[\"'])")
"""An opening bracket before a quoted text, as in ``SecretStr('...')``."""


class Quote(NamedTuple):
    """How a quoted text ends."""

    quote: str
    escapes: int
    """Backslashes before the quote."""


def opened(opening: tuple[str | None, ...]) -> Quote:
    """The quote of a match of :data:`OPENING`, by its groups."""
    escapes, quote, doubled = opening
    return Quote(f"{quote}{doubled or ''}", len(escapes or ""))


def quote_end(text: str, start: int, quote: Quote) -> int:
    """Where the quoted text that begins at ``start`` ends, before the closing quote and its escapes; -1: nowhere.

    A backslash is itself escaped within a quoted text, so the quotes of the text's own level are known by the number
    of backslashes before them.
    """
    mark, escapes = quote
    level = 2 * escapes + 2
    place = text.find(mark, start)
    while place >= 0:
        before = place
        while before > start and text[before - 1] == "\\":
            before -= 1
        if (place - before) % level != escapes % level:
            place = text.find(mark, place + 1)
        elif escapes == 0 and len(mark) == 1 and text.startswith(mark, place + 1):
            place = text.find(mark, place + 2)  # a doubled quote is a part of the text
        else:
            return place - escapes
    return -1


def bracket_end(text: str, start: int) -> int:
    """The place after the bracket that closes the one at ``start``; -1 if none does. Quoted brackets do not count."""
    opening = text[start]
    closing = _BRACKETS[opening]
    depth, position = 0, start
    unclosed: set[Quote] = set()
    while (match := _STRUCTURE.search(text, position)) is not None:
        position = match.end()
        if match[2] is None:
            depth += (match[0] == opening) - (match[0] == closing)
            if depth == 0:
                return position
            continue
        quote = Quote(match[2], len(match[1]))
        if quote in unclosed:
            continue
        end = quote_end(text, position, quote)
        if end < 0:
            unclosed.add(quote)  # an apostrophe, or the text was cut
        else:
            position = end + quote.escapes + len(quote.quote)
    return -1


def unquoted_end(text: str, start: int) -> int:
    """Where the unquoted value at ``start`` ends, its quoted arguments included; ``start`` if there is none."""
    position = start
    while (match := _UNQUOTED.match(text, position)) is not None:
        call = _CALL.search(text, match.start(), match.end() + 1)
        if call is None:
            return match.end()
        position = bracket_end(text, call.start())
        if position < 0:
            return len(text)
    return position
