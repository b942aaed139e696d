"""Finds the value that a text gives to a name, by the sign between them and by what the value is.

Where a quoted text, a bracket or an unquoted value ends is known by :mod:`~brain_otel.privacy.literals`.
"""

import re
from typing import Any

from brain_otel.privacy.literals import OPENING, SHORT_VALUE, bracket_end, opened, quote_end, unquoted_end
from brain_otel.privacy.names import is_fact
from brain_otel.privacy.remarks import HIDDEN, is_placeholder, is_structure_of_remarks, is_word
from brain_otel.privacy.settings import FILTERED
from brain_otel.privacy.typed_passwords import find_words, is_random_at, is_told
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.runtime.text import word_set

_SECOND_WORD = expression(r"[ \t]{1,4}(?:\[Filtered\]|[^\s,;&)\]}\"'<>\\])++")
_COOKIES = expression(r"(?:;[ ]?[\w.-]{1,64}+=[^\s;,\"'<>\\]*+)++")
_KEY_PARTS = expression(r"(?:[A-Za-z_-]++|\d{1,9}+)(?::(?:[A-Za-z_-]++|\d{1,9}+))*+")
"""The rest of a key such as ``session:42:cart``."""
_PERMISSIONS = word_set("read write delete create update list admin manage count all view edit get")
"""Words of scopes and keys such as ``tokens:read`` and ``session:count``."""
_LINE = expression(r"[^\n\\]*+(?:\\(?!n)[^\n\\]*+)*+")
"""The rest of a line; its end may be escaped."""
_NEXT_LINE = expression(r"(?:\\?\r?\n[ \t]*+){1,2}(?:- )?(?=\S)")
_LINE_OF_ONE = expression(r"(?![\w.-]{1,64}+[=:](?:\s|\w)|[|>]|---|\S{1,256}:\s)(\S++)[ \t]*+(?=\r?\n|$)")
_MORE_ITEMS = expression(r"(?:\r?\n[ \t]*+- [^\s:]++[ \t]*+(?=\r?\n|$))*+")
_REDACTED = expression(rf"[\[(<{{]{HIDDEN}[\])>}}]$", re.IGNORECASE)
_OPENERS = frozenset("{[(")
_HEADERS_WITH_SPACES = expression(r"(?:authorization|cookie)$", re.IGNORECASE)
"""Headers whose values contain spaces; the value reaches to the end of the line."""
_HEADERS_IN_PAIRS = expression(
    r"(?:authorization|cookie|token|(?:api|functions|subscription|auth)-key)$", re.IGNORECASE
)
"""Quoted names that form a pair with the next quoted text: a header and its value, not two items of a list."""
_NUMBERS = expression(r"[\[(][\d\s.,-]++[\])]$")
_NUMERIC_SECRETS = expression(r"(?:otp|pin|cvv\d?|cvc\d?|ssn|codes?|number|pass\w*+|pwd|pw)$", re.IGNORECASE)
_STRONG_NAMES = expression(r"(?:pass(?:word|phrase|code|wd)?|secret|pwd|key|passwort|kennwort)$", re.IGNORECASE)
_BESIDE = expression(r"(?:pass(?:word|phrase|code|wd)|pwd|pass|masterauth|[-_ ]key)$", re.IGNORECASE)
"""Names before a quoted text without a sign: ``password 'x'``. A token or session in quotes is mostly a name."""
_COLON = expression(r"\\{0,7}[\"'][ \t]{0,4}:")
"""After a quoted text that is a name itself."""
_APART = expression(
    r"(?:pass(?:word|phrase|code|wd)|secret|pwd|token|[-_ ]key|passwort|kennwort|contrase[ñn]a|senha|wachtwoord|passe"
    r"|ordine)$",
    re.IGNORECASE,
)
"""Names before a value that a dash, a bar or a gap sets apart: ``password -- x``, ``| password | x |``."""

_SHORTEST = 4
"""Characters of such a value."""

_PREPOSITION = expression(
    r"\b(?:with|using|mit|avec|con|com|met|via)"
    r"(?: (?:the|an?|its|his|her|their|new|old|default|wrong|invalid|temporary|same|dem|der|le|la|el|il|het))? $",
    re.IGNORECASE,
)
_SET_BEFORE = expression(
    r"\b(?:set|reset|alter|chang|updat|rotat)(?:e|ed|ing|s|ted|ting)?(?: [\w'.]{1,32}+){0,3} $", re.IGNORECASE
)
_BAR_BEHIND = expression(r"[^|│\n]{0,256}+(?:[|│]|\n|$)")
_DECLARED = expression(
    r"&?[A-Za-z_][\w.]{0,64}+(?:\[[^\]\n]{0,64}\]|<[^<>\n]{0,64}>|[ ]?\|[ ]?\w{1,32}|\?){0,4}+[ \t]*+=[ \t]*+"
    r"(?:Secret\w{0,8}\()?(?=[brufBRUF]{0,2}\\*+[\"'])"
)
"""Between the name of a declaration and its text: ``password: str | None = "x"``."""

