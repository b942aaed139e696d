"""The documentation runs, and says what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.process import run_python

if TYPE_CHECKING:
    from tests.support.ingest import SentryIngest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks() -> list[tuple[str, str]]:
    return [
        (f"{page.name}-{number}", block)
        for page in PAGES
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), 1)
    ]


@pytest.mark.parametrize("block", [pytest.param(block, id=name) for name, block in python_blocks()])
def test_every_python_block_runs(block: str, ingest: SentryIngest, tmp_path: Path) -> None:
    """Each block, in a process of its own, with a Sentry to send to; one with tests, under pytest."""
    environment = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "test"}
    if "def test_" in block:
        (tmp_path / "test_block.py").write_text(block)
        code = f"import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', {str(tmp_path)!r}]))"
    else:
        code = block
    result = run_python(code, environment, timeout=60.0, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "brain_otel failed" not in result.stderr


def test_the_readme_lists_every_variable_that_a_file_reads() -> None:
    """A variable in config/*.yaml is in the README's table."""
    table = (ROOT / "README.md").read_text()
    used = {
        name for path in (ROOT / "config").glob("*.yaml") for name in re.findall(r"\$\{([A-Z_]+)", path.read_text())
    }
    assert used
    missing = {name for name in used if f"`{name}`" not in table}
    assert not missing


@pytest.mark.parametrize(
    ("environment", "traces", "profiles"),
    [("development", 1.0, 1.0), ("test", 1.0, 0.1), ("staging", 0.1, 0.1), ("production", 0.1, 0.1)],
)
def test_the_defaults_in_the_readme_are_the_files(environment: str, traces: float, profiles: float) -> None:
    """The rates that the table gives are those that the files give."""
    text = (ROOT / "config" / f"{environment}.yaml").read_text()
    assert f"${{SENTRY_TRACES_SAMPLE_RATE:-{traces}}}" in text
    assert f"${{SENTRY_PROFILES_SAMPLE_RATE:-{profiles}}}" in text
    assert yaml.safe_load(text)["file_format"] == "1.1"


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link of every page names a file that is there."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
