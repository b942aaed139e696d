"""Tests of a standard output that cannot be written."""

import subprocess
import sys
from pathlib import Path

import pytest

from brain_otel.runtime.output import OutputError, checked_output
from tests.support.process import environment

CODE = """
import sys
from brain_otel.runtime.output import OutputError, checked_output
try:
    with checked_output():
        sys.stdout.write({text!r} * {times})
        {then}
except (OutputError, OSError) as error:
    sys.stderr.write(f"{{type(error).__name__}}: {{error}}")
"""


def run(
    text: str, then: str = "pass", shell: str = "", times: int = 1, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Write ``text`` in a process of its own, whose streams ``shell`` redirects."""
    command = ["sh", "-c", f'"$0" -c "$1" {shell}', sys.executable, CODE.format(text=text, then=then, times=times)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(variables), check=False)


@pytest.mark.parametrize("times", [1, 100_000], ids=["at the end", "at once"])
@pytest.mark.parametrize("shell", ["> /dev/full", "| true"], ids=["full", "ended"])
def test_an_output_that_fails_is_an_error_of_its_own(times: int, shell: str) -> None:
    """Even if all is buffered until the end; Python itself says nothing more."""
    done = run("text", "import time; time.sleep(0.2)" if shell == "| true" else "pass", shell, times)
    reason = "Broken pipe" if shell == "| true" else "No space left on device"
    assert done.stderr == f"OutputError: the standard output cannot be written: {reason}"


def test_other_errors_stay_and_the_output_is_restored() -> None:
    before = sys.stdout
    with pytest.raises(FileNotFoundError), checked_output():
        Path("/missing").stat()
    assert sys.stdout is before
    assert not issubclass(OutputError, OSError)


@pytest.mark.parametrize(
    ("shell", "then", "out"),
    [
        (">&-", "sys.stderr.write('fine')", "fine"),
        ("2>&-", "sys.stderr.write('lost')", "é"),
        ("<&-", "sys.stderr.write(repr(sys.stdin.read()))", "''"),
    ],
    ids=["output", "error", "input"],
)
def test_a_closed_stream_is_empty_or_drops_what_is_written(shell: str, then: str, out: str) -> None:
    done = run("é", then, shell)
    assert done.returncode == 0
    assert out in done.stdout + done.stderr


def test_characters_that_the_terminal_lacks_are_escaped() -> None:
    """A text that was masked may have any."""
    done = run("20 €", PYTHONIOENCODING="latin-1")
    assert (done.stdout, done.stderr) == ("20 \\u20ac", "")
