"""Masks values that a text gives to a sensitive name: ``password=...`` in a message, ``"token": "..."`` in JSON.

The names are those for attributes. After ``=`` any value is masked. After a colon and a space a plain word stays, as
in ``token: expired``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brain_otel.privacy.names import is_fact
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = expression(
    r"""(?<![\w.-]) (?P<name>(?P<flag>--?)?+[\w.-]{2,128}+)
    (?P<close>\\{0,3}+["']|&(?:quot|apos|\#34|\#39|\#x27);)?+ \]?+ \\{0,4}+ [ \t]{0,64}+
    (?: (?P<sign>=>|:=|=(?!=)|:(?![:/=])) [ \t]{0,64}+
      | (?P<verb>(?<=[ \t])(?:is|was)[ \t](?=["']|[^\s\d]{0,64}+\d[^\s]))
      | (?P<pair>,) [ \t]{0,64}+ (?=\(?b?\\{0,3}["'])
      | (?(flag)(?<=[ \t])|(?!)) )
    """,
    re.VERBOSE,
)
_OPENING = expression(r"(?:[brufBRUF]{1,2})?(\\{0,3})([\"'])(\2{1,7}(?=[^\s,;&)\]}]))?")
"""An opening quote, with its string prefix and escapes; quotes are doubled inside an SQL literal."""

_UNQUOTED = r"(?:\[Filtered\]|%\(\w{1,64}+\)s|[^\s,;&)\]}\"'<>\\])+"
_UNQUOTED_VALUE = expression(_UNQUOTED)
_SECOND_WORD = expression(r"[ \t]{1,4}" + _UNQUOTED)
_WORD = expression(r"(?:[A-Z]?[a-z]+(?:'[a-z]+)?|[A-Z]+|\d{1,3})[.!?]*")
_LINE = expression(r"[^\n\\]*+(?:\\(?!n)[^\n\\]*+)*+")
"""The rest of a line; its end may be escaped."""

_PLACEHOLDER = expression(
    r"""(?: none | null | nil | true | false | undefined | \*+ | \?+ | x{3,} | %s | %\(\w+\)s | \$\d+ | :\w+ | \{\w*\}
    | \$\{[\w.:-]* | <\w*> | \.{3} | \(masked\) | \[filtered\] ) $""",
    re.IGNORECASE | re.VERBOSE,
)
_BRACKETS = {"{": "}", "[": "]", "(": ")"}
_HEADERS_WITH_SPACES = expression(r"(?:authorization|cookie)$", re.IGNORECASE)
"""Headers whose values contain spaces; the value reaches to the end of the line."""

_HEADERS_IN_PAIRS = expression(r"(?:authorization|cookie|token|api-key)$", re.IGNORECASE)
"""Quoted names that form a pair with the next quoted text: a header and its value, not two items of a list."""

_SIGNS = ("=", ":", "'", '"', " -", "\n-", "\t-", " is ", " was ", "&")
_NUMBERS = expression(r"[\[(][\d\s.,-]++[\])]$")
_LOC = expression(r"loc\\{0,3}[\"']\s{0,4}:\s{0,4}([\[(][^\])]{0,512}+[\])]|\\{0,3}[\"'][\w.-]{1,128}+)")
_NAMES_OF_LOC = expression(r"[\w.-]{2,128}+")
_SOURCE = expression(
    r"((?<![\w.-])([\w.-]{2,128}+)[\"']?\]?[ \t]{0,64}+(?:=(?!=)|:)[ \t]{0,64}+[bBrRuU]{0,2}([\"']))"
    r"(?:[^\"'\\\n]++|\\.)++\3"
)
_NUMERIC_SECRETS = expression(r"(?:otp|pin|cvv\d?|cvc\d?|ssn|code|number|pass\w*|pwd|pw)$", re.IGNORECASE)
_STRONG_NAMES = expression(r"(?:pass(?:word|phrase|code|wd)|secret|pwd|key|passwort|kennwort)$", re.IGNORECASE)
_COLON = expression(r"\\{0,3}[\"'][ \t]{0,4}:")
"""After a quoted text that is a name itself."""

_ENTITY = expression(r"&(?:quot|apos|\#34|\#39|\#x27);")
_MAX_BRACKETED = 20_000
"""Characters within which the closing bracket of a value is searched."""


def create_assignment_mask(is_sensitive: Callable[[str], bool], *, rejects_input: bool) -> Callable[[str], str]:
    """Create the function that masks the values of sensitive names in a text.

    Args:
        is_sensitive: Whether the value of a name is a secret.
        rejects_input: Whether the values that pydantic rejected are masked, whatever their names.
    """

    def mask_assignments(text: str) -> str:
        if not any(map(text.__contains__, _SIGNS)) and text[:1] != "-":
            return text
        others = _secret_by_neighbours(text, is_sensitive, rejects_input=rejects_input)
        parts: list[str] = []
        done = 0
        position = 0
        while (match := _NAME.search(text, position)) is not None:
            position = match.end()
            name = match["name"]
            if match["sign"] is None and match["pair"] is None:
                position = match.end("name")
            if not is_sensitive(name) and not (match["close"] and name in others):
                position = match.end("name") if match["sign"] is None else position
                continue
            start, end = _find_value(text, match)
            if start < end and not is_fact(name, _plain(text[start:end])):
                parts += [text[done:start], FILTERED]
                done = position = end
        return "".join([*parts, text[done:]]) if parts else text

    return mask_assignments


def mask_source(line: str, is_sensitive: Callable[[str], bool]) -> str:
    """Mask the texts that a line of source code gives to sensitive names; other values stand elsewhere."""
    return _SOURCE.sub(lambda found: f"{found[1]}{FILTERED}{found[3]}" if is_sensitive(found[2]) else found[0], line)


def _secret_by_neighbours(text: str, is_sensitive: Callable[[str], bool], *, rejects_input: bool) -> tuple[str, ...]:
    """Quoted names that are sensitive because of others: a value that pydantic rejected, a log-in to MongoDB."""
    if "input" in text and "loc" in text and (places := _LOC.findall(text)):
        names = _NAMES_OF_LOC.findall(" ".join(places))
        return ("input",) if rejects_input or any(map(is_sensitive, names)) else ()
    return ("payload",) if "saslStart" in text or "saslContinue" in text else ()


def _plain(value: str) -> Any:
    """A list of numbers as a list."""
    return [0] if _NUMBERS.match(value) else value


def _find_value(text: str, match: re.Match[str]) -> tuple[int, int]:
    """Start and end of the value of the name in ``match``; both are equal if there is nothing to mask."""
    name, sign, start = match["name"], match["sign"], match.end()
    if match["pair"] is not None and not _is_pair(match):
        return start, start
    opening = _OPENING.match(text, start)
    if opening is not None:
        is_said = match["verb"] is not None and _STRONG_NAMES.search(name) is None  # "the token is 'expired'"
        begin, end = (start, start) if is_said else _find_quoted_value(text, opening)
        return (start, start) if match["pair"] is not None and _COLON.match(text, end) else (begin, end)
    entity = _ENTITY.match(text, start)
    if entity is not None:
        end = text.find(entity[0], entity.end())
        return entity.end(), end if end >= 0 else len(text)
    if text[start : start + 1] in _BRACKETS:
        return _find_bracketed_value(text, start)
    if _HEADERS_WITH_SPACES.search(name) and sign == ":":
        rest = _LINE.match(text, start)
        return start, rest.end() if rest is not None else start
    plain = _UNQUOTED_VALUE.match(text, start)
    if plain is None or _PLACEHOLDER.match(plain[0]):
        return start, start
    if _stays(text, match, plain[0]):
        return start, start
    end = plain.end()
    if _HEADERS_WITH_SPACES.search(name) or plain[0].lower() in ("bearer", "basic", "digest", "token"):
        more = _SECOND_WORD.match(text, end)
        end = more.end() if more else end
    return start, end


def _is_pair(match: re.Match[str]) -> bool:
    """Whether a quoted name and the text after a comma are a header and its value, or a flag and its value."""
    is_flag = match["flag"] == "--"
    return match["close"] is not None and (is_flag or _HEADERS_IN_PAIRS.search(match["name"]) is not None)


def _stays(text: str, match: re.Match[str], value: str) -> bool:
    """Whether an unquoted value is a word about the name, or a part of an id: ``token: expired``, ``session:42``."""
    start = match.end()
    if match["verb"] is not None:
        return _WORD.fullmatch(value) is not None
    if match["sign"] != ":" or match["close"] is not None:
        return False
    if text[start - 1] != ":":
        return _WORD.fullmatch(value) is not None
    if value.isdigit() and _NUMERIC_SECRETS.search(match["name"]) is None:
        return True
    return text.rfind("arn:", max(0, start - 256), start) >= 0


def _find_quoted_value(text: str, opening: re.Match[str]) -> tuple[int, int]:
    start, end = opening.end(), opening.end()
    closing = opening[1] + opening[2] + (opening[3] or "")
    while True:
        end = text.find(closing, end)
        if end < 0:
            return start, len(text)
        if text[end - 1] != "\\" or opening[1]:
            break
        end += len(closing)
    return (start, start) if not text[start:end].strip() or _PLACEHOLDER.match(text[start:end]) else (start, end)


def _find_bracketed_value(text: str, start: int) -> tuple[int, int]:
    opening, depth = text[start], 0
    closing = _BRACKETS[opening]
    for position in range(start, min(len(text), start + _MAX_BRACKETED)):
        if text[position] == opening:
            depth += 1
        elif text[position] == closing:
            depth -= 1
            if depth == 0:
                is_empty = position == start + 1
                return start, start if is_empty or text[start : position + 1] == FILTERED else position + 1
    return start, len(text)