_ENVIRONMENT = expression(r"(?:export )?[A-Z_][A-Z0-9_]{0,128}=")
_REST_OF_LINE = expression(r"(?:(?![ \t]++[A-Za-z_]\w{0,64}=)[^\n])++")
_PERSONS = expression(r"(?:credentials?|creds|login|zugangsdaten|anmeldedaten)$", re.IGNORECASE)
_SECOND_OF_PERSON = expression(r"[ ]{0,2}[/|:,][ ]{0,2}(?=[^\s\d]{0,64}\d)[^\s,;]++")
_PHRASES = expression(r"(?:phrase|mnemonic|words?)$", re.IGNORECASE)
_PHRASE = expression(r"(?:[a-z]{3,12}+[ ,]{1,2}){11,23}+[a-z]{3,12}+")
"""Twelve to 24 words, as BIP-39 writes the key of a wallet."""

_SIGNATURE_OF_CALL = expression(r"\((?:\)| ?[\w*/]{1,64}+[:,=)])")
_ENTITY = expression(r"&(?:quot|apos|\#34|\#39|\#x27);")


class Given(NamedTuple):
    """What a text gives to a name."""

    name: str
    match: re.Match[str]


def _plain(value: str) -> Any:
    """A list of numbers as a list."""
    return [0] if _NUMBERS.match(value) else value


def find_value(text: str, given: Given) -> tuple[int, int]:
    """Start and end of the value that ``text`` gives to a name; both are equal if there is nothing to mask there."""
    match = given.match
    start = match.end()
    if match["pair"] is not None:
        return _find_second(text, given)
    if match["beside"] is not None and not _is_beside(text, given):
        return start, start
    if (match["apart"] is not None or match["told"] is not None) and not _is_apart(text, given):
        return start, start
    if match["verb"] in ("to ", "TO ") and not _SET_BEFORE.search(text, max(0, match.start() - 64), match.start()):
        return start, start
    if (following := _NEXT_LINE.match(text, start)) is not None:
        return _find_value_below(text, given, following)
    return _find_value_at(text, start, given)


def _is_beside(text: str, given: Given) -> bool:
    """Whether the quoted text behind a name is its value: of a password, or a random one."""
    name, match = given
    if match["close"] or match["flag"]:
        return False
    opening = OPENING.match(text, match.end())
    return _BESIDE.search(name) is not None or (opening is not None and is_random_at(text, opening.end()))


def _is_apart(text: str, given: Given) -> bool:
    """Whether what follows a name without a sign such as ``=`` may be its value."""
    name, match = given
    if match["close"] or match["flag"]:
        return False
    if _APART.search(name) is None:
        return match["told"] is not None and is_random_at(text, match.end())
    begin = match.start() - len(name) + len(match["name"])  # some words of the name may stand before
    before = text[max(0, begin - 48) : begin]
    if match["told"] is not None:
        return _PREPOSITION.search(before) is not None or is_told(text, match.end(), name)
    is_bar = match["apart"].strip() in ("|", "│")
    line = before.rpartition("\n")[2].strip()
    return not is_bar or line[-1:] in ("|", "│") or (not line and _BAR_BEHIND.match(text, match.end()) is not None)


def _find_value_at(text: str, start: int, given: Given) -> tuple[int, int]:
    name, match = given
    opening = OPENING.match(text, start)
    if opening is not None:
        is_said = (
            match["verb"] not in (None, "to ", "TO ") and _STRONG_NAMES.search(name) is None
        )  # "the token is 'expired'"
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
    if rest is None or is_word(rest[0].strip()) or is_placeholder(rest[0].strip(), ""):
        return start, start
    return start, rest.end()


def _find_value_below(text: str, given: Given, following: re.Match[str]) -> tuple[int, int]:
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
    if value == FILTERED or is_word(value) or is_placeholder(value, name) or is_fact(name, value):
        return start, start
    if value.isdigit() and _NUMERIC_SECRETS.search(name) is None:
        return start, start
    items = _MORE_ITEMS.match(text, line.end()) if following[0].endswith("- ") else None
    return start, items.end() if items is not None else line.end(1)


