"""Masks values that a text gives to a sensitive name: ``password=...`` in a message, ``"token": "..."`` in JSON.

The names are those for attributes. After ``=`` any value is masked. After a colon and a space a plain word stays, as
in ``token: expired``. Where a value ends is known by :mod:`~brain_otel.privacy.literals`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from brain_otel.privacy.labels import labelled_places, secret_by_neighbours
from brain_otel.privacy.literals import OPENING, SHORT_VALUE, bracket_end, opened, quote_end, unquoted_end
from brain_otel.privacy.names import is_fact
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = expression(
    r"""(?<![\w.-]) (?P<name>(?P<flag>--?)?+[\w.-]{2,}+)
    (?P<close>\\{0,7}+["']|&(?:quot|apos|\#34|\#39|\#x27);)?+ \]?+ \\{0,4}+ [ \t]*+
    (?: (?P<sign>=>|:=|->|=(?!=)|:(?![:/=])) [ \t]*+
      | (?P<verb>(?<=[ \t])(?:is|was|(?:set|changed|reset|updated|rotated)[ \t]to)[ \t](?=["']|[^\s\d]{0,64}+\d[^\s]))
      | (?P<pair>,) \s{0,64}+ (?=\(?b?\\{0,7}["'])
      | (?P<beside>(?<=[ \t])(?=\\{0,7}["']))
      | (?(flag)(?:(?<=[ \t])|\r?\n)|(?!)) )
    """,
    re.VERBOSE,
)
_SECOND_WORD = expression(r"[ \t]{1,4}(?:\[Filtered\]|[^\s,;&)\]}\"'<>\\])++")
_COOKIES = expression(r"(?:;[ ]?[\w.-]{1,64}+=[^\s;,\"'<>\\]*+)++")
_WORD = expression(
    r"(?:[A-Za-z_.]++\[[A-Za-z_.|\[]*+|(?:[A-Z]?[a-z]++(?:'[a-z]++)?|[A-Z]++)(?:[_-](?:[a-z]++|[A-Z]++))*+|\d{1,3})[.!?]*+"
)
"""A word, also a code such as ``too_short``, and the beginning of a type such as ``Optional[str]``."""

_KEY_PARTS = expression(r"(?:[A-Za-z_-]++|\d{1,9}+)(?::(?:[A-Za-z_-]++|\d{1,9}+))*+")
"""The rest of a key such as ``session:42:cart``."""

_PERMISSIONS = frozenset(
    {"read", "write", "delete", "create", "update", "list", "admin", "manage", "count", "all", "view", "edit", "get"}
)
"""Words of scopes and keys such as ``tokens:read`` and ``session:count``."""

_LINE = expression(r"[^\n\\]*+(?:\\(?!n)[^\n\\]*+)*+")
"""The rest of a line; its end may be escaped."""

_NEXT_LINE = expression(r"(?:\\?\r?\n[ \t]*+){1,2}(?:- )?(?=\S)")
_LINE_OF_ONE = expression(r"(?![\w.-]{1,64}+[=:](?:\s|\w)|[|>]|---|\S{1,256}:\s)(\S++)[ \t]*+(?=\r?\n|$)")
_MORE_ITEMS = expression(r"(?:\r?\n[ \t]*+- [^\s:]++[ \t]*+(?=\r?\n|$))*+")
_HIDDEN = r"(?:redacted|filtered|masked|hidden|removed|scrubbed|omitted)"
_PLACEHOLDER = expression(
    rf"""(?: none | null | nil | true | false | undefined | \*++ | \?++ | x{{3,}}+ | %s | %\(\w++\)s | \$\d++ | :\w++
    | (?: [HREP]S | SHA-? ) (?: 1 | 224 | 256 | 384 | 512 ) | EdDSA                             # of algorithms
    | \{{[\w.]*+\}} | \$\{{[\w.:-]*+ | <\w*+>? | \.{{3}} | [\[(<]?{_HIDDEN}[\])>]? ) $""",
    re.IGNORECASE | re.VERBOSE,
)
_REDACTED = expression(rf"[\[(<{{]{_HIDDEN}[\])>}}]$", re.IGNORECASE)
_OPENERS = frozenset("{[(")
_HEADERS_WITH_SPACES = expression(r"(?:authorization|cookie)$", re.IGNORECASE)
"""Headers whose values contain spaces; the value reaches to the end of the line."""

_HEADERS_IN_PAIRS = expression(
    r"(?:authorization|cookie|token|(?:api|functions|subscription|auth)-key)$", re.IGNORECASE
)
"""Quoted names that form a pair with the next quoted text: a header and its value, not two items of a list."""

_SIGNS = ("=", ":", "'", '"', " -", "\n-", "\t-", "--", " is ", " was ", " to ", "&", "->")
_NUMBERS = expression(r"[\[(][\d\s.,-]++[\])]$")
_NUMERIC_SECRETS = expression(r"(?:otp|pin|cvv\d?|cvc\d?|ssn|codes?|number|pass\w*+|pwd|pw)$", re.IGNORECASE)
_STRONG_NAMES = expression(r"(?:pass(?:word|phrase|code|wd)?|secret|pwd|key|passwort|kennwort)$", re.IGNORECASE)
_BESIDE = expression(r"(?:pass(?:word|phrase|code|wd)|pwd|pass|masterauth|[-_ ]key)$", re.IGNORECASE)
"""Names before a quoted text without a sign: ``password 'x'``. A token or session in quotes is mostly a name."""

_COLON = expression(r"\\{0,7}[\"'][ \t]{0,4}:")
"""After a quoted text that is a name itself."""

_SECOND_WORDS = frozenset({"key", "keys", "code", "codes", "phrase", "number", "string", "answer", "word"})
"""Words of names that a text writes with a space: ``API key``, ``verification code``."""

_ABOUT_THE_VALUE = frozenset({"is", "was", "provided", "given", "received", "supplied", "used"})
"""Words between a name and its sign: ``Invalid API key provided: ...``."""

_PARTIAL_NAMES = _SECOND_WORDS | _ABOUT_THE_VALUE
_WORD_BEFORE = expression(r"[\w.-]{2,20}+(?= $)")
_WORDS_BEFORE = expression(r"(?<![\w.-])(?:[\w.-]{2,20}+ )?[\w.-]{2,20}+(?= $)")
_ENTITY = expression(r"&(?:quot|apos|\#34|\#39|\#x27);")


class _Given(NamedTuple):
    """What a text gives to a name."""

    name: str
    match: re.Match[str]


def create_assignment_mask(
    is_sensitive: Callable[[str], bool], may_hold_names: Callable[[str], bool], *, rejects_input: bool
) -> Callable[[str], str]:
    """Create the function that masks the values of sensitive names in a text.

    Args:
        is_sensitive: Whether the value of a name is a secret.
        may_hold_names: Whether a text may hold a sensitive name.
        rejects_input: Whether the values that pydantic rejected are masked, whatever their names.
    """

    def mask_assignments(text: str) -> str:
        if not any(map(text.__contains__, _SIGNS)) and text[:1] != "-":
            return text
        if not may_hold_names(text) and not ("input" in text and "loc" in text) and "sasl" not in text:
            return text
        others = secret_by_neighbours(text, is_sensitive, rejects_input=rejects_input)
        is_labelled = labelled_places(text, is_sensitive)
        parts: list[str] = []
        done = 0
        position = 0
        while (match := _NAME.search(text, position)) is not None:
            position = match.end()
            if match["sign"] is None and match["pair"] is None:
                position = match.end("name")
            name = match["name"]
            if text[match.start() - 1 : match.start()] == "\\" and name[0] in "nrt":  # of an escaped line break
                name = name[1:]
            name = _whole_name(text, match) if name.lower() in _PARTIAL_NAMES else name
            if not is_sensitive(name) and not (match["close"] and name in others) and not is_labelled(match):
                position = match.end("name") if match["sign"] is None else position
                continue
            start, end = _find_value(text, _Given(name, match))
            if start < end:
                parts += [text[done:start], FILTERED]
                done = end
            position = max(position, end)
        return "".join([*parts, text[done:]]) if parts else text

    return mask_assignments


def _whole_name(text: str, match: re.Match[str]) -> str:
    """The name, with the word before it; or the words before it, if it is a word about the value."""
    name, start = match["name"], match.start()
    if text[start - 1 : start] != " ":
        return name
    if name.lower() in _ABOUT_THE_VALUE:
        before = _WORDS_BEFORE.search(text, max(0, start - 44), start) if match["sign"] == ":" else None
        return before[0].replace(" ", "_") if before is not None else name
    before = _WORD_BEFORE.search(text, max(0, start - 24), start)
    return f"{before[0]}_{name}" if before is not None else name


def _plain(value: str) -> Any:
    """A list of numbers as a list."""
    return [0] if _NUMBERS.match(value) else value


def _find_value(text: str, given: _Given) -> tuple[int, int]:
    """Start and end of the value that ``text`` gives to a name; both are equal if there is nothing to mask there."""
    name, match = given
    start = match.end()
    if match["pair"] is not None:
        return _find_second(text, given)
    if match["beside"] is not None and (_BESIDE.search(name) is None or match["close"] or match["flag"]):
        return start, start
    if (following := _NEXT_LINE.match(text, start)) is not None:
        return _find_value_below(text, given, following)
    return _find_value_at(text, start, given)


def _find_value_at(text: str, start: int, given: _Given) -> tuple[int, int]:
    name, match = given
    opening = OPENING.match(text, start)
    if opening is not None:
        is_said = match["verb"] is not None and _STRONG_NAMES.search(name) is None  # "the token is 'expired'"
        return (start, start) if is_said else _find_quoted_value(text, opening, name)
    entity = _ENTITY.match(text, start)
    if entity is not None:
        end = text.find(entity[0], entity.end())
        return entity.end(), end if end >= 0 else len(text)
    if text[start : start + 1] in _OPENERS and not text.startswith(FILTERED, start):
        return _find_bracketed_value(text, start, name)
    if _HEADERS_WITH_SPACES.search(name) and match["sign"] == ":":
        return _find_header(text, start)
    return _find_unquoted_value(text, start, given)


def _find_header(text: str, start: int) -> tuple[int, int]:
    rest = _LINE.match(text, start)
    if rest is None or _WORD.fullmatch(rest[0].strip()) or _PLACEHOLDER.match(rest[0].strip()):
        return start, start
    return start, rest.end()


def _find_value_below(text: str, given: _Given, following: re.Match[str]) -> tuple[int, int]:
    """The value on the line after its name, or in the list there; another name and its value is none."""
    name, match = given
    start = following.end()
    if match["sign"] is not None and (opening := OPENING.match(text, start)) is not None:
        begin, end = _find_quoted_value(text, opening, name)
        return (start, start) if _COLON.match(text, end) else (begin, end)
    is_indented = following[0][-1] in " \t\\" or following[0].startswith("\\")
    line = _LINE_OF_ONE.match(text, start)
    if line is None or (match["sign"] == "=" and not is_indented) or text[start] in "-#{[(":
        return start, start
    value = line[1]
    if value == FILTERED or _WORD.fullmatch(value) or _PLACEHOLDER.match(value) or is_fact(name, value):
        return start, start
    if value.isdigit() and _NUMERIC_SECRETS.search(name) is None:
        return start, start
    items = _MORE_ITEMS.match(text, line.end()) if following[0].endswith("- ") else None
    return start, items.end() if items is not None else line.end(1)


def _find_unquoted_value(text: str, start: int, given: _Given) -> tuple[int, int]:
    name, match = given
    short = SHORT_VALUE.match(text, start)
    value = short[0] if short is not None else ""
    end = unquoted_end(text, start)
    if end == start or _PLACEHOLDER.match(text[start:end]) or _PLACEHOLDER.match(value or text[start:end]):
        return start, start
    if short is not None and (_stays(text, match, name, value) or is_fact(name, value)):
        return (start, start) if "=" in value else (short.end(), short.end())
    if not value and (text[start] in "\"'\\" or match["sign"] != "="):
        return start, start
    if _HEADERS_WITH_SPACES.search(name):
        cookies = _COOKIES.match(text, end)
        end = cookies.end() if cookies else end
    if _HEADERS_WITH_SPACES.search(name) or value.lower() in ("bearer", "basic", "digest", "token"):
        more = _SECOND_WORD.match(text, end)
        end = more.end() if more else end
    return start, end


def _find_second(text: str, given: _Given) -> tuple[int, int]:
    """The text after a quoted name and a comma: of a header, a flag, or a pair in brackets. A word is a name."""
    name, match = given
    start = match.end()
    opening = OPENING.match(text, start)
    if match["close"] is None or opening is None:
        return _find_value_at(text, start, given) if match["flag"] == "--" else (start, start)
    begin, end = _find_quoted_value(text, opening, name)
    before = text[max(0, match.start() - 12) : match.start()].rstrip("bru\\\"'")
    behind = end + len(opening[1]) + len(opening[2])
    is_header = _HEADERS_IN_PAIRS.search(name) is not None and before[-1:] in ("(", "[")
    is_call = before[-2:-1].isalnum() or before[-2:-1] == "_"
    is_pair = before[-1:] == "(" and not is_call and text[behind : behind + 1] == ")"
    if match["flag"] != "--" and not is_header and not is_pair:
        return start, start
    is_word = match["flag"] != "--" and _WORD.fullmatch(text, begin, end) is not None
    is_name = _COLON.match(text, end) is not None
    is_said = is_word and "-" not in name and _HEADERS_WITH_SPACES.search(name) is None
    return (start, start) if is_name or is_said else (begin, end)


def _stays(text: str, match: re.Match[str], name: str, value: str) -> bool:
    """Whether an unquoted value is a word about the name, or a part of an id: ``token: expired``, ``session:42``."""
    start = match.end()
    if match["verb"] is not None:
        return _WORD.fullmatch(value) is not None
    if match["flag"] and match["sign"] is None:
        return value.isupper() and value.lower() in name.lower().replace("-", "_")  # of a usage: --token TOKEN
    if match["sign"] not in (":", "->") or match["close"] is not None:
        return False
    if text[start - 1] not in ":>":
        return _WORD.fullmatch(value) is not None
    if ":" in value and _KEY_PARTS.fullmatch(value):
        return True
    if value in _PERMISSIONS or (value.isdigit() and _NUMERIC_SECRETS.search(name) is None):
        return True
    return text.rfind("arn:", max(0, start - 256), start) >= 0


def _find_quoted_value(text: str, opening: re.Match[str], name: str) -> tuple[int, int]:
    start = opening.end()
    end = quote_end(text, start, opened(opening.groups()))
    if end < 0:
        return start, len(text)
    value = text[start:end]
    return (start, start) if not value.strip() or _PLACEHOLDER.match(value) or is_fact(name, value) else (start, end)


def _find_bracketed_value(text: str, start: int, name: str) -> tuple[int, int]:
    end = bracket_end(text, start)
    if end < 0:
        return start, len(text)
    value = text[start:end]
    bare = value[1:-1].strip()
    last = bare.partition("!")[0].partition(":")[0].rpartition(".")[2].lower()
    is_variable = value[0] == "{" and last in name.lower()  # f"password={self.password!r}"
    if not bare or is_variable or _REDACTED.match(value) or is_fact(name, _plain(value)):
        return start, start
    return start, unquoted_end(text, end)
