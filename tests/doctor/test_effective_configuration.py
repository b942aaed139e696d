"""``brain-otel config`` shows each value, what gave it, and where telemetry goes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from brain_otel.doctor.effective_configuration import read_effective_configuration
from brain_otel.doctor.screen import effective_data
from tests.doctor.command import KEY, PASSWORD, PLANTED, SECRETS, TOKEN, run_command
from tests.doctor.conftest import write_file
from tests.support.tiers import quick_first

if TYPE_CHECKING:
    from pathlib import Path

PRODUCTION = {
    "SENTRY_ENVIRONMENT": "production",
    "SENTRY_DSN": f"https://{KEY}@sentry.example/42",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318",
}


def config(*, env: dict[str, str] | None = None, config_file: str | None = None) -> Any:
    """Return what ``brain-otel config --json`` prints, made in this process."""
    effective = read_effective_configuration({**PLANTED, **(env or {})}, config_file=config_file)
    text = json.dumps(effective_data(effective))
    assert not any(secret in text for secret in SECRETS)
    return json.loads(text)


def values(data: Any) -> dict[str, tuple[str, str]]:
    return {each["key"]: (each["value"], each["origin"]) for each in data["values"]}


def test_the_command_prints_the_same_as_json() -> None:
    """With the environment of the shell."""
    assert run_command("config", "--json", env=PRODUCTION).data == config(env=PRODUCTION)


def test_each_value_has_its_origin() -> None:
    """A variable, a default in the file, the file itself, or a variable that is not set."""
    found = values(config(env={**PRODUCTION, "SENTRY_TRACES_SAMPLE_RATE": "0.25"}))
    rate = "tracer_provider.sampler.parent_based.root.trace_id_ratio_based.ratio"
    sentry = "distribution.brain_otel.sentry"
    assert found[rate] == ("0.25", "SENTRY_TRACES_SAMPLE_RATE")
    assert found[f"{sentry}.profiles_sample_rate"] == ("0.1", "default in file (SENTRY_PROFILES_SAMPLE_RATE)")
    assert found[f"{sentry}.release"] == ("", "not set (SENTRY_RELEASE)")
    assert found["distribution.brain_otel.instrumentation.fastapi"] == ("contrib", "file")
    assert next(iter(found)) == "file_format"


def test_secrets_are_masked(tmp_path: Path) -> None:
    """The DSN, headers, a token among the attributes, and the password in the address of another service."""
    file = write_file(
        tmp_path,
        "otlp: {endpoint: '${OTEL_EXPORTER_OTLP_ENDPOINT}', headers: '${OTEL_EXPORTER_OTLP_HEADERS}'}",
        more=f"resource:\n  attributes_list: 'service.name=shop,api_token={TOKEN}'\n"
        f"  attributes: [{{name: access_token, value: {TOKEN}}}]\n"
        f"x-mine: {{store: 'redis://me:{PASSWORD}@store.example/0', kept: plain}}\n",
    )
    data = config(config_file=file, env=PRODUCTION)
    found = values(data)
    assert found["distribution.brain_otel.sentry.dsn"] == ("(masked)", "SENTRY_DSN")
    assert found["tracer_provider.processors.0.otlp.headers"] == ("(masked)", "OTEL_EXPORTER_OTLP_HEADERS")
    assert found["resource.attributes_list"][0].startswith("service.name=shop,api_token=(")
    assert found["resource.attributes.0.value"][0] == "(masked)"
    assert found["x-mine.store"][0].endswith("@store.example/0")
    assert found["x-mine.kept"][0] == "plain"
    assert data["file"] == {"value": file, "origin": "--config-file"}


def test_an_invalid_option_is_shown_with_what_is_allowed() -> None:
    """The secret is masked, the example is not."""
    given = {"SENTRY_ENVIRONMENT": "staging", "OTEL_EXPORTER_OTLP_HEADERS": f"Bearer {TOKEN}"}
    text = run_command("config", env=given).out
    assert "allowed: a mapping, or pairs as in api-key=...,tenant=..." in " ".join(text.split())
    assert TOKEN not in text


def test_each_destination_has_its_address() -> None:
    """The variable of a signal wins over the general one; a destination that is off has the reason."""
    logs = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://logs.example/x"}
    data = config(env={**PRODUCTION, **logs})
    assert [(each["signal"], each["name"], each["address"]) for each in data["destinations"]] == [
        ("traces", "sentry", "https://sentry.example/api/42/envelope/"),
        ("traces", "otlp", "http/protobuf to http://collector.example:4318/v1/traces"),
        ("logs", "otlp", "http/protobuf to http://logs.example/x"),
        ("metrics", "otlp", "http/protobuf to http://collector.example:4318/v1/metrics"),
    ]
    own = values(data)["logger_provider.processors.0.otlp.url"]
    assert own == ("http://logs.example/x", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
    assert config()["destinations"][1]["address"] == "off: no DSN (SENTRY_DSN)"


def test_destinations_chosen_by_a_variable_have_it_as_origin() -> None:
    """Options of the file keep their origin."""
    found = values(config(env={**PRODUCTION, "OTEL_TRACES_EXPORTER": "otlp,console"}))
    endpoint = found["tracer_provider.processors.0.otlp.endpoint"]
    assert endpoint == ("http://collector.example:4318", "OTEL_EXPORTER_OTLP_ENDPOINT")
    assert found["tracer_provider.processors.1.console"] == ("{}", "OTEL_TRACES_EXPORTER")


def test_notices_are_shown(tmp_path: Path) -> None:
    """OTEL_TRACES_EXPORTER has no effect beside a file of the user's own."""
    file = write_file(tmp_path, "console: {}")
    how: Any = {"env": {"OTEL_CONFIG_FILE": file, "OTEL_TRACES_EXPORTER": "otlp"}}
    assert "OTEL_TRACES_EXPORTER is ignored" in config(**how)["notices"][0]
    assert "! OTEL_TRACES_EXPORTER is ignored" in run_command("config", **how).out


