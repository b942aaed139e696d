"""The doctor names installed libraries that nobody observes, and the line to install."""

from pathlib import Path

import pytest

from brain_otel.doctor.checks.libraries import check_libraries
from tests.doctor.checks.installed import install


def test_what_is_observed_is_not_named() -> None:
    """Every library that the tests install has its instrumentation."""
    (finding,) = check_libraries()
    assert finding.level == "ok", finding.title


@pytest.mark.parametrize(
    ("library", "line"),
    [
        ("pymongo", " opentelemetry-instrumentation-pymongo"),
        ("kafka-python", " opentelemetry-instrumentation-kafka-python"),
    ],
)
def test_what_nobody_observes_is_named_with_the_line_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, line: str
) -> None:
    install(tmp_path, library, "4.1")
    monkeypatch.syspath_prepend(tmp_path)
    (finding,) = check_libraries()
    assert finding.level == "note"
    assert f"{library} 4.1" in finding.title
    assert line in finding.remedy


def test_an_extra_is_named_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that has the libraries and no instrumentation of them."""
    known = ("requests", "asyncpg", "openai", "grpcio", "anthropic")
    versions = dict.fromkeys(known, "1.0")
    monkeypatch.setattr("brain_otel.doctor.checks.libraries.installed_version", versions.get)
    monkeypatch.setattr("brain_otel.doctor.checks.libraries.installed_instrumentors", dict)
    (finding,) = check_libraries()
    assert finding.remedy == "pip install 'brain-otel[anthropic,asyncpg,grpc-client,openai,requests]'"
    assert finding.title == (
        "installed and not observed: anthropic 1.0, asyncpg 1.0, grpcio 1.0, openai 1.0, requests 1.0"
    )
