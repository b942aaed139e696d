"""Tests of OpenTelemetry's standard variables: which destinations there are, and where they send."""

import sys
from pathlib import Path
from typing import Any

import pytest

from brain_otel.configuration.document import read_document
from brain_otel.configuration.file_choice import packaged_files
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.otlp.destination import describe
from brain_otel.sdk.pipeline import create_destinations
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.process import PROGRAMS, run_python
from tests.support.tiers import quick_first

TOP = 'file_format: "1.1"\n'
DSN = "https://public@sentry.test/42"
SIGNALS = ("traces", "logs", "metrics")

PLAIN = """
file_format: "1.1"
resource: {attributes: [{name: service.name, value: plain}]}
tracer_provider:
  processors:
    - batch: {schedule_delay: 100, exporter: {otlp_http: {endpoint: "${COLLECTOR}/v1/traces"}}}
    - simple: {exporter: {console: }}
logger_provider:
  processors:
    - batch: {schedule_delay: 100, exporter: {otlp_http: {endpoint: "${COLLECTOR}/v1/logs"}}}
meter_provider:
  readers:
    - periodic: {interval: 60000, exporter: {otlp_http: {endpoint: "${COLLECTOR}/v1/metrics"}}}
propagator: {composite: [{tracecontext: }, {baggage: }]}
"""
"""A file with nothing of ours in it."""

APP = """
import asyncio, httpx, logging, os, sys
from fastapi import FastAPI
import brain_otel

if os.environ.get("SETUP"):
    brain_otel.setup()

app = FastAPI()

@app.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    logging.getLogger("shop").warning("item %s", item_id)
    return {"item": item_id}


async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        print((await client.get("/items/7")).text, file=sys.stderr)

asyncio.run(main())
brain_otel.shutdown()
"""

DOORS = ("setup", "launcher", "both")


def write(folder: Path, text: str) -> Path:
    path = folder / "given.yaml"
    path.write_text(text if "file_format" in text else TOP + text)
    return path


def names(settings: Settings, signal: str) -> list[str]:
    return [each.name for each in settings.destinations if each.signal == signal]


def targets(settings: Settings) -> dict[str, str]:
    """Return the address of each signal's OTLP."""
    return {each.signal: describe(each, settings) for each in settings.destinations if each.name == "otlp"}


def run_app(door: str, folder: Path, env: dict[str, str]) -> tuple[str, str]:
    """Run the app, set up by its own code, by the launcher or by both; return what it printed."""
    script = folder / "app.py"
    script.write_text(APP)
    variables = {"PYTHONWARNINGS": "error", **env, **({} if door == "launcher" else {"SETUP": "1"})}
    arguments = [] if door == "setup" else [sys.executable, str(script)]
    program = script if door == "setup" else PROGRAMS / "opentelemetry-instrument"
    done = run_python(program, variables, arguments=arguments, pythonpath=[ROOT], cwd=folder)
    assert done.returncode == 0, done.stderr
    assert '{"item":7}' in done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


FAILING = """
import brain_otel
brain_otel.setup()
with brain_otel.start_transaction("work"):
    brain_otel.capture_exception(ValueError("lost?"))
"""


