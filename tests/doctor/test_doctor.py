"""``brain-otel doctor`` finds what is wrong with the environment, the file, the packages and the destinations."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from brain_otel.configuration.options import Options
from brain_otel.doctor.deliveries import left_as_found
from brain_otel.doctor.effective import Target
from tests.doctor.command import KEY, OURS_IN_CHARGE, TOKEN, Run, doctor, run_command
from tests.doctor.conftest import dsn_of, write_file
from tests.support.otlp import OtlpReceiver, refusing

if TYPE_CHECKING:
    from tests.support.ingest import SentryIngest

OTLP = "otlp: {endpoint: '${OTEL_EXPORTER_OTLP_ENDPOINT}', headers: '${OTEL_EXPORTER_OTLP_HEADERS}'}"


def test_a_healthy_set_up_has_only_good_lines(
    healthy: dict[str, str], ingest: SentryIngest, receiver: OtlpReceiver
) -> None:
    """Exit code 0; a real event, span, log record and metric have arrived, with the headers that are configured."""
    run = doctor(env=healthy)
    assert run.of("note", "warning", "fault") == []
    assert run.returncode == 0
    assert run.data["healthy"] is True
    assert {each["check"] for each in run.findings} == {
        "configuration",
        "versions",
        "launcher",
        "conventions",
        "destinations",
    }
    assert [event["message"] for event in ingest.events] == ["brain_otel doctor: a test event"]
    assert len(receiver.spans) == len(receiver.log_records) == len(receiver.metrics) == 1
    assert {request.headers["api-key"] for request in receiver.requests} == {TOKEN}
    assert run.err == ""


def test_offline_sends_nothing(healthy: dict[str, str], ingest: SentryIngest, receiver: OtlpReceiver) -> None:
    """Each destination is a note then."""
    run = doctor("--offline", env=healthy)
    assert run.returncode == 0
    assert [each["check"] for each in run.of("note")] == ["destinations"] * 4
    assert (ingest.envelopes, receiver.requests) == ([], [])


@pytest.mark.parametrize("launcher", [False, True], ids=["by itself", "by the launcher"])
def test_an_application_that_is_looked_at_sends_nothing(
    launcher: bool, healthy: dict[str, str], tmp_path: Path, ingest: SentryIngest, receiver: OtlpReceiver
) -> None:
    """Whatever it does while it is imported, and however long that takes."""
    code = """
import time
import brain_otel
brain_otel.setup()
from fastapi import FastAPI
app = FastAPI()
with brain_otel.start_transaction("at import"):
    brain_otel.capture_exception(ValueError("at import"))
time.sleep(1.5)
"""
    (tmp_path / "shop.py").write_text(code)
    env = {**healthy, "SENTRY_TRACES_SAMPLE_RATE": "1"}
    run = doctor("shop:app", "--offline", env=env, cwd=tmp_path, launcher=launcher)
    assert run.of("fault") == []
    assert (ingest.envelopes, receiver.requests) == ([], [])


def test_what_is_disabled_is_not_tried(healthy: dict[str, str], ingest: SentryIngest, receiver: OtlpReceiver) -> None:
    """setup() does nothing, so neither does the doctor."""
    run = doctor(env={**healthy, "OTEL_SDK_DISABLED": "true"})
    assert [each["title"].partition(": ")[2] for each in run.of("note")] == ["not tried (telemetry is disabled)"] * 4
    assert run.of("fault") == []
    assert (ingest.envelopes, receiver.requests) == ([], [])


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_opentelemetrys_own_exporters_are_tried(signal: str, tmp_path: Path, receiver: OtlpReceiver) -> None:
    """They deliver, or it shows that they do not."""
    exporter = "{otlp_http: {endpoint: '%s/v1/" + signal + "'}}"
    places = {
        "traces": "tracer_provider: {processors: [{batch: {exporter: %s}}]}",
        "logs": "logger_provider: {processors: [{simple: {exporter: %s}}]}",
        "metrics": "meter_provider: {readers: [{periodic: {exporter: %s}}]}",
    }
    file = tmp_path / "plain.yaml"
    file.write_text('file_format: "1.1"\n' + places[signal] % (exporter % receiver.endpoint))
    assert doctor("--config-file", str(file)).of("fault", "note") == []
    assert len(receiver.requests) == 1
    with refusing() as nobody:
        file.write_text('file_format: "1.1"\n' + places[signal] % (exporter % nobody))
        doctor("--config-file", str(file)).fault("refused")


def test_the_proxy_of_sentrys_options_is_used(tmp_path: Path, ingest: SentryIngest) -> None:
    """The test event goes the way that every event will go."""
    options = f"sentry: {{http_proxy: 'http://127.0.0.1:{ingest.port}'}}"
    env = {"SENTRY_DSN": f"http://{KEY}@sentry.example/42"}
    doctor("--config-file", write_file(tmp_path, options), env=env).fault("HTTP 404")  # by what is no proxy


def test_a_dsn_among_sentrys_options_is_a_fault(tmp_path: Path, ingest: SentryIngest) -> None:
    """setup() refuses it, so neither it nor the file's own gets a test event."""
    options = f"sentry: {{dsn: 'http://{KEY}@127.0.0.1:{ingest.port}/42'}}"
    run = doctor("--config-file", write_file(tmp_path, options), env={"SENTRY_DSN": dsn_of(ingest.port)})
    run.fault("processors.0.sentry.dsn is (masked)")
    assert ingest.envelopes == []


