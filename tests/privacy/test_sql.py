"""Tests of the lexical grammars of PostgreSQL, MySQL and SQLite."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy.sql import sql_operation, sql_without_literals

QUOTES = {
    "postgresql": ("'{}'", "E'{}'", "N'{}'", "$${}$$", "$tag${}$tag$", "U&'{}'"),
    "mysql": ("'{}'", '"{}"', "N'{}'", "_utf8mb4'{}'", '_latin1"{}"', "n'{}'"),
    "sqlite": ("'{}'", "x'{}'"),
}
WORDS = st.from_regex(r"[a-z]{6,12}", fullmatch=True).map(lambda word: f"zq{word}")
BEFORE = (
    "SELECT",
    "SELECT ",
    "SELECT a FROM t WHERE b = ",
    "WHERE a LIKE",
    "VALUES (1,",
    "-- it's\nSELECT ",
    "/* ' */ AND ",
)


@pytest.mark.parametrize(
    ("given", "system", "left"),
    [
        ("SELECT a FROM t WHERE a LIKE'x%'", "", "SELECT a FROM t WHERE a LIKE?"),
        ("SELECT _utf8mb4'x'COLLATE utf8mb4_bin", "mysql", "SELECT ?COLLATE utf8mb4_bin"),
        ('SELECT `a` FROM t WHERE a = "x" AND b = _latin1"y"', "mysql", "SELECT `a` FROM t WHERE a = ? AND b = ??"),
        ("SELECT a -- x\n FROM t # y", "mysql", "SELECT a \n FROM t "),
        ("SELECT 5--3 FROM t", "mysql", "SELECT ?--? FROM t"),
        ("SELECT a #>> '{b}', c -> 'd'", "postgresql", "SELECT a #>> ?, c -> ?"),
        ("SELECT /* a /* b */ 'c' */ d", "postgresql", "SELECT  d"),
        ("SELECT /* a /* b */ 'c'", "mysql", "SELECT  ?"),
        ("SELECT 'C:\\' AND a = 'x'", "postgresql", "SELECT ? AND a = ?"),
        ("SELECT 'it\\'s' AND a = 'x'", "mysql", "SELECT ? AND a = ?"),
        ("SELECT E'it\\'s' AND a = 'x'", "postgresql", "SELECT ? AND a = ?"),
        ("SELECT $tag$ it's $$ $tag$, $1", "postgresql", "SELECT ?, $1"),
        ("SELECT U&'\\0441' UESCAPE '!', U&\"d\\0061t\"", "postgresql", "SELECT ? UESCAPE ?, U&\"d\\0061t\""),
        ("SELECT [a b], \"c\", `d`, $name, ?1, @p FROM t", "sqlite", None),
        ('SELECT "a" WHERE "b" = "x" AND c IN ("y", "z")', "", 'SELECT "a" WHERE "b" = ? AND c IN (?, ?)'),
        ('UPDATE "t" SET "a" = ?, "b" = ? WHERE "t"."id" = "u"."id"', "", None),
        ("SELECT 1_000, 0x1F, 0b01, 1.5e-3, .5, t1.c2", "postgresql", "SELECT ?, ?, ?, ?, ?, t1.c2"),
        ("SELECT 'a'\n  'b'", "postgresql", "SELECT ?\n  ?"),
        ("SELECT größe FROM straße WHERE größe=N'ü'", "", "SELECT größe FROM straße WHERE größe=?"),
    ],
)  # fmt: skip
def test_literals_and_comments_by_grammar(given: str, system: str, left: str | None) -> None:
    assert sql_without_literals(given, system) == (given if left is None else left)


@given(
    system=st.sampled_from(["postgresql", "mysql", "sqlite", ""]), word=WORDS, before=st.sampled_from(BEFORE),
    quote=st.integers(0, 5), after=st.text(max_size=30),
)  # fmt: skip
def test_no_literal_stays(system: str, word: str, before: str, quote: int, after: str) -> None:
    """Whatever stands before and after it; with an unknown database none of any grammar."""
    quotes = QUOTES.get(system) or QUOTES["postgresql"][:5]
    assert word not in sql_without_literals(before + quotes[quote % len(quotes)].format(word) + after, system)


@given(
    words=st.lists(st.from_regex(r"[a-z_][a-z_0-9]{0,9}", fullmatch=True), min_size=1),
    signs=st.lists(st.sampled_from([" ", ", ", " = ", ".", "(", ")", " $1 ", " :name ", " %(name)s ", ";\n"])),
    system=st.sampled_from(["postgresql", "mysql", "sqlite", ""]),
)  # fmt: skip
def test_words_signs_and_parameters_stay(words: list[str], signs: list[str], system: str) -> None:
    statement = "".join(word + sign for word, sign in zip(words, signs + [" "] * len(words), strict=False))
    assert sql_without_literals(statement, system) == statement


@given(text=st.text("aE'\"\\$-#/*` \n", max_size=40))
def test_an_unknown_database_hides_what_any_grammar_hides(text: str) -> None:
    """A marked character that one grammar calls a part of a literal stays in no reading."""
    marked = f"SELECT {text}"
    whole = sql_without_literals(marked)
    assert whole.count("a") <= min(sql_without_literals(marked, each).count("a") for each in ("postgresql", "sqlite"))


@given(text=st.text("ab'\"\\- \n", max_size=20))
def test_sqlite_reads_literals_as_we_do(text: str) -> None:
    """A value that SQLite takes from a statement is in no part of what we show."""
    statement = "SELECT 'zq{}' AS a".format(text.replace("'", "''"))
    with closing(sqlite3.connect(":memory:")) as database:
        (found,) = database.execute(statement).fetchone()
    assert found == f"zq{text}"
    assert sql_without_literals(statement, "sqlite") == "SELECT ? AS a"


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("-- say\nSELECT 1", "SELECT"),
        ("/* a */ (select 1)", "select"),
        ("select'secret'", "select"),
        ("'secret'", ""),
        ("# a\n INSERT INTO t", "INSERT"),
        ("", ""),
    ],
)
def test_the_operation_follows_the_comments(statement: str, operation: str) -> None:
    assert sql_operation(statement) == operation