class TestReplacement:
    @pytest.mark.parametrize("environment", ["development", "test", "staging", "production"])
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("sentry,otlp,console", ["sentry", "otlp", "console"]),
            (" console , otlp ", ["console", "otlp"]),
            ("otlp,otlp", ["otlp"]),
            ("memory", ["memory"]),
            ("none", []),
        ],
    )
    def test_a_variable_replaces_destinations_for_traces(
        self, environment: str, value: str, expected: list[str]
    ) -> None:
        """The destinations are in the variable's order; Sentry keeps the errors. The other signals do not change."""
        environ = {"SENTRY_DSN": DSN, "OTEL_TRACES_EXPORTER": value}
        before = read_settings({"SENTRY_DSN": DSN}, environment=environment)
        read = read_settings(environ, environment=environment)
        assert names(read, "traces") == list(dict.fromkeys([*expected, "sentry"]))
        assert read.sentry is not None
        assert dict(read.sampling.destinations) == ({} if "sentry" in expected else {"sentry": 0})
        assert [names(read, each) for each in ("logs", "metrics")] == [
            names(before, each) for each in ("logs", "metrics")
        ]
        assert read.notices == ()

    @pytest.mark.parametrize("value", ["console", "none"])
    def test_errors_go_to_sentry_wherever_spans_go(self, value: str, ingest: SentryIngest) -> None:
        """Linked to their trace; no transaction does."""
        environ = {"SENTRY_DSN": ingest.dsn, "OTEL_TRACES_EXPORTER": value, "SENTRY_ENVIRONMENT": "test"}
        done = run_python(FAILING, environ)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False)
        ingest.wait_for(lambda it: len(it.events) == 1)
        ingest.settle(0.2)
        assert ingest.transactions == []
        assert ingest.events[0]["exception"]["values"][-1]["value"] == "lost?"
        assert len(ingest.events[0]["contexts"]["trace"]["trace_id"]) == 32

    @pytest.mark.parametrize("environment", ["development", "test", "staging", "production"])
    @pytest.mark.parametrize(("signal", "provider"), [("logs", "logger_provider"), ("metrics", "meter_provider")])
    def test_a_variable_replaces_destinations_for_logs_and_metrics(
        self, environment: str, signal: str, provider: str
    ) -> None:
        """The file need not have a provider; `none` removes it."""
        variable = f"OTEL_{signal.upper()}_EXPORTER"
        read = read_settings({variable: "otlp,memory"}, environment=environment)
        assert names(read, signal) == ["otlp", "memory"]
        assert read.document[provider]
        nothing = read_settings({variable: "none"}, environment=environment)
        assert names(nothing, signal) == []
        assert provider not in nothing.document

    def test_metrics_may_go_to_opentelemetrys_console(self) -> None:
        """The file's interval stays."""
        environ = {"OTEL_METRICS_EXPORTER": "console", "OTEL_METRIC_EXPORT_INTERVAL": "5000"}
        read = read_settings(environ, environment="production")
        assert names(read, "metrics") == ["console"]
        assert read.document["meter_provider"]["readers"][0]["periodic"]["interval"] == 5000

    def test_the_interval_applies_if_the_file_has_no_metrics(self) -> None:
        """A new reader gets the interval of OTEL_METRIC_EXPORT_INTERVAL."""
        environ = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "5000"}
        read = read_settings(environ, environment="development")
        assert read.document["meter_provider"]["readers"][0]["periodic"]["interval"] == 5000

    def test_an_address_in_the_file_comes_before_the_signals_variable(self, tmp_path: Path) -> None:
        """It may be an `endpoint` or a `url`."""
        path = write(tmp_path, "tracer_provider: {processors: [{otlp: {url: 'http://file:4318/x'}}]}")
        read = read_settings(given("ETLM"), config_file=path)
        assert targets(read) == {"traces": "http/protobuf to http://file:4318/x"}

    def test_a_variable_replaces_an_empty_address(self, tmp_path: Path) -> None:
        """An empty value of the file does not count."""
        path = write(tmp_path, "tracer_provider: {processors: [{otlp: {url: '${COLLECTOR}'}}]}")
        environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces:4318/x"}
        read = read_settings(environ, config_file=path)
        assert targets(read) == {"traces": "http/protobuf to http://traces:4318/x"}

    def test_opentelemetrys_console_may_have_several_readers(self, tmp_path: Path) -> None:
        """Only our console is limited to one."""
        readers = "{periodic: {interval: 1000, exporter: {console: }}}, {periodic: {exporter: {console: }}}"
        read = read_settings({}, config_file=write(tmp_path, f"meter_provider: {{readers: [{readers}]}}"))
        assert names(read, "metrics") == ["console", "console"]

    def test_an_empty_variable_has_no_effect(self) -> None:
        """It counts as unset."""
        environ = dict.fromkeys((f"OTEL_{each.upper()}_EXPORTER" for each in SIGNALS), "")
        assert read_settings(environ, environment="production") == read_settings({}, environment="production")

    @pytest.mark.parametrize("way", ["argument", "OTEL_CONFIG_FILE", "BRAIN_OTEL_CONFIG_DIR"])
    @pytest.mark.parametrize("signal", SIGNALS)
    def test_the_variable_has_no_effect_with_a_file_of_the_users_own(
        self, tmp_path: Path, way: str, signal: str
    ) -> None:
        """One warning names the variable and the file."""
        variable = f"OTEL_{signal.upper()}_EXPORTER"
        path = write(tmp_path, "tracer_provider: {processors: [{memory: }]}")
        path = path.rename(tmp_path / "production.yaml")
        environ = {variable: "zipkin", "ENVIRONMENT": "production"}
        if way != "argument":
            environ[way] = str(path if way == "OTEL_CONFIG_FILE" else tmp_path)
        read = read_settings(environ, config_file=path if way == "argument" else None)
        assert [each.name for each in read.destinations] == ["memory"]
        assert read.notices == (f"{variable} is ignored: {path} says where telemetry goes",)

    def test_a_destination_that_moves_keeps_its_options(self) -> None:
        """In production's file, OTLP is second; alone it is first, with the same variables."""
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://general:4318",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://own:4318/x",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=b",
            "OTEL_TRACES_EXPORTER": "otlp",
        }
        read = read_settings(environ, environment="production")
        assert targets(read)["traces"] == "http/protobuf to http://own:4318/x"
        assert read.destinations[0].values["headers"] == "a=b"


