"""The page of supported versions is made from what is declared, installed and tested."""

from importlib.metadata import version

import pytest

from tests.support import supported


@pytest.mark.parametrize("name", supported.tables())
def test_a_table_of_the_page_is_the_one_of_the_code(name: str) -> None:
    """If not, ``python -m tests.support.supported`` writes it."""
    begin, end = supported.BEGIN.format(name), supported.END.format(name)
    assert supported.PAGE.read_text().partition(begin)[2].partition(end)[0].strip() == supported.tables()[name]


def test_the_tables_follow_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that has changed changes its row; a library or an extra without a row, or without a test, fails."""
    with monkeypatch.context() as changed:
        changed.setattr(supported, "version", lambda name: "99.7.1" if name == "asyncpg" else version(name))
        assert "| 99.7 | PostgreSQL |" in supported.tables()["instrumentations"]
    for table, missing in (("OTHERS", "asyncpg"), ("OWN", "redis"), ("EXTRAS", "psycopg")):
        with monkeypatch.context() as changed:
            rows = getattr(supported, table)
            changed.setattr(supported, table, {name: row for name, row in rows.items() if name != missing})
            with pytest.raises(AssertionError, match="has no"):
                supported.tables()
