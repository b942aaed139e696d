"""The examples of docs/privacy.md are what the policy does."""

import re

import pytest

from brain_otel.privacy import Policy
from brain_otel.privacy.settings import Rules
from tests.support import ROOT
from tests.test_docs import section

PAGE = ROOT / "docs" / "privacy.md"
POLICY = Policy()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its header."""
    lines = [line for line in section(PAGE, heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def examples(heading: str) -> list[tuple[str, ...]]:
    return [tuple(re.findall(r"`([^`]+)`", " ".join(cells[-2:]))) for cells in rows(heading) if cells[-1].strip("| ")]


@pytest.mark.parametrize(("given", "shown"), examples("## By look"))
def test_an_example_of_what_is_masked(given: str, shown: str) -> None:
    assert POLICY.text(given) == shown


@pytest.mark.parametrize("text", [each[-1] for each in examples("## What is not masked")])
def test_an_example_of_what_is_not_masked(text: str) -> None:
    assert POLICY.text(text) == text
    assert "&" not in text or POLICY.query(text) == text


def test_the_table_names_every_rule() -> None:
    assert [cells[0].strip("` |") for cells in rows("## By look") if cells[0].strip("` |")] == list(
        dict.fromkeys(["authorization", *Rules._fields])
    )
