"""docs/troubleshooting.md quotes what the commands and the log say."""

import re
from pathlib import Path

import pytest
import sentry_sdk

from tests.support import ROOT
from tests.support.process import run_python
from tests.test_docs import rows, section

PAGE = ROOT / "docs" / "troubleshooting.md"

EXAMPLES = re.findall(
    r"^```sh\n([^\n]*brain-otel [^\n]*)\n```\n\n```text\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE
)
"""Each command with what it prints."""

APP = "from fastapi import FastAPI\n\napp = FastAPI()\n"

SPOOLED = """
import brain_otel
brain_otel.setup(environment="production")
brain_otel.capture_message("one")
brain_otel.capture_message("two")
brain_otel.flush()
"""


def sources(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.rglob("*.py")))


def spaced(text: str, folder: Path) -> str:
    """`text` with one space where there are several, and with the page's name for the spool."""
    return re.sub(r"[ ]+", " ", text.replace(str(folder / "spool"), "/var/spool/brain-otel")).strip()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an app that sets nothing up, and a spool in which two messages wait."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "app.py").write_text(APP)
    file = folder / "spool.yaml"
    packaged = (ROOT / "config" / "production.yaml").read_text()
    file.write_text(packaged.replace("shipper: process", "shipper: external"))
    environment = {
        "BRAIN_OTEL_SPOOL_DIR": str(folder / "spool"),
        "OTEL_CONFIG_FILE": str(file),
        "SENTRY_DSN": "http://key@localhost:9/1",
    }
    done = run_python(SPOOLED, environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize(("command", "printed"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_a_command_prints_what_the_page_says(command: str, printed: str, place: Path) -> None:
    """Every quoted line is among the lines that the command prints."""
    code = f"import subprocess, sys; sys.exit(subprocess.run({command!r}, shell=True).returncode)"
    variables = {"BRAIN_OTEL_SPOOL_DIR": str(place / "spool")} if "spool" in command else {}
    done = run_python(code, variables, timeout=60.0, cwd=place)
    found = {spaced(line, place) for line in done.stdout.splitlines()}
    quoted = [spaced(line, place) for line in printed.splitlines()]
    assert quoted
    assert [line for line in quoted if line not in found] == [], done.stdout + done.stderr


def test_the_doctors_findings_on_the_page_are_its_own() -> None:
    """What the doctor says stands in its code or in what its tests expect."""
    known = sources(ROOT / "brain_otel" / "doctor") + sources(ROOT / "tests" / "doctor")
    (_, *listed) = rows(section(PAGE, "## Nothing is traced"))
    quoted = [re.findall("`([^`]+)`", row[0])[0] for row in listed]
    for part, value in (("{call.name}", "set_tracer_provider"), ("{title!r}", "'shop'")):
        known = known.replace(part, value)
    assert quoted
    assert [each for each in quoted if each not in known] == []


def test_the_loggers_and_log_lines_on_the_page_exist() -> None:
    """A logger is a module or a package; a line is one that the package, or sentry-sdk, logs."""
    (_, *listed) = rows(section(PAGE, "## Logs"))
    for name in [name for row in listed for name in re.findall("`([^`]+)`", row[0])]:
        module = ROOT.joinpath(*name.split("."))
        assert module.is_dir() or module.with_suffix(".py").exists(), name
    ours = sources(ROOT / "brain_otel")
    assert "%d records for %s were not sent in time" in ours
    assert "brain_otel failed while %s; the application is not affected (%s: %s at %s)" in ours
    assert "before send dropped event" in sources(Path(sentry_sdk.__file__).parent)