def test_spotlight_alone_is_not_tried(tmp_path: Path) -> None:
    """It is no place to send a test event to."""
    file = write_file(tmp_path, "sentry: {}", more="")
    text = Path(file).read_text().replace('"${SENTRY_DSN}"', '"", spotlight: true')
    Path(file).write_text(text)
    (line,) = [each for each in doctor("--config-file", file).findings if each["check"] == "destinations"]
    assert (line["level"], line["title"]) == ("ok", "sentry, traces: nothing to try")


def test_what_is_printed_says_what_to_do(healthy: dict[str, str]) -> None:
    """A line a finding, its remedy below it, and the sum; plain where it is piped."""
    run = run_command("doctor", "--offline", env={**healthy, "OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"})
    assert run.returncode == 0
    lines = run.out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("! conventions"))
    assert "Mixed semantic conventions" in lines[place]
    assert lines[place + 2].strip().startswith("→ Unset OTEL_SEMCONV_STABILITY_OPT_IN")
    assert lines[-1] == "1 warning, 4 notes"
    assert "\x1b" not in run.out


BAD_FILES = [
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
        id="view that the SDK refuses",
    ),
]


@pytest.mark.parametrize(("text", "words"), BAD_FILES)
def test_a_bad_file_is_a_fault(tmp_path: Path, text: str, words: str) -> None:
    """The place is named, and what is allowed."""
    file = tmp_path / "telemetry.yaml"
    file.write_text(text)
    fault = doctor("--config-file", str(file), "--offline").fault(words)
    assert fault["check"] == "configuration"


def test_an_unreadable_file_is_a_fault(tmp_path: Path) -> None:
    """Here: there is none."""
    doctor("--offline", env={"OTEL_CONFIG_FILE": str(tmp_path / "none.yaml")}).fault("none.yaml")


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
def test_a_bad_value_is_a_fault_that_names_the_variable(variable: str, value: str) -> None:
    """Other checks are made all the same."""
    run = doctor("--offline", env={variable: value})
    fault = run.fault(variable)
    assert fault["remedy"].startswith("Allowed: ")
    assert {"versions", "launcher", "conventions"} <= {each["check"] for each in run.findings}


def test_an_ignored_variable_is_a_warning(tmp_path: Path) -> None:
    """OTEL_TRACES_EXPORTER beside a file of one's own."""
    env = {"OTEL_CONFIG_FILE": write_file(tmp_path, "console: {}"), "OTEL_TRACES_EXPORTER": "otlp"}
    doctor("--offline", env=env).warning("OTEL_TRACES_EXPORTER is ignored")


def test_an_unknown_environment_is_a_warning(healthy: dict[str, str]) -> None:
    """It uses production's file."""
    warning = doctor("--offline", env={**healthy, "SENTRY_ENVIRONMENT": "prod"}).warning("'prod'")
    assert "prod.yaml" in warning["remedy"]


def test_disabled_telemetry_is_a_warning(healthy: dict[str, str]) -> None:
    """It may be meant."""
    doctor("--offline", env={**healthy, "OTEL_SDK_DISABLED": "true"}).warning("disabled")


def test_telemetry_that_goes_nowhere_is_a_warning() -> None:
    """Production without DSN and endpoint."""
    doctor(env={"SENTRY_ENVIRONMENT": "production"}).warning("goes nowhere")


@pytest.mark.parametrize("opt_in", ["http/dup", "database", "http", "http,database/dup"])
def test_mixed_semantic_conventions_are_a_warning(opt_in: str) -> None:
    """Old names for one of the two, or both names at once."""
    env = {"OTEL_SEMCONV_STABILITY_OPT_IN": opt_in}
    assert doctor("--offline", env=env).warning("Mixed semantic conventions")["check"] == "conventions"


