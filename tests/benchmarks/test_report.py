"""The report replaces what was measured, and nothing else of its page."""

from pathlib import Path

import pytest

from tests.benchmarks.report import BEGIN, END, write_report
from tests.benchmarks.tables import tables
from tests.benchmarks.test_benchmarks import ABOUT, run
from tests.benchmarks.variants import BARE, FLOOR, OURS_BESIDE


def test_a_section_that_was_not_measured_keeps_its_figures(tmp_path: Path) -> None:
    """Also one that only the page knows; the line above each block says what was measured when."""
    page = tmp_path / "page.md"
    old = "".join(
        f"<!-- section {name} -->\n{name} of old\n<!-- /section {name} -->\n" for name in ("own", "cpu", "viewer")
    )
    page.write_text(f"Before\n{BEGIN}\n{old}{END}\nAfter\n")
    about = {**ABOUT, "measured": {"cpu": {"day": "2026-11-29", "requests": 1500}}}
    results = {"about": about, "cpu": {BARE: [run(100)], FLOOR: [run(200)], OURS_BESIDE: [run(250)]}}
    write_report(page, results, tables(results))
    text = page.read_text()
    assert "Section `cpu`: 2026-11-29, 1,500 requests, 2 cores, Python 3.11.0.\n\n### CPU a request" in text
    assert "cpu of old" not in text
    assert text.index("section cpu") < text.index("viewer of old") < text.index("own of old") < text.index(END)
    write_report(page, results, tables(results))
    assert page.read_text() == text


def test_a_page_without_marks_stays_unchanged(tmp_path: Path) -> None:
    """The error names the missing mark."""
    page = tmp_path / "page.md"
    page.write_text("# Mine\n")
    with pytest.raises(SystemExit, match="has no <!-- figures -->"):
        write_report(page, {"about": ABOUT}, {})
    assert page.read_text() == "# Mine\n"