def test_fast_paths_are_a_value_and_a_notice_if_they_are_off() -> None:
    """They cost CPU time."""
    data = config(env={**PRODUCTION, "BRAIN_OTEL_FAST_PATHS": "false"})
    assert values(data)["distribution.brain_otel.fast_paths"] == ("false", "BRAIN_OTEL_FAST_PATHS")
    (notice,) = data["notices"]
    assert notice.startswith("The fast paths are off")
    assert config(env=PRODUCTION)["notices"] == []


def test_an_invalid_configuration_is_one_line_and_exit_code_1() -> None:
    """On stderr; with --json an object on stdout."""
    env = {"SENTRY_TRACES_SAMPLE_RATE": "1.5"}
    run = run_command("config", env=env)
    assert (run.returncode, run.out) == (1, "")
    assert run.err.startswith("SENTRY_TRACES_SAMPLE_RATE (")
    assert run.err.count("\n") == 1
    run = run_command("config", "--json", env=env)
    assert run.returncode == 1
    assert run.data == {"error": run_command("config", env=env).err.strip()}


@pytest.mark.parametrize("columns", quick_first(["80", "140", ""]))
def test_no_value_is_cut_off(columns: str) -> None:
    """Whatever the width. Piped output has each value in one line, without colours."""
    endpoint = "http://collector.example/" + "a-long-path/" * 20
    env = {**PRODUCTION, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "COLUMNS": columns}
    run = run_command("config", env=env)
    assert run.returncode == 0, run.err
    assert "\x1b" not in run.out
    assert endpoint in "".join(line.strip() for line in run.out.splitlines())
    assert "…" not in run.out
    assert max(map(len, run.out.splitlines())) <= int(columns or 10_000)
    for line in run.out.splitlines():
        assert line == line.rstrip()
    if not columns:
        assert any(line.split()[:2] == ["endpoint", endpoint] for line in run.out.splitlines())