def test_stable_semantic_conventions_are_well() -> None:
    """Those that brain_otel would choose, chosen by the user."""
    run = doctor("--offline", env={"OTEL_SEMCONV_STABILITY_OPT_IN": "database,http"})
    assert run.of("warning", "fault") == []


def installed(folder: Path, name: str, version: str, entry_points: str = "") -> Path:
    """Make it look as if a distribution were installed in ``folder``."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if entry_points:
        (metadata / "entry_points.txt").write_text(entry_points)
    return folder


@pytest.mark.parametrize(
    ("name", "version"), [("redis", "4.6.0"), ("fastapi", "0.99.0"), ("wrapt", "3.1"), ("sqlalchemy", "1.4.54")]
)
def test_an_unsupported_version_is_a_fault(tmp_path: Path, name: str, version: str) -> None:
    """Of what we need, and of what we instrument."""
    run = doctor("--offline", pythonpath=[installed(tmp_path, name, version)])
    fault = run.fault(f"{name} {version} is not supported")
    assert fault["remedy"].startswith(f"pip install '{name}")


@pytest.mark.parametrize("group", ["distro", "configurator"])
def test_another_distro_is_a_warning(tmp_path: Path, group: str) -> None:
    """The launcher may take it, unless the variable names ours."""
    other = installed(tmp_path, "other-distro", "1.0", f"[opentelemetry_{group}]\nother = other:Distro\n")
    variable = f"OTEL_PYTHON_{group.upper()}"
    warning = doctor("--offline", env={variable: ""}, pythonpath=[other]).warning("other")
    assert f"{variable}=brain_otel" in warning["remedy"]
    assert doctor("--offline", env=OURS_IN_CHARGE, pythonpath=[other]).of("warning", "fault") == []


def test_a_variable_that_puts_another_in_charge_is_a_warning() -> None:
    """Which it names."""
    doctor("--offline", env={"OTEL_PYTHON_CONFIGURATOR": "configurator"}).warning("is in charge")


def test_sentry_that_refuses_connections_is_a_fault(tmp_path: Path) -> None:
    """The address is told and the key is not."""
    with refusing() as endpoint:
        port = int(endpoint.rpartition(":")[2])
        env = {"SENTRY_DSN": dsn_of(port)}
        run = doctor("--config-file", write_file(tmp_path, "sentry: {}"), "--timeout", "3", env=env)
    fault = run.fault("not delivered")
    assert f"127.0.0.1:{port}" in fault["detail"]
    assert "SENTRY_DSN" in fault["remedy"]


@pytest.mark.parametrize(("status", "remedy"), [(403, "check the key"), (500, "look into the log")])
def test_sentry_that_answers_badly_is_a_fault(tmp_path: Path, ingest: SentryIngest, status: int, remedy: str) -> None:
    """The answer is told, and what it means."""
    ingest.respond = lambda: (status, {})
    run = doctor("--config-file", write_file(tmp_path, "sentry: {}"), env={"SENTRY_DSN": dsn_of(ingest.port)})
    assert remedy in run.fault(f"HTTP {status}")["remedy"]


def test_sentry_that_hangs_is_a_fault_in_bounded_time(tmp_path: Path, ingest: SentryIngest) -> None:
    """It is not waited for longer than was said, and little more."""
    ingest.delay = 60.0
    how: Any = {"env": {"SENTRY_DSN": dsn_of(ingest.port)}}
    file = write_file(tmp_path, "sentry: {}")
    assert "--timeout" in timed("--config-file", file, **how).fault("no answer within 1 s")["remedy"]


def test_a_collector_that_is_down_is_a_fault(tmp_path: Path) -> None:
    """The reason is told, not that there is one."""
    with refusing() as endpoint:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        run = doctor("--config-file", write_file(tmp_path, OTLP), "--timeout", "2", env=env)
        assert f"{endpoint}/v1/traces" in run.fault("Connection refused")["detail"]


def test_a_collector_that_refuses_the_key_is_a_fault(tmp_path: Path, receiver: OtlpReceiver) -> None:
    """Not the address is wrong then."""
    receiver.status = 401
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    run = doctor("--config-file", write_file(tmp_path, OTLP), env=env)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in run.fault("401")["remedy"]


def test_a_collector_that_hangs_is_a_fault_in_bounded_time(tmp_path: Path, receiver: OtlpReceiver) -> None:
    """As with Sentry."""
    receiver.hanging = True
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    timed("--config-file", write_file(tmp_path, OTLP), env=env).fault("not delivered")


def timed(*arguments: str, **how: Any) -> Run:
    """Run the doctor with a timeout of a second against what does not answer for a minute."""
    started = time.monotonic()
    run = doctor(*arguments, "--timeout", "1", **how)
    assert time.monotonic() - started < 20  # most of it for the start of two processes on a busy machine
    return run


def test_a_file_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    """Here: a regular file stands where a folder is needed. setup() would refuse it too."""
    (tmp_path / "taken").write_text("")
    file = write_file(tmp_path, f"file: {{path: {tmp_path}/taken/traces.jsonl}}")
    run = doctor("--config-file", file)
    assert run.returncode == 1
    assert {each["check"] for each in run.faults} == {"configuration", "destinations"}
    assert "file.path is" in run.faults[0]["detail"]
    assert "/taken/traces.jsonl cannot be written (" in run.faults[1]["title"]
    assert all(each["remedy"] for each in run.faults)


def test_one_destination_that_fails_does_not_keep_the_others_from_being_tried(
    healthy: dict[str, str], receiver: OtlpReceiver
) -> None:
    """Sentry is down, the collector has everything."""
    with refusing() as endpoint:
        run = doctor("--timeout", "2", env={**healthy, "SENTRY_DSN": dsn_of(int(endpoint.rpartition(":")[2]))})
    assert run.fault("sentry")
    assert len([each for each in run.of("ok") if each["check"] == "destinations"]) == 3
    assert len(receiver.spans) == 1


def test_nothing_stays_behind(tmp_path: Path) -> None:
    """Neither a file destination's files and folders nor temporary ones; what is there already stays as it is."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    file = write_file(tmp_path, f"file: {{path: {tmp_path}/new/deep/traces.jsonl}}")
    before = sorted(tmp_path.rglob("*"))
    run = doctor("--config-file", file, env={"TMPDIR": str(temporary)})
    assert run.of("fault", "warning") == []
    assert sorted(tmp_path.rglob("*")) == before

    kept = tmp_path / "kept.jsonl"
    kept.write_text("{}\n")
    (tmp_path / "kept.jsonl.lock").write_text("")
    file = write_file(tmp_path, f"file: {{path: {kept}}}")
    before = sorted(tmp_path.rglob("*"))
    assert doctor("--config-file", file, env={"TMPDIR": str(temporary)}).of("fault", "warning") == []
    assert sorted(tmp_path.rglob("*")) == before
    assert kept.read_text() == "{}\n"