ENVIRON = {
    "E": ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318"),
    "T": ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://own:4318/t"),
    "L": ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://own:4318/l"),
    "M": ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://own:4318/m"),
}
LOCAL, GENERAL = "http://localhost:4318", "http://general:4318"
OTLP = """
tracer_provider: {processors: [{otlp: %s}]}
logger_provider: {processors: [{otlp: %s}]}
meter_provider: {readers: [{periodic: {exporter: {otlp: %s}}}]}
"""


def given(letters: str) -> dict[str, str]:
    return dict(ENVIRON[letter] for letter in letters)


class TestOtlp:
    @pytest.mark.parametrize(
        ("letters", "base", "own"),
        [
            ("", None, ""), ("E", GENERAL, ""), ("T", None, "t"), ("ET", GENERAL, "t"), ("EL", GENERAL, "l"),
            ("EM", GENERAL, "m"), ("ETLM", GENERAL, "tlm"), ("TLM", None, "tlm"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("place", ["production", "staging", "empty options", "referred"])
    def test_the_signals_endpoint_comes_first(
        self, tmp_path: Path, place: str, letters: str, base: str | None, own: str
    ) -> None:
        """It is the whole address. The general one gets the signal's path. Without either, there is a default."""
        options = "{}" if place == "empty options" else "{endpoint: '${OTEL_EXPORTER_OTLP_ENDPOINT}'}"
        path = None if place in ("production", "staging") else write(tmp_path, OTLP % (options, options, options))
        read = read_settings(given(letters), environment=place if path is None else None, config_file=path)
        default = "off: no endpoint (OTEL_EXPORTER_OTLP_ENDPOINT)"
        if place in ("staging", "empty options"):
            default = f"http/protobuf to {LOCAL}/v1/"
        for signal, target in targets(read).items():
            if signal[0] in own:
                expected = f"http/protobuf to http://own:4318/{signal[0]}"
            elif base is None:
                expected = default + (signal if default.endswith("/") else "")
            else:
                expected = f"http/protobuf to {base}/v1/{signal}"
            assert target == expected
        assert set(targets(read)) == set(SIGNALS)

    @pytest.mark.parametrize(("protocol", "port"), [("http/protobuf", 4318), ("grpc", 4317)])
    def test_each_protocol_has_a_default_endpoint(self, protocol: str, port: int) -> None:
        """Only the protocol is set."""
        read = read_settings({"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}, environment="staging")
        assert targets(read)["traces"].startswith(f"{protocol} to http://localhost:{port}")

    def test_a_value_in_the_file_comes_before_every_variable(self, tmp_path: Path) -> None:
        """The value may be literal or come from another variable."""
        for options in ("{endpoint: http://file:4318}", "{endpoint: '${MINE}'}"):
            path = write(tmp_path, OTLP % (options, options, options))
            read = read_settings({**given("ETLM"), "MINE": "http://file:4318"}, config_file=path)
            assert targets(read) == {each: f"http/protobuf to http://file:4318/v1/{each}" for each in SIGNALS}

    @pytest.mark.parametrize(
        ("environ", "traces", "logs"),
        [
            ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc", "grpc"),
            ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "grpc", "http/protobuf"),
            (
                {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
                "http/protobuf",
                "grpc",
            ),
        ],
    )
    @pytest.mark.parametrize("place", ["production", "own"])
    def test_the_signals_protocol_comes_first(
        self, tmp_path: Path, place: str, environ: dict[str, str], traces: str, logs: str
    ) -> None:
        """The general protocol applies to the other signals."""
        path = write(tmp_path, OTLP % ("{}", "{}", "{}")) if place == "own" else None
        read = read_settings({**environ, **given("E")}, environment="production", config_file=path)
        assert [targets(read)[each].partition(" to ")[0] for each in SIGNALS] == [traces, logs, logs]

    @pytest.mark.parametrize("place", ["production", "own"])
    def test_the_signals_other_options_come_first(self, tmp_path: Path, place: str) -> None:
        """Headers, compression, timeout (in seconds, as upstream has it) and certificates have variables."""
        path = write(tmp_path, OTLP % ("{}", "{}", "{}")) if place == "own" else None
        environ = {
            "OTEL_EXPORTER_OTLP_HEADERS": "a=general",
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "a=logs",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "none",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "0.5",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(packaged_files() / "test.yaml"),
            **given("E"),
        }
        read = read_settings(environ, environment="production", config_file=path)
        found: dict[str, Any] = {each.signal: each.values for each in read.destinations if each.name == "otlp"}
        assert [found[each]["headers"] for each in SIGNALS] == ["a=general", "a=logs", "a=general"]
        assert [found[each]["compression"] for each in SIGNALS] == ["gzip", "gzip", "none"]
        assert [found[each]["timeout"] for each in SIGNALS] == [500.0, 3000.0, 3000.0]
        assert {found[each]["certificate"] for each in SIGNALS} == {environ["OTEL_EXPORTER_OTLP_CERTIFICATE"]}

    def test_otlp_is_off_in_production_without_an_endpoint(self) -> None:
        """No exporter is created."""
        assert create_destinations(read_settings({}, environment="production")) == ()

    def test_data_arrives_with_the_headers(self, tmp_path: Path) -> None:
        """A packaged file sends to the endpoint, with the headers of one signal and of all."""
        with OtlpReceiver() as receiver:
            env = {
                "ENVIRONMENT": "production",
                "SENTRY_TRACES_SAMPLE_RATE": "1",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{receiver.endpoint}/v1/traces",
                "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{receiver.endpoint}/v1/logs",
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=all",
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-tenant=traces,x-more=a%20b",
                "OTEL_SERVICE_NAME": "shop",
                "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,service.version=1.10,team=a%2Cb",
            }
            run_app("setup", tmp_path, env)
            headers = {each.signal: each.headers for each in receiver.accepted}
            assert headers["traces"]["x-tenant"] == "traces"
            assert headers["traces"]["x-more"] == "a b"
            assert headers["logs"]["x-tenant"] == "all"
            resource = receiver.span("GET /items/{item_id}").resource
            assert (resource["service.name"], resource["service.version"]) == ("shop", "1.10")
            assert (resource["team"], resource["deployment.environment.name"]) == ("a,b", "production")
            assert [each.body for each in receiver.log_records] == ["item 7"]


class TestProvenance:
    def test_variables_are_known_through_anchors_aliases_and_merge_keys(self, tmp_path: Path) -> None:
        """A value has the variables of its anchor, unless the merge is overridden."""
        text = """
x-shared: &shared {endpoint: "${A}", headers: "${B}${C:-c}", protocol: grpc}
x-item: &item "${D}"
tracer_provider:
  processors:
    - otlp: *shared
    - otlp: {<<: *shared, endpoint: "${E}", timeout: 1}
    - otlp: {<<: [{timeout: "${F}"}, *shared], protocol: *item}
"""
        document = read_document(write(tmp_path, text), {"D": "grpc"})
        place = ("tracer_provider", "processors")
        found = {
            (index, option): document.variables((*place, index, "otlp", option))
            for index in range(3)
            for option in ("endpoint", "headers", "protocol", "timeout")
        }
        assert found == {
            (0, "endpoint"): ("A",), (0, "headers"): ("B", "C"), (0, "protocol"): (), (0, "timeout"): (),
            (1, "endpoint"): ("E",), (1, "headers"): ("B", "C"), (1, "protocol"): (), (1, "timeout"): (),
            (2, "endpoint"): ("A",), (2, "headers"): ("B", "C"), (2, "protocol"): ("D",), (2, "timeout"): ("F",),
        }  # fmt: skip
        assert document.variables((*place, 3, "otlp", "endpoint")) == ()

    def test_the_signals_endpoint_comes_before_a_merged_one(self, tmp_path: Path) -> None:
        """A merged endpoint counts like one of the block itself."""
        shared = "{<<: *shared, schedule_delay: 5}"
        text = 'x-shared: &shared {endpoint: "${OTEL_EXPORTER_OTLP_ENDPOINT}"}\n' + OTLP % (shared, "*shared", "{}")
        read = read_settings(given("ETL"), config_file=write(tmp_path, text))
        assert targets(read) == {
            "traces": "http/protobuf to http://own:4318/t",
            "logs": "http/protobuf to http://own:4318/l",
            "metrics": f"http/protobuf to {GENERAL}/v1/metrics",
        }

    def test_a_warning_names_a_dsn_that_the_file_does_not_read(self, tmp_path: Path) -> None:
        """Without the warning, Sentry would be off and nobody would know why."""
        text = "tracer_provider: {processors: [{sentry: }]}"
        read = read_settings({"SENTRY_DSN": DSN}, config_file=write(tmp_path, text))
        assert read.sentry is None
        assert len(read.notices) == 1
        assert read.notices[0].startswith("SENTRY_DSN is ignored: ")
        named = f"{text}\ndistribution: {{brain_otel: {{sentry: {{dsn: '${{SENTRY_DSN}}'}}}}}}"
        read = read_settings({"SENTRY_DSN": DSN}, config_file=write(tmp_path, named))
        assert (read.sentry is not None, read.notices) == (True, ())

    def test_a_warning_names_a_newer_minor_version(self, tmp_path: Path) -> None:
        """The file is read, as the specification requires."""
        read = read_settings({}, config_file=write(tmp_path, 'file_format: "1.9"'))
        assert len(read.notices) == 1
        assert "file_format is newer than 1.1" in read.notices[0]
        for version in ("1.0", "1.1", "1.0-rc.2"):
            assert read_settings({}, config_file=write(tmp_path, f'file_format: "{version}"')).notices == ()


class TestSetUp:
    @pytest.mark.parametrize("door", quick_first(DOORS))
    def test_a_plain_file_of_opentelemetrys_works(self, tmp_path: Path, door: str) -> None:
        """It sends batches to OTLP and to a console, set up by `setup()`, by the launcher or by both."""
        with OtlpReceiver() as receiver:
            env = {"OTEL_CONFIG_FILE": str(write(tmp_path, PLAIN)), "COLLECTOR": receiver.endpoint}
            printed, log = run_app(door, tmp_path, env)
            server = receiver.span("GET /items/{item_id}")
            assert len(receiver.spans) == 1
            assert server.resource["service.name"] == "plain"
            assert [(each.body, each.trace_id) for each in receiver.log_records] == [("item 7", server.trace_id)]
            assert {"http.server.request.duration"} <= {each.name for each in receiver.metrics}
            assert printed.count('"name": "GET /items/{item_id}"') == 1
            assert "set up already" not in log
            assert receiver.rejected == []

    @pytest.mark.parametrize("door", quick_first(DOORS))
    def test_telemetry_can_be_disabled(self, tmp_path: Path, door: str) -> None:
        """OTEL_SDK_DISABLED works with a file that does not read it. The app answers, and nothing is sent."""
        with OtlpReceiver() as receiver:
            env = {
                "OTEL_CONFIG_FILE": str(write(tmp_path, PLAIN)),
                "COLLECTOR": receiver.endpoint,
                "OTEL_SDK_DISABLED": "true",
            }
            assert run_app(door, tmp_path, env)[0] == ""
            assert receiver.requests == []

    @pytest.mark.parametrize("door", quick_first(DOORS))
    def test_one_warning_names_an_ignored_variable(self, tmp_path: Path, door: str) -> None:
        """The file's destinations are used."""
        with OtlpReceiver() as receiver:
            path = write(tmp_path, PLAIN)
            env = {"OTEL_CONFIG_FILE": str(path), "COLLECTOR": receiver.endpoint, "OTEL_TRACES_EXPORTER": "console"}
            log = run_app(door, tmp_path, env)[1]
            assert log.count(f"OTEL_TRACES_EXPORTER is ignored: {path} says where telemetry goes") == 1
            assert len(receiver.spans) == 1

    @pytest.mark.parametrize("door", quick_first(DOORS))
    def test_variables_replace_the_destinations_of_a_packaged_file(self, tmp_path: Path, door: str) -> None:
        """OTLP replaces development's console, for traces, logs and metrics."""
        with OtlpReceiver() as receiver:
            env = {
                **{f"OTEL_{each.upper()}_EXPORTER": "otlp" for each in SIGNALS},
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            }
            log = run_app(door, tmp_path, env)[1]
            assert len(receiver.spans) == 1
            assert [each.body for each in receiver.log_records] == ["item 7"]
            assert receiver.metrics
            assert "GET /items" not in log


NOTHING = "import logging; logging.basicConfig(level='INFO'); import brain_otel; brain_otel.setup()"


def test_the_log_names_a_destination_that_is_off() -> None:
    """It is a warning if a variable names the destination."""
    log = run_python(NOTHING, {"SENTRY_ENVIRONMENT": "production"}).stderr
    assert log.count("INFO:brain_otel.sdk.pipeline:otlp is off: no endpoint (OTEL_EXPORTER_OTLP_ENDPOINT)") == 1
    for variable in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"):  # the file has it for other signals, too
        asked = run_python(NOTHING, {"SENTRY_ENVIRONMENT": "production", variable: "otlp"}).stderr
        assert asked.count(f"WARNING:brain_otel.sdk.pipeline:{variable} names otlp, which is off: no endpoint") == 1


def test_the_log_says_once_that_sentry_is_off() -> None:
    """It is a warning if a variable names Sentry, else information."""
    log = run_python(NOTHING, {"SENTRY_ENVIRONMENT": "production"}).stderr
    assert log.count("INFO:brain_otel.telemetry:Sentry is off: SENTRY_DSN is not set") == 1
    assert "WARNING" not in log
    asked = run_python(NOTHING, {"SENTRY_ENVIRONMENT": "production", "OTEL_TRACES_EXPORTER": "sentry"}).stderr
    assert asked.count("WARNING:brain_otel.sdk.pipeline:OTEL_TRACES_EXPORTER names sentry, which is off: no DSN") == 1
    assert "Sentry is off" not in asked
