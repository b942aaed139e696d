"""Masks the values that databases, drivers and validators put into their errors.

A value may hold anything: newlines, quotes and brackets. So it reaches to the last sign that could close it before
the next section of the message, such as PostgreSQL's ``HINT:`` or SQLAlchemy's ``[SQL: ``, and to the end of the
section if nothing closes it.
"""

import re
from collections.abc import Callable

from brain_otel.privacy.settings import FILTERED
from brain_otel.privacy.sql import quoted_literals, sql_without_literals
from brain_otel.privacy.sql_text import mask_sql_in_text
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple

_SECTION = expression(
    r"(?:\n|\\n)(?=(?:DETAIL|HINT|CONTEXT|QUERY|STATEMENT|WHERE):|LINE \d|\[SQL: |\(Background on this error at: http"
    r"|Traceback|\s{0,4}File \""
    r"|(?:\n|\\n)(?:The above|During handling|\[SQL: ))"
)


class _Value(NamedTuple):
    """Where a kind of error shows a value."""

    trigger: str
    opening: re.Pattern[str]
    """Ends where the value begins."""
    closing: re.Pattern[str]
    """Begins where the value ends."""


_TAIL = r"(?=[\s\\'\")\].,;]|$)"
_DOUBLE = expression(rf'"{_TAIL}')
_BRACKET = expression(r"\)(?= already exists| is not present| is still referenced| is duplicated| conflicts with|\.)")
_NEVER = expression(r"(?!)")
_VALUES = (
    _Value("Key (", expression(r"\bKey \([^=]{1,128}=\("), _BRACKET),
    _Value("ailing row contains (", expression(r"ailing row contains (?:\([^=\n]{1,256}\) = )?\("), _BRACKET),
    _Value("duplicate key value is (", expression(r"duplicate key value is \("), _BRACKET),
    _Value("dup key: {", expression(r"dup key: \{"), expression(r"\}")),
    _Value("LINE ", expression(r"(?:^|(?<=\n)|(?<=\\n))LINE \d++: "), expression(r"\n|\\n")),
    _Value("JSON data, line", expression(r"JSON data, line \d++: "), _NEVER),
    _Value("portal", expression(r'portal (?:"[^"]{0,64}+" )?(?:with )?parameters?:? (?=\$)'), _NEVER),
    _Value(
        ': "',
        expression(
            r"(?:invalid input syntax for [\w ]{1,60}|invalid input value for enum [\w.\"]{1,128}|out of range"
            r"|malformed (?:array|record|range) literal|unrecognized token|invalid regular expression"
            r"|COPY \w{1,64}, line \d++(?:, column \w{1,64})?|Invalid JSON text): \""
        ),
        _DOUBLE,
    ),
    _Value('value "', expression(r'\bvalue "'), expression(r'"(?= is out of range)')),
    _Value('Token "', expression(r'\bToken "'), expression(r'"(?= is invalid)')),
    _Value('near "', expression(r'\bat or near "'), _DOUBLE),
    _Value('near "', expression(r'(?<!or )\bnear "'), expression(r'"(?=: syntax error)')),
    _Value("near '", expression(r"to use near '"), expression(r"'(?= at line \d)")),
    _Value("Duplicate entry '", expression(r"Duplicate entry '"), expression(r"'(?= for key)")),
    _Value(
        "query argument $",
        expression(r"for query argument \$\d++(?: in element #\d++ of executemany\(\) sequence)?: "),
        expression(r" \((?=an? [\w -]{1,40} is required|expected |value out of |'\w{1,40}' object )"),
    ),
    _Value(
        " value: '",
        expression(r"[Ii]ncorrect [\w ]{1,40}value: '"),
        expression(rf"'(?= for (?:column|function))|'{_TAIL}"),
    ),
    _Value("invalid UUID ", expression(r"\binvalid UUID ['\"]"), expression(r"['\"](?=: )")),
    _Value(
        " not appear to be an IPv",
        expression(r"(?<![\w'\"])['\"](?=[^\n]{1,256}['\"] does not appear to be an IPv)"),
        expression(r"['\"](?= does not appear to be an IPv)"),
    ),
    _Value("string '", expression(r"[Cc]annot parse (?:\w++ )?string '"), expression(r"'(?= as \w)")),
    _Value("string: '", expression(r"Invalid \w{1,20} character string: '"), expression(rf"'{_TAIL}")),
    _Value("range in '", expression(r"value is out of range in '"), expression(rf"'{_TAIL}")),
    _Value(" value '", expression(r"converting (?:the|date and/or) [\w ]{1,40}value '"), expression(r"'(?= to )")),
)
_KEYWORD = expression(
    r"(?:SELECT|FROM|WHERE|INSERT|INTO|UPDATE|DELETE|SET|VALUES|AND|OR|JOIN|ON|GROUP|BY|ORDER|HAVING|LIMIT|AS|END)$"
)

_SQL_BEGINS = "[SQL: "
_MAX_STATEMENTS = 50
"""Statements in one text that are read; from the next one on, all is masked."""

_SQL_END = expression(r"\](?=\n\[parameters: |\n\(Background on|\s*+$)")
_LAST_END = "]\n(Background on this error at: "
_PARAMETERS = expression(r"\]\s{0,4}\[parameters: ")
_DRIVERS = expression(
    r"\b(?:(?P<postgresql>psycopg2?|asyncpg|pg8000)|(?P<sqlite>a?i?o?sqlite3?)|(?P<mysql>pymysql|MySQLdb|a(?:io|sync)my(?:sql)?"
    r"|mysql))\b"
)
_QUOTED = expression(r"'(?:[^'\\]++|\\.)*+(?:'|\Z)|\"(?:[^\"\\]++|\\.)*+(?:\"|\Z)|[\[\](){}]", re.DOTALL)
_ECHO = expression(r"(\[(?:generated in|cached since|no key|raw sql)[^\]\n]{0,80}\] )[^\n]*")
_INPUT = "input_value="
_FAILED_VALIDATING = expression(
    r"(?:\n|\\n){2}Failed validating '[^'\n]{1,64}' in schema(?:\[[^\]\n]{1,128}\]){0,32}:(?:\n|\\n)?"
)
_INSTANCE = expression(r"On instance((?:\[[^\]\n]{1,128}\]){0,32})")
_EMPTY_INPUT = expression(r"(?:\{\}|\[\]|\(\)|''|\"\"|None|True|False)(?=, input_type=)")


