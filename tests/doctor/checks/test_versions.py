"""The doctor compares the installed versions with those that this package supports."""

from pathlib import Path

import pytest

from brain_otel.doctor.checks.versions import check_versions
from tests.doctor.checks.installed import install
from tests.doctor.command import Findings


def test_supported_versions_are_ok() -> None:
    """The finding names the most important packages."""
    (finding,) = check_versions()
    assert finding.level == "ok"
    assert "opentelemetry-sdk 1." in finding.detail


@pytest.mark.parametrize(
    ("name", "version"), [("redis", "4.6.0"), ("fastapi", "0.99.0"), ("wrapt", "3.1"), ("sqlalchemy", "1.4.54")]
)
def test_an_unsupported_version_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, version: str
) -> None:
    """Of a dependency, and of a library that we instrument."""
    install(tmp_path, name, version)
    monkeypatch.syspath_prepend(tmp_path)
    fault = Findings(check_versions()).fault(f"{name} {version} is not supported")
    assert fault.remedy.startswith(f"pip install '{name}")
