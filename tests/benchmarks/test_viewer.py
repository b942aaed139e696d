"""The section ``viewer`` measures a viewer with known data."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.tables import tables
from tests.benchmarks.test_benchmarks import ABOUT
from tests.benchmarks.viewer import SCREENS, measure_viewer

MIB = 2**20


def found(**load: Any) -> dict[str, Any]:
    """A result with one point."""
    screens = {page: {"p95": number / 100, "cpu": 0.01} for number, page in enumerate(SCREENS, 1)}
    point: dict[str, Any] = {"spans": 1_000, "errors": 100, "span_cpu": 1e-4, "span_wall": 2e-4, "error_cpu": 2e-4}
    point |= {"screens": screens, "resident": 80 * MIB, "file": MIB}
    sent = {"sent": 10, "accepted": 9, "lost": 1, "cpu": 1e-3, "per_second": 1e3, "p50": 0.1, "p99": 0.2}
    return {
        "points": [point],
        "start": {"seconds": 0.5, "cpu": 0.4},
        "load": {**sent, "resident": 90 * MIB, **load},
        "bound": {"bound": 4 * MIB, "largest": 3 * MIB},
    }


def test_the_figures_are_held_against_the_goals() -> None:
    """The worst page, the most memory, and what was accepted and is not in the file."""
    held = tables({"about": ABOUT, "viewer": found()})["viewer"][-1]
    assert [row[1] for row in held.rows] == ["10,000", "110", "90", "0.50", "1", "0.75"]


@pytest.mark.thorough
def test_the_section_fills_and_asks_a_viewer(tmp_path: Path) -> None:
    """All that was sent is in the file at each point; the bound holds; nothing is lost."""
    measured = json.loads(json.dumps(measure_viewer(20_000, 0.2)))
    assert [each["spans"] for each in measured["points"]] == [500, 2_000, 6_000, 20_000]
    assert set(measured["points"][0]["screens"]) == set(SCREENS)
    assert (measured["load"]["accepted"], measured["load"]["lost"]) == (measured["load"]["sent"], 0)
    assert 0 < measured["bound"]["largest"] <= measured["bound"]["bound"]
