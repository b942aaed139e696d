"""The doctor warns if ``opentelemetry-instrument`` uses another distro or configurator, or might."""

from pathlib import Path

import pytest

from brain_otel.doctor.checks.launcher import check_launcher
from tests.doctor.checks.installed import install
from tests.doctor.command import OURS_IN_CHARGE, Findings


@pytest.mark.parametrize("kind", ["distro", "configurator"])
def test_another_installed_package_is_a_warning_unless_the_variable_names_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The remedy is the variable."""
    install(tmp_path, "other-distro", "1.0", f"[opentelemetry_{kind}]\nother = other:Distro\n")
    monkeypatch.syspath_prepend(tmp_path)
    variable = f"OTEL_PYTHON_{kind.upper()}"
    warning = Findings(check_launcher({**OURS_IN_CHARGE, variable: ""})).warning("'other'")
    assert f"{variable}=brain_otel" in warning.remedy
    assert Findings(check_launcher(OURS_IN_CHARGE)).problems == []


def test_a_variable_that_names_another_package_is_a_warning() -> None:
    """The warning shows the variable."""
    variables = {**OURS_IN_CHARGE, "OTEL_PYTHON_CONFIGURATOR": "configurator"}
    Findings(check_launcher(variables)).warning("instead of brain_otel: OTEL_PYTHON_CONFIGURATOR=configurator")
