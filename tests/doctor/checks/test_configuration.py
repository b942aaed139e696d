"""The doctor finds what is wrong with the variables and the configuration file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.doctor.command import KEY, diagnosed
from tests.doctor.conftest import dsn_of, write_file

if TYPE_CHECKING:
    from pathlib import Path

INVALID_FILES = [
    pytest.param("", "is empty", id="empty"),
    pytest.param("a: [1", "cannot be parsed", id="no YAML"),
    pytest.param('file_format: "1.1"\ntracer_providr: {}\n', "tracer_providr", id="misspelt block"),
    pytest.param(
        'file_format: "1.1"\ndistribution: {brain_otel: {sentry: {dns: x}}}\n', "sentry.dns", id="misspelt key"
    ),
    pytest.param(
        'file_format: "1.1"\ntracer_provider: {processors: [console: {colour: red}]}\n',
        "colour",
        id="misspelt option",
    ),
    pytest.param(
        'file_format: "1.1"\ntracer_provider: {processors: [consol: {}]}\n', "consol", id="unknown destination"
    ),
    pytest.param(
        'file_format: "1.1"\nx-a: 1\ntracer_provider:\n  processors: [console: {}]\n  sampler: {nosuch: {}}\n',
        "nosuch",
        id="unknown sampler",
    ),
    pytest.param(
        'file_format: "1.1"\nmeter_provider:\n  readers: [periodic: {exporter: {memory: {}}}]\n'
        "  views: [{selector: {instrument_name: '*'}, stream: {name: one}}]\n",
        "wildcard",
        id="view that the SDK rejects",
    ),
]


@pytest.mark.parametrize(("text", "words"), INVALID_FILES)
def test_an_invalid_file_is_a_fault(tmp_path: Path, text: str, words: str) -> None:
    """The finding names the place and what is allowed, whether reading the file fails or setup()."""
    file = tmp_path / "telemetry.yaml"
    file.write_text(text)
    assert diagnosed(config_file=file, offline=True).fault(words).check == "configuration"


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    """The finding names the file."""
    diagnosed({"OTEL_CONFIG_FILE": str(tmp_path / "none.yaml")}, offline=True).fault("none.yaml")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SENTRY_TRACES_SAMPLE_RATE", "1.5"),
        ("SENTRY_PROFILES_SAMPLE_RATE", "often"),
        ("SENTRY_SEND_DEFAULT_PII", "perhaps"),
        ("SENTRY_DSN", f"ftp://{KEY}@sentry.example/42"),
        ("OTEL_TRACES_EXPORTER", "jaeger"),
    ],
)
def test_an_invalid_variable_is_a_fault(variable: str, value: str) -> None:
    """The finding names the variable and what is allowed; the other checks run all the same."""
    findings = diagnosed({variable: value}, offline=True)
    assert findings.fault(variable).remedy.startswith("Allowed: ")
    assert {each.check for each in findings} == {"configuration", "versions", "launcher", "conventions", "libraries"}


def test_a_dsn_among_sentrys_options_is_a_fault(tmp_path: Path) -> None:
    """setup() rejects it; the finding masks it."""
    file = write_file(tmp_path, f"sentry: {{dsn: 'http://{KEY}@sentry.example/42'}}")
    findings = diagnosed({"SENTRY_DSN": dsn_of(1)}, config_file=file)
    findings.fault("processors.0.sentry.dsn is (masked)")
    assert findings.about("destinations") == []


def test_an_ignored_variable_is_a_warning(tmp_path: Path) -> None:
    """OTEL_TRACES_EXPORTER has no effect beside a file of the user's own."""
    file = write_file(tmp_path, "console: {}")
    diagnosed({"OTEL_TRACES_EXPORTER": "otlp"}, config_file=file).warning("OTEL_TRACES_EXPORTER is ignored")


def test_an_environment_without_a_file_is_a_warning() -> None:
    """It uses production's file; the remedy is a file of its own."""
    warning = diagnosed({"SENTRY_ENVIRONMENT": "prod", "SENTRY_DSN": dsn_of(1)}, offline=True).warning("'prod'")
    assert "prod.yaml" in warning.remedy


def test_disabled_telemetry_is_a_warning() -> None:
    """OTEL_SDK_DISABLED may be intended."""
    diagnosed({"OTEL_SDK_DISABLED": "true"}).warning("disabled")


def test_fast_paths_that_are_off_are_a_warning() -> None:
    """They cost CPU time, and are turned off for the time of an upstream bug."""
    warning = diagnosed({"BRAIN_OTEL_FAST_PATHS": "false"}, offline=True).warning("The fast paths are off")
    assert "distribution.brain_otel.fast_paths" in warning.remedy


def test_the_key_of_the_dsn_is_masked_wherever_it_appears(tmp_path: Path) -> None:
    """Also where no name and no address marks it as a secret."""
    file = tmp_path / "telemetry.yaml"
    file.write_text(json.dumps({"file_format": "1.1", "x-note": f"the key is {KEY}", "tracer_providr": KEY}))
    diagnosed({"SENTRY_DSN": dsn_of(1)}, config_file=file).fault("tracer_providr")


def test_the_working_directory_is_not_masked(tmp_path: Path) -> None:
    """PWD looks like the name of a password."""
    file = tmp_path / "telemetry.yaml"
    file.write_text('file_format: "1.1"\ntracer_providr: {}\n')
    diagnosed({"PWD": str(tmp_path)}, config_file=file).fault(str(file))
