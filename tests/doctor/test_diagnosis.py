"""``brain-otel doctor`` as a user runs it: every check, the exit code, and what is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.doctor.command import doctor, run_command

if TYPE_CHECKING:
    from tests.support.ingest import SentryIngest
    from tests.support.otlp import OtlpReceiver


def test_a_healthy_set_up_has_only_ok_lines(
    healthy: dict[str, str], ingest: SentryIngest, receiver: OtlpReceiver
) -> None:
    """Every check but the application's has run; the test event and span have arrived."""
    findings = doctor(env=healthy)
    assert findings.of("note", "warning", "fault") == []
    checks = {"configuration", "versions", "libraries", "launcher", "conventions", "destinations"}
    assert {each.check for each in findings} == checks
    assert len(ingest.events) == len(receiver.spans) == 1


def test_each_finding_is_a_line_with_its_remedy_below(healthy: dict[str, str]) -> None:
    """The last line counts the findings; piped output has no escape sequences."""
    run = run_command("doctor", "--offline", env={**healthy, "OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"})
    assert run.returncode == 0
    lines = run.out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("! conventions"))
    assert "Mixed semantic conventions" in lines[place]
    assert lines[place + 2].strip().startswith("→ Unset OTEL_SEMCONV_STABILITY_OPT_IN")
    assert lines[-1] == "1 warning, 4 notes"
    assert "\x1b" not in run.out
