"""Tests of tables whose first row names a secret."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy

POLICY = Policy()
CELLS = st.text("zq19 ,;'\"\n|.", min_size=1, max_size=10).map(lambda text: f"zq{text}zq")


@given(
    cells=st.lists(CELLS, min_size=1, max_size=3), separator=st.sampled_from(",;\t"),
    before=st.sampled_from(["", "got:\n"]), others=st.text("ab ,;\"", max_size=6),
)  # fmt: skip
def test_no_cell_of_a_sensitive_column_stays(cells: list[str], separator: str, before: str, others: str) -> None:
    """Whatever separators, quotes and line breaks it or its neighbours hold; also behind other lines."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator="\n")
    writer.writerows([["id", "api_key", "town"], *([others or "x", cell, "Bern"] for cell in cells)])
    assert "zq" not in POLICY.text(before + file.getvalue())
    assert POLICY.text(before + file.getvalue()).count("Bern") == len(cells)


@given(rows=st.lists(st.tuples(st.integers(0, 99), st.from_regex(r"zq[a-z]{2,6}", fullmatch=True)), min_size=1))
def test_no_cell_of_a_drawn_table_stays(rows: list[tuple[int, str]]) -> None:
    lines = [f"| {number:4} | {secret:9} |" for number, secret in rows]
    rule = "+------+-----------+"
    for table in (
        ["| id | password |", "|----|----------|", *lines],
        [rule, "|   id | password  |", rule, *lines, rule],
        ["  id  | password ", "------+----------", *(line.strip("| ") for line in lines), "(3 rows)"],
    ):
        shown = POLICY.text("\n".join(["found:", *table]))
        assert "zq" not in shown
        assert shown.count("|") == "\n".join(table).count("|")


@given(rows=st.lists(st.tuples(st.integers(0, 99), st.from_regex(r"[a-z]{2,6}", fullmatch=True)), min_size=1))
def test_a_table_without_a_secret_stays(rows: list[tuple[int, str]]) -> None:
    for names in ("id,town", "tokens,author", "id,token_type"):
        text = "\n".join([names, *(f"{number},{word}" for number, word in rows)])
        assert POLICY.text(text) == text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("user,password\\njoe,zq\\n", f"user,password\\njoe,{FILTERED}\\n"),
        ("b'user,password\\r\\njoe,zq\\r\\n'", None),
        (
            "The user, the password, and the town\nare a, b, and c here",
            "The user, the password, and the town\nare a, b, and c here",
        ),
        (
            "| Field | Type |\n|---|---|\n| password | text |\n| id9 | int4 |\n",
            "| Field | Type |\n|---|---|\n| password | text |\n| id9 | int4 |\n",
        ),
        ("columns: id, password\nrows: 5, 6", "columns: id, password\nrows: 5, 6"),
        ("auth, session, user\nmodules loaded", "auth, session, user\nmodules loaded"),
    ],
)
def test_tables_by_example(given: str, shown: str | None) -> None:
    assert POLICY.text(given) == (given.replace("zq", FILTERED) if shown is None else shown)