def test_what_has_been_written_to_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """A service may have begun to write to the file that the doctor tried."""
    path = tmp_path / "new" / "traces.jsonl"
    target = Target(options=Options({"path": str(path)}, name="file"), address="")
    with left_as_found(target):
        path.parent.mkdir()
        path.write_text("{}\n")
        (path.parent / "traces.jsonl.lock").write_text("")
    assert [each.name for each in path.parent.iterdir()] == ["traces.jsonl"]


def test_a_dsn_that_turns_up_elsewhere_is_masked_there_too(tmp_path: Path) -> None:
    """Somebody gave the DSN in a place that is no secret one."""
    file = tmp_path / "telemetry.yaml"
    file.write_text(json.dumps({"file_format": "1.1", "x-note": f"the key is {KEY}", "tracer_providr": KEY}))
    doctor("--offline", "--config-file", str(file), env={"SENTRY_DSN": dsn_of(1)}).fault("tracer_providr")


def test_the_folder_of_a_shell_is_no_secret(tmp_path: Path) -> None:
    """Its variable is called as if it were a password."""
    file = tmp_path / "telemetry.yaml"
    file.write_text('file_format: "1.1"\ntracer_providr: {}\n')
    doctor("--offline", "--config-file", str(file), env={"PWD": str(tmp_path)}).fault(str(file))


def test_without_the_extras_one_line_says_what_to_install() -> None:
    """As with the demo."""
    from tests.support.process import run_python

    code = "import sys; sys.modules['rich'] = None; sys.argv[1:] = [{!r}]; from brain_otel.cli import main; main()"
    for command in ("config", "doctor"):
        result = run_python(code.format(command))
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.endswith('pip install "brain-otel[cli]"\n')
        assert result.stderr.count("\n") == 1


def test_metrics_that_are_fetched_are_somewhere(tmp_path: Path) -> None:
    """A pull reader is no destination, and telemetry does not go nowhere."""
    file = tmp_path / "telemetry.yaml"
    file.write_text(
        'file_format: "1.1"\nmeter_provider: {readers: [{pull: {exporter: {prometheus/development: {}}}}]}\n'
    )
    run = doctor("--offline", "--config-file", str(file))
    assert not [each for each in run.findings if "goes nowhere" in each["title"]]
