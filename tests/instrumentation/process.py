"""Runs a script with telemetry on and gives what arrived at Sentry when it has ended."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import PROGRAMS, run_python

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a process sent and printed."""

    transactions: list[Json]
    events: list[Json]
    output: str

    @property
    def names(self) -> list[str]:
        """The names of the transactions in the order in which they began; several connections deliver them."""
        return [each["transaction"] for each in sorted(self.transactions, key=lambda each: each["start_timestamp"])]

    def transaction(self, name: str) -> Json:
        """Return the one transaction of this name; fail if there are none or several."""
        found = [each for each in self.transactions if each["transaction"] == name]
        assert len(found) == 1, f"{len(found)} transactions {name!r} among {self.names}\n{self.output}"
        return found[0]

    def spans(self, name: str) -> list[Json]:
        """Return the spans of the one transaction of this name, in order of their start."""
        spans: list[Json] = self.transaction(name)["spans"]
        return sorted(spans, key=lambda span: float(span["start_timestamp"]))

    def span(self, name: str) -> Json:
        """Return the only span of the one transaction of this name."""
        spans = self.spans(name)
        assert len(spans) == 1, f"not one span in {name!r}: {[span['description'] for span in spans]}"
        return spans[0]


def sentry_environment(ingest: SentryIngest, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name the variables with which everything is traced and sent to `ingest`, and warnings are errors."""
    return {
        "SENTRY_DSN": ingest.dsn,
        "SENTRY_ENVIRONMENT": "production",
        "SENTRY_TRACES_SAMPLE_RATE": "1.0",
        "SENTRY_PROFILES_SAMPLE_RATE": "0",
        # gunicorn has no other worker for uvicorn unless a further package is installed.
        "PYTHONWARNINGS": "error,ignore::DeprecationWarning:uvicorn.workers",
        **(extra or {}),
    }


def run_traced(
    code: str | Path,
    env: Mapping[str, str] | None = None,
    *,
    launcher: bool = False,
    pythonpath: tuple[Path, ...] = (),
) -> Outcome:
    """Run code (text) or a script (`Path`) to its end, under `opentelemetry-instrument` if `launcher`."""
    arguments: list[str] = []
    if launcher:
        arguments = [sys.executable, *([str(code)] if isinstance(code, Path) else ["-c", code])]
        code = PROGRAMS / "opentelemetry-instrument"
    with SentryIngest() as ingest:
        variables = sentry_environment(ingest, env)
        done = run_python(code, variables, pythonpath=(*pythonpath, ROOT), arguments=arguments)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        assert ingest.rejected == []
        return Outcome(transactions=ingest.transactions, events=ingest.events, output=output)