def _find_unquoted_value(text: str, start: int, given: Given) -> tuple[int, int]:
    name, match = given
    short = SHORT_VALUE.match(text, start)
    value = short[0] if short is not None else ""
    end = unquoted_end(text, start)
    if end == start or is_placeholder(text[start:end], name) or is_placeholder(value or text[start:end], name):
        return start, start
    if short is not None and (_stays(text, match, name, value) or is_fact(name, value)):
        following = _find_behind_word(text, short, name)
        if following is None and match["sign"] == ":":
            following = find_words(text, start, name)
        return following or ((start, start) if "=" in value else (short.end(), short.end()))
    if not value and (text[start] in "\"'\\" or match["sign"] != "="):
        return start, start
    if _HEADERS_WITH_SPACES.search(name):
        cookies = _COOKIES.match(text, end)
        end = cookies.end() if cookies else end
    if _HEADERS_WITH_SPACES.search(name) or value.lower() in ("bearer", "basic", "digest", "token"):
        more = _SECOND_WORD.match(text, end)
        end = more.end() if more else end
    return start, _line_end(text, match, end) if name.isupper() and text[end : end + 1] == " " else end


def _find_behind_word(text: str, word: re.Match[str], name: str) -> tuple[int, int] | None:
    """The value behind a word that is none itself: of a declaration, beside a user, or of many words."""
    start, end = word.span()
    if (declared := _DECLARED.match(text, start)) is not None:
        opening = OPENING.match(text, declared.end())
        return _find_quoted_value(text, opening, name) if opening is not None else None
    if _PERSONS.search(name) and (second := _SECOND_OF_PERSON.match(text, end)) is not None:
        return start, second.end()
    if _PHRASES.search(name) and (phrase := _PHRASE.match(text, start)) is not None:
        return start, phrase.end()
    return None


def _line_end(text: str, match: re.Match[str], end: int) -> int:
    """Where the value of a line of an environment file ends: such a file has spaces in values, a shell has not."""
    begin = match.start("name")
    begin -= 7 if text.startswith("export ", max(0, begin - 7)) else 0
    next_line = text.find("\n", end) + 1
    previous = text.rfind("\n", 0, max(0, begin - 1)) + 1
    is_line = begin == 0 or text[begin - 1] == "\n"
    has_others = _ENVIRONMENT.match(text, next_line) if next_line else begin and _ENVIRONMENT.match(text, previous)
    rest = _REST_OF_LINE.match(text, end) if is_line and has_others else None
    return rest.end() if rest is not None else end


def _find_second(text: str, given: Given) -> tuple[int, int]:
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
    is_pair = not is_call and before[-1:] + text[behind : behind + 1] in ("()", "[]")
    if match["flag"] != "--" and not is_header and not is_pair:
        return start, start
    is_plain = match["flag"] != "--" and is_word(text[begin:end])
    is_name = _COLON.match(text, end) is not None
    is_said = is_plain and "-" not in name and _HEADERS_WITH_SPACES.search(name) is None
    return (start, start) if is_name or is_said else (begin, end)


def _stays(text: str, match: re.Match[str], name: str, value: str) -> bool:
    """Whether an unquoted value is a word about the name, or a part of an id: ``token: expired``, ``session:42``."""
    start = match.end()
    if match["verb"] is not None:
        return is_word(value)
    if match["apart"] is not None:
        return len(value) < _SHORTEST or is_word(value) or (value.isdigit() and not _NUMERIC_SECRETS.search(name))
    if match["flag"] and match["sign"] is None:
        return value.isupper() and value.lower() in name.lower().replace("-", "_")  # of a usage: --token TOKEN
    if match["sign"] not in (":", "->", "→", "⇒") or match["close"] is not None:
        return False
    if text[start - 1] not in ":>":
        return is_word(value)
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
    return (
        (start, start) if not value.strip() or is_placeholder(value, name) or is_fact(name, value) else (start, end)
    )


def _find_bracketed_value(text: str, start: int, name: str) -> tuple[int, int]:
    end = bracket_end(text, start)
    if end < 0:
        return start, len(text)
    value = text[start:end]
    bare = value[1:-1].strip()
    last = bare.partition("!")[0].partition(":")[0].rpartition(".")[2].lower()
    is_variable = value[0] == "{" and last in name.lower()  # f"password={self.password!r}"
    is_call = name.lower().endswith("signature") and _SIGNATURE_OF_CALL.match(value) is not None
    if not bare or is_variable or is_call or _REDACTED.match(value) or is_fact(name, _plain(value)):
        return start, start
    if is_structure_of_remarks(value):
        return start, start
    return start, unquoted_end(text, end)
