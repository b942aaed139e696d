"""Runs contrib's own test suites from their source packages, with and without brain_otel."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import certifi

from tests.support import ROOT
from tests.support.process import environment

FOLDER = ROOT / "tests" / "contrib"


class MissingSuitesError(Exception):
    """The source packages have not been fetched. The message says how to get them."""


def find_suites() -> Path:
    """The folder into which `tests/contrib/fetch` has fetched the packages of the installed version.

    Raises MissingSuitesError if there is none.
    """
    cache = os.environ.get("BRAIN_OTEL_CONTRIB_CACHE")
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    base = Path(cache) if cache else users / "brain-otel" / "contrib"
    folder = base / version("opentelemetry-instrumentation-fastapi")
    if not (folder / "complete").exists():
        raise MissingSuitesError(f"no source packages of contrib in {folder}; fetch them with tests/contrib/fetch")
    return folder


@dataclass(frozen=True)
class Outcomes:
    """The tests of one run, as `Class.test`."""

    passed: frozenset[str]
    failed: frozenset[str]


def run_suite(library: str, *, plain: bool) -> Outcomes:
    """Run the suite of one library; ``plain`` without brain_otel."""
    folder = find_suites()
    (suite,) = folder.glob(f"opentelemetry_instrumentation_{library}-*/")
    without = [f"no:{name}" for name in ("randomly", "xdist", "cacheprovider", "brain_otel")]
    plugins = [part for name in [*without, "set_up"] for part in ("-p", name)]
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as trusted:
        # Each client reads the certificates that it trusts; no test needs one, and certifi's take half of the time.
        trusted.write("".join(certifi.contents().partition("-----END CERTIFICATE-----\n")[:2]))
        trusted.flush()
        env = {"SSL_CERT_FILE": trusted.name, **({"PLAIN": "1"} if plain else {})}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *plugins, "tests"],
            cwd=suite,
            env=environment(env, pythonpath=[FOLDER, folder / "packages"]),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    lines = [line.split(" ", 2)[1:] for line in done.stdout.splitlines() if line.startswith("OUTCOME ")]
    assert lines, done.stdout[-3000:] + done.stderr[-3000:]
    failed = {_name(test) for outcome, test in lines if outcome in ("failed", "error")}
    return Outcomes(
        frozenset(_name(test) for outcome, test in lines if outcome == "passed") - failed, frozenset(failed)
    )


def _name(test: str) -> str:
    return ".".join(test.split("::")[1:])
