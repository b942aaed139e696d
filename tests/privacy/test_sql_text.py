"""Tests of SQL within other texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import Policy
from brain_otel.privacy.sql_text import mask_sql_in_text

POLICY = Policy()
STATEMENTS = (
    "SELECT * FROM users WHERE name = {0}",
    "INSERT INTO t (a, b) VALUES ({0}, {0})",
    "INSERT IGNORE INTO t VALUES (1,{0})",
    "INSERT OR REPLACE INTO t VALUES ({0})",
    "REPLACE INTO t VALUES ({0})",
    "UPDATE users AS u SET name = {0} WHERE u.id = 1",
    "UPDATE users u SET name={0}",
    "UPDATE ONLY public.users SET a = {0}",
    "update low_priority users set a = {0}",
    "Delete From users Where name = {0}",
    "MERGE INTO t USING s ON t.a = {0} WHEN MATCHED THEN DELETE",
    "WITH x AS (SELECT 1 FROM a WHERE b = {0}) SELECT 1",
    "ALTER ROLE app WITH LOGIN PASSWORD {0}",
    "CREATE USER app IDENTIFIED BY {0} REQUIRE SSL",
    "ALTER USER app IDENTIFIED WITH caching_sha2_password BY {0}",
    "GRANT ALL ON *.* TO app IDENTIFIED BY {0}",
    "SET PASSWORD FOR app = {0}",
    "PRAGMA key = {0}",
    "select a, b as c from t where a in ({0},{0})",
)


@given(
    statement=st.sampled_from(STATEMENTS), before=st.sampled_from(["", "failed: ", "slow (3 ms): ", "it is\n"]),
    value=st.text("zq19 ,;)(:=#\n%", max_size=12).map("zq{}".format), quote=st.sampled_from("'\""),
)  # fmt: skip
def test_no_literal_of_a_statement_stays(statement: str, before: str, value: str, quote: str) -> None:
    """Also in the double quotes of MySQL."""
    assert "zq" not in mask_sql_in_text(before + statement.format(f"{quote}{value}{quote}"))


@given(
    st.sampled_from(
        [
            "select one of ({0})",
            "please select one of ({0}, {0}) from the list",
            "Select an option: ({0})",
            "select an item from the list {0}",
            "update the status set to {0}",
            "insert into the slot ({0})",
            "delete from the list ({0})",
            "replace the part {0}",
            "with help from {0}",
            "call me ({0})",
            "grant access to {0} by {0}",
            "create user {0} first",
            "where is {0}",
        ]
    ),
    st.from_regex(r"[a-z]{2,9}", fullmatch=True),
)
def test_words_of_english_are_no_statement(form: str, word: str) -> None:
    text = form.format(f"'{word}'")
    assert mask_sql_in_text(text) == text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("CREATE USER 'a'@'%' IDENTIFIED BY 'zq'", "CREATE USER 'a'@'%' IDENTIFIED BY ?"),
        ('ran "SELECT a FROM t WHERE b = \'x\'" on "db"', 'ran "SELECT a FROM t WHERE b = ?" on "db"'),
        ('SELECT "Name" FROM "T" WHERE "Name" = \'zq\'', 'SELECT "Name" FROM "T" WHERE "Name" = ?'),
        ("CALL reset('zq')", "CALL reset(?)"),
        ("insert into t select 'zq', 2", "insert into t select ?, 2"),
        ("SELECT a FROM t WHERE b = $1", "SELECT a FROM t WHERE b = $1"),
    ],
)
def test_statements_by_example(given: str, shown: str) -> None:
    assert mask_sql_in_text(given) == shown


def test_a_literal_far_into_a_text_is_masked() -> None:
    text = "SELECT a FROM t WHERE b = 'x'" + " OR b = c" * 3_000
    assert "zq" not in mask_sql_in_text(f"{text} OR b = 'zq'")