def database_error_without_values(text: str) -> str:
    """A message without the values that databases and SQLAlchemy put into it; returns other messages unchanged."""
    if "(" not in text and "'" not in text and '"' not in text and "LINE " not in text and ", line" not in text:
        return text
    if _SQL_BEGINS in text:
        text = _without_sql(text)
    text = _without_values(text)
    if "\\'" in text or '\\"' in text:  # a text within a ``repr``
        bare = text.replace("\\'", "'").replace('\\"', '"')
        text = text if (masked := _without_values(bare)) == bare else masked
    if "] (" in text or "] {" in text or "] [" in text:
        text = _ECHO.sub(rf"\1{FILTERED}", text)
    return mask_sql_in_text(text) if "'" in text or '"' in text else text


def _without_values(text: str) -> str:
    for value in _VALUES:
        if value.trigger in text:
            text = _without_value(text, value)
    return text


def _without_value(text: str, value: _Value) -> str:
    parts: list[str] = []
    done = 0
    while (opening := value.opening.search(text, done)) is not None:
        start = opening.end()
        section = _SECTION.search(text, start)
        end = section.start() if section is not None else len(text)
        for closing in value.closing.finditer(text, start, end):
            end = closing.start()
            if value.trigger == "LINE ":
                break
        shown = text[start:end]
        begins = opening[0].endswith("LINE 1: ") and shown[:3] != "..." and "'" not in shown and "$" not in shown
        if begins:  # where the statement does, so outside of a literal
            shown = sql_without_literals(shown, "postgresql")
        parts += [text[done:start], shown if begins or _KEYWORD.match(shown) else "?"]
        done = end
    return "".join([*parts, text[done:]])


def _without_sql(text: str) -> str:
    """Mask an error of SQLAlchemy's: ``... [SQL: ...]``, ``[parameters: ...]``, ``(Background on this error ...``."""
    parts: list[str] = []
    done = 0
    for _ in range(_MAX_STATEMENTS):
        if (start := text.find(_SQL_BEGINS, done)) < 0:
            return "".join([*parts, text[done:]])
        begin = start + len(_SQL_BEGINS)
        following = text.find(_SQL_BEGINS, begin)
        error = text[begin : following if following >= 0 else len(text)]
        system = _system_of(text[done:start])
        end, is_certain = _sql_end(error)
        parts += [text[done:begin], sql_without_literals(error[:end], system) if is_certain else FILTERED]
        done = begin + end
        if (parameters := _PARAMETERS.match(text, done)) is not None:
            parts.append(f"{parameters[0]}{FILTERED}")
            done = _bracket_end(text, parameters.end())
    rest, begins, _ = text[done:].partition(_SQL_BEGINS)
    return "".join([*parts, rest, begins, FILTERED if begins else ""])


def _system_of(text: str) -> str:
    """The kind of the database by the name of the driver in an error; empty if it is unknown."""
    systems = [match.lastgroup or "" for match in _DRIVERS.finditer(text[-2_000:])]
    return systems[-1] if systems else ""


def _sql_end(error: str) -> tuple[int, bool]:
    """Where the statement at the beginning of ``error`` ends, and whether that is certain.

    It is not if the first bracket that may close it stands in a literal: of the statement, or one that has no end.
    """
    first = _SQL_END.search(error)
    if first is None:
        return len(error.rstrip("]")), True  # it is cut off
    end = first.start()
    if not any(begin <= end < behind for begin, behind in quoted_literals(error, 0)):
        return end, True
    last = error.rfind(_LAST_END)
    return last if last >= 0 else len(error.rstrip("]")), False


def _bracket_end(text: str, start: int) -> int:
    """Where the bracket closes that opened before ``start``, by the rules of ``repr``; else the end of the text."""
    depth = 1
    for match in _QUOTED.finditer(text, start):
        if match[0][0] in "[({":
            depth += 1
        elif match[0][0] in "])}":
            depth -= 1
            if depth == 0:
                return match.start()
    return len(text)


def validation_error_without_input(text: str, is_secret: Callable[[str], bool]) -> str:
    """A message of pydantic's or jsonschema's without the rejected values of fields whose place ``is_secret``."""
    if _INPUT in text:
        text = _without_input(text, is_secret)
    if "On instance" in text and (failed := _FAILED_VALIDATING.search(text)) is not None:
        place = _INSTANCE.search(text, failed.end())
        if is_secret(place[1] if place is not None else ""):
            text = f"{FILTERED}{failed[0]}{FILTERED}"
    return text


def _without_input(text: str, is_secret: Callable[[str], bool]) -> str:
    """The line before a message of pydantic's names the field."""
    first, *others = text.split(_INPUT)
    parts = [first]
    before = first
    for other in others:
        place = before.replace("\\n", "\n").rpartition("\n")[0].rpartition("\n")[2]
        end = other.find(", input_type=")
        stays = _EMPTY_INPUT.match(other) or not is_secret(place)
        shown = other if stays else f"{FILTERED}{other[end:] if end >= 0 else ''}"
        parts.append(f"{_INPUT}{shown}")
        before = other
    return "".join(parts)
