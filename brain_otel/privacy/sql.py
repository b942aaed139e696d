"""Replaces the literals in SQL, by the lexical grammars of PostgreSQL, MySQL and SQLite.

The grammars differ in what a backslash, a double quote, a number sign and a dollar sign mean:
https://www.postgresql.org/docs/current/sql-syntax-lexical.html, https://dev.mysql.com/doc/refman/8.4/en/literals.html
and https://www.sqlite.org/lang_expr.html. If the database is unknown, a literal of any of the three is replaced. Each
scanner is one expression whose repetitions are possessive, so it takes linear time.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple

MAX_STATEMENT = 16_384
"""Characters of a statement; the rest is cut off."""


class _Dialect(NamedTuple):
    """One lexical grammar."""

    tokens: re.Pattern[str]
    nests_comments: bool = False
    always_quotes: bool = False
    """Whether double quotes always enclose a literal; else they do only where a value stands, if at all."""
    never_quotes: bool = False
    """Whether double quotes always enclose an identifier."""


_ESCAPED = r"' (?: [^'\\]++ | '' | \\(?:.|\Z) )*+ (?: ' | \Z )"
_DOUBLED = r"' (?: [^']++ | '' )*+ (?: ' | \Z )"
_DOUBLE_ESCAPED = r'" (?: [^"\\]++ | "" | \\(?:.|\Z) )*+ (?: " | \Z )'
_DOUBLE_DOUBLED = r'" (?: [^"]++ | "" )*+ (?: " | \Z )'
_NUMBER = r"\.?\d (?: [eE][+-]?\d | [\w.] )*+"
_BINDS = r"\$\d++ | ::? | :\w++ | %\(\w++\)s | @\w++ | \?\d*+"
_BACKQUOTED = r"` (?: [^`]++ | `` )*+ `"
_BRACKETED = r"\[ [A-Za-z_][\w ]*+ \]"
_DOLLARS = (
    r"\$\$ (?: [^$]++ | \$(?!\$) )*+ (?: \$\$ | \Z ) | \$ (?P<tag>[^\W\d]\w{0,62}+) \$"
    r" (?: [^$]++ | \$(?!(?P=tag)\$) )*+ (?: \$(?P=tag)\$ | \Z )"
)


def _tokens(comment: str, literal: str, kept: str, double: str) -> re.Pattern[str]:
    """The tokens of one grammar. A run of words and signs without a meaning here is one; it ends before a quote."""
    return expression(
        rf"""
          (?P<comment> {comment} )
        | (?P<nested> /\* )
        | (?P<literal> {literal} | {_NUMBER} )
        | (?P<double> {double} )
        | (?P<kept> {kept} | (?: [^\W\d]\w*+ (?! &?['"] ) | [\s,()=<>*+;|!&~^{{}}]++ | \.(?!\d) )++ | [^\W\d]\w*+ )
        | (?P<sign> . )
        """,
        re.VERBOSE | re.DOTALL,
    )


_POSTGRESQL = _Dialect(
    _tokens(
        r"--[^\n]*+",
        rf"[eE]{_ESCAPED} | (?:[nNbBxX]|[uU]&)?{_DOUBLED} | {_DOLLARS}",
        rf"{_BINDS} | [uU]&(?=\")",
        _DOUBLE_DOUBLED,
    ),
    nests_comments=True,
    never_quotes=True,
)
_MYSQL = _Dialect(
    _tokens(
        r"--(?=\s|\Z)[^\n]*+ | \#[^\n]*+",
        rf"(?:[nNbBxX]|_\w++)?{_ESCAPED} | _\w++(?=\")",
        rf"{_BINDS} | {_BACKQUOTED}",
        _DOUBLE_ESCAPED,
    ),
    always_quotes=True,
)
_SQLITE = _Dialect(
    _tokens(
        r"--[^\n]*+",
        rf"[eE]{_ESCAPED} | (?:[nNbBxX]|[uU]&)?{_DOUBLED}",
        rf"{_BINDS} | \$\w++ | {_BACKQUOTED} | {_BRACKETED}",
        _DOUBLE_DOUBLED,
    )
)
_ANY_MYSQL = _Dialect(
    _tokens(
        r"--[^\n]*+ | \#(?![>\#-])[^\n]*+",
        rf"(?:[nNbBxX]|_\w++)?{_ESCAPED} | _\w++(?=\")",
        rf"{_BINDS} | {_BACKQUOTED} | {_BRACKETED}",
        _DOUBLE_ESCAPED,
    )
)
"""As MySQL, for an unknown database: ``#`` may be an operator of PostgreSQL, and double quotes its identifiers."""

_UNKNOWN = (_POSTGRESQL, _ANY_MYSQL, _SQLITE)
_DIALECTS = {
    **dict.fromkeys(("postgresql", "postgres", "cockroachdb", "redshift"), (_POSTGRESQL,)),
    **dict.fromkeys(("mysql", "mariadb"), (_MYSQL,)),
    "sqlite": (_SQLITE,),
}
_DIFFERS = expression(r"[\\\"#$`\[]|/\*|--|(?<!\w)_\w++'")
"""Where the grammars differ."""

_BEFORE_A_VALUE = expression(
    r"""(?: [=<>!~] | \b(?:like|ilike|in|values?|between|regexp|rlike|then|else|password|key|by|to|set) )
    [\s(]*+$""",
    re.IGNORECASE | re.VERBOSE,
)
_BETWEEN_VALUES = expression(r"[\s,()?]*+$")
_AFTER_A_NAME = expression(r"\s*+[.=]")
_COMMENT_EDGE = expression(r"/\*|\*/")
_OPERATION = expression(r"[^\W\d][\w.]{0,31}")


@lru_cache(maxsize=1_024)
def sql_without_literals(statement: str, system: str = "") -> str:
    """``statement`` with ``?`` in place of each literal, and without comments.

    Args:
        statement: SQL; bound parameters (``$1``, ``:name``, ``%(name)s``, ``?``) stay.
        system: The kind of the database, as in ``db.system.name``.
    """
    statement = statement[:MAX_STATEMENT]
    dialects: tuple[_Dialect, ...] = _DIALECTS.get(system, ())
    if not dialects:
        dialects = _UNKNOWN if _DIFFERS.search(statement) else (_SQLITE,)
    hidden = [each for dialect in dialects for each in _hidden(statement, dialect)]
    parts = []
    done = 0
    for start, end, is_literal in hidden if len(dialects) == 1 else _joined(hidden):
        parts += [statement[done:start], "?" if is_literal else ""]
        done = end
    return "".join([*parts, statement[done:]])


def sql_operation(statement: str) -> str:
    """The first word of ``statement`` after its leading comments; empty if it begins with no word."""
    match = _OPERATION.match(sql_without_literals(statement[:MAX_STATEMENT]).lstrip(" \t\r\n;("))
    return match[0] if match else ""


def quoted_literals(text: str, start: int) -> list[tuple[int, int]]:
    """The places of the quoted literals of a statement that begins at ``start`` within a longer text."""
    statement = text[start:]
    found = _joined([each for dialect in _UNKNOWN[:2] for each in _hidden(statement, dialect)])
    return [
        (start + begin, start + end)
        for begin, end, is_literal in found
        if is_literal and ("'" in statement[begin:end] or statement[begin] == '"')
    ]


def _hidden(statement: str, dialect: _Dialect) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each literal and comment, and whether it is a literal."""
    position = 0
    last_value = -1
    match_token = dialect.tokens.match
    while (match := match_token(statement, position)) is not None:
        kind, start, position = match.lastgroup, position, match.end()
        if kind == "tag":
            kind = "literal"
        if kind == "nested":
            position = _comment_end(statement, start, dialect.nests_comments)
            yield start, position, False
        elif kind == "double":
            if dialect.always_quotes or (
                not dialect.never_quotes and _is_value(statement, start, position, last_value)
            ):
                last_value = position
                yield start, position, True
        elif kind in ("literal", "comment"):
            last_value = position
            yield start, position, kind == "literal"


def _comment_end(statement: str, start: int, nests: bool) -> int:
    if not nests:
        end = statement.find("*/", start + 2)
        return end + 2 if end >= 0 else len(statement)
    depth = 0
    for edge in _COMMENT_EDGE.finditer(statement, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(statement)


def _is_value(statement: str, start: int, end: int, last_value: int) -> bool:
    """Whether a text in double quotes stands where a value does: ``= "x"``, ``IN ("x", "y")``."""
    if _AFTER_A_NAME.match(statement, end):
        return False
    if last_value >= 0 and start - last_value <= 32 and _BETWEEN_VALUES.match(statement[last_value:start]):
        return True
    return _BEFORE_A_VALUE.search(statement[max(0, start - 32) : start]) is not None


def _joined(hidden: list[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
    """The places that several grammars hide, without overlaps."""
    joined: list[tuple[int, int, bool]] = []
    for start, end, is_literal in sorted(hidden):
        if joined and start < joined[-1][1]:
            begin, last_end, was_literal = joined[-1]
            joined[-1] = (begin, max(end, last_end), was_literal or is_literal)
        else:
            joined.append((start, end, is_literal))
    return joined
