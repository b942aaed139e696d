"""Tests of files of the simple form: the result is that of OpenTelemetry's own configuration, without its import."""

import copy
import json
from importlib import resources
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from brain_otel.configuration.document import read_document
from brain_otel.configuration.file_choice import packaged_files
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.simple_form import is_simple_form
from tests.support.process import run_python
from tests.support.tiers import quick_first

SCHEMA = json.loads((resources.files("opentelemetry.configuration") / "schema.json").read_text(encoding="utf-8"))

SIMPLE = {
    "nothing but a destination": "tracer_provider: {processors: [{memory: }]}",
    "an empty file": "disabled: ",
    "every kind of attribute": """
resource:
  attributes_list: "service.name=shop, team=x=y,,owner=a%20b"
  attributes: [{name: a, value: text}, {name: b, value: 7}, {name: c, value: 0.5}, {name: d, value: true}]
""",
    "always on": "tracer_provider: {sampler: {always_on: {}}, processors: [{memory: {}}]}",
    "always off": "tracer_provider: {sampler: {parent_based: {root: {always_off: {}}}}, processors: [{memory: {}}]}",
    "a share": "tracer_provider: {sampler: {trace_id_ratio_based: {ratio: 0.25}}, processors: [{memory: {}}]}",
    "parents of parents": (
        "tracer_provider: {sampler: {parent_based: {root: {parent_based: {root: {always_on: {}}}}}},"
        " processors: [{memory: {}}]}"
    ),
    "logs": "logger_provider: {processors: [{memory: {}}]}",
    "metrics": "meter_provider: {readers: [{periodic: {exporter: {memory: {}}}}]}",
    "metrics at times of their own": (
        "meter_provider: {readers: [{periodic: {interval: 5000, timeout: 700, exporter: {memory: {}}}},"
        " {periodic: {exporter: {file: {path: PATH}}}}]}"
    ),
    "propagators": "propagator: {composite: [{baggage: }, {tracecontext: {}}, {baggage: }]}",
    "one propagator": "propagator: {composite: [{sentry: }]}",
}

OTHER = {
    "a newer format": "{file_format: '1.2'}",
    "limits": "tracer_provider: {limits: {event_count_limit: 3}, processors: [{memory: {}}]}",
    "an exporter of OpenTelemetry's": "tracer_provider: {processors: [{simple: {exporter: {console: }}}]}",
    "a parent's own sampler": (
        "tracer_provider: {sampler: {parent_based: {local_parent_sampled: {always_on: }}}, processors: [{memory: }]}"
    ),
    "a typed attribute": "resource: {attributes: [{name: a, value: '7', type: int}]}",
    "a resource's schema": "resource: {schema_url: 'https://opentelemetry.io/schemas/1.40.0'}",
    "propagators in a list": "propagator: {composite_list: 'tracecontext,baggage'}",
    "a reader that is asked": "meter_provider: {readers: [{pull: {exporter: {prometheus/development: }}}]}",
    "a level": "log_level: warn",
}

SET_UP = """
import json, logging, os, sys
from opentelemetry import _logs, metrics, propagate, trace
import brain_otel, brain_otel.configuration.loading
if os.environ["WAY"] == "upstream":
    brain_otel.configuration.loading.is_simple_form = lambda data: False
brain_otel.setup(config_file=os.environ["FILE"])
if os.environ["WAY"] == "simple":
    assert not {"opentelemetry.configuration", "jsonschema"} & sys.modules.keys()
def described(value):
    if type(value).__module__.startswith(("opentelemetry", "brain_otel")):
        inner = getattr(value, "__dict__", {})
        return {"is": type(value).__name__, **{name: described(each) for name, each in inner.items() if name in KEPT}}
    if isinstance(value, (list, tuple, set)):
        return [described(each) for each in value]
    return value if isinstance(value, (str, int, float, type(None))) else type(value).__name__
KEPT = {
    *("sampler", "_configured", "_root", "_remote_parent_sampled", "_remote_parent_not_sampled"),
    *("_local_parent_sampled", "_local_parent_not_sampled", "_rate", "_decision"),
    *("_span_limits", "_log_record_limits", "max_span_attributes", "max_events", "max_links"),
    *("max_event_attributes", "max_link_attributes", "max_attributes", "max_attribute_length"),
    *("max_span_attribute_length", "max_log_record_attributes", "max_log_record_attribute_length"),
    *("_sdk_config", "exemplar_filter", "_metric_readers", "views", "_exporter", "_export_interval_millis"),
    *("_export_timeout_millis", "_propagators", "_inner", "_active_span_processor", "_span_processors"),
    *("id_generator", "_multi_log_record_processor", "_log_record_processors"),
}
providers = {
    "traces": trace.get_tracer_provider(),
    "metrics": metrics.get_meter_provider(),
    "logs": _logs.get_logger_provider(),
}
result = {name: described(each) for name, each in providers.items()}
result["propagator"] = described(propagate.get_global_textmap())
result["fields"] = sorted(propagate.get_global_textmap().fields)
result["level"] = logging.getLogger("opentelemetry").level
for name, each in providers.items():
    resource = getattr(each, "resource", None) or getattr(getattr(each, "_sdk_config", None), "resource", None)
    if resource is not None:
        result[name]["resource"] = {key: value for key, value in resource.attributes.items() if "instance" not in key}
        result[name]["schema"] = resource.schema_url
print(json.dumps(result))
"""


def set_up(way: str, file: Path, variables: dict[str, str]) -> Any:
    done = run_python(SET_UP, {**variables, "WAY": way, "FILE": str(file)})
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    return json.loads(done.stdout)


def in_file(folder: Path, text: str) -> Path:
    file = folder / "given.yaml"
    file.write_text('file_format: "1.1"\n' + text.replace("PATH", str(folder / "metrics.jsonl")))
    return file


VARIABLES = {
    "SENTRY_DSN": "http://key@127.0.0.1:9/1",
    "OTEL_SERVICE_NAME": "shop",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    # A set-up by a file ignores these.
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "3",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "3",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "3",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "3",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "3",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "3",
    "OTEL_TRACES_SAMPLER": "always_off",
    "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
    "OTEL_METRIC_EXPORT_TIMEOUT": "5",
    "OTEL_PROPAGATORS": "none",
}


@pytest.mark.parametrize("text", quick_first(SIMPLE.values(), 2), ids=SIMPLE)
def test_the_providers_are_those_that_opentelemetry_would_create(tmp_path: Path, text: str) -> None:
    file = in_file(tmp_path, text)
    assert read_settings({}, config_file=file).simple_form
    assert set_up("simple", file, VARIABLES) == set_up("upstream", file, VARIABLES)


@pytest.mark.parametrize("environment", quick_first(["production", "development", "staging", "test"]))
def test_packaged_files_have_the_simple_form(environment: str) -> None:
    file = packaged_files() / f"{environment}.yaml"
    simple_form = set_up("simple", file, VARIABLES)
    assert simple_form == set_up("upstream", file, VARIABLES)
    assert simple_form["traces"]["resource"]["service.name"] == "shop"


@pytest.mark.parametrize("text", quick_first(OTHER.values()), ids=OTHER)
def test_other_files_go_through_opentelemetrys_loader(tmp_path: Path, text: str) -> None:
    data = {"file_format": "1.1", **yaml.safe_load(text)}
    assert not list(Draft202012Validator(SCHEMA).iter_errors(data))
    assert not is_simple_form(data)
    file = tmp_path / "given.yaml"
    file.write_text(yaml.safe_dump(data))
    assert not read_settings({}, config_file=file).simple_form


ODD: list[Any] = [
    *(None, True, -1, 0, 2, 1.5, float("nan"), "", "text", "1.1", [], [None], ["text"], [[]], {}),
    *({name: None} for name in ("console", "batch", "otlp_http", "event_to_span_event_bridge/development", "b3")),
    *({name: options} for name in ("sentry", "always_on") for options in (1, {}, {"more": 1})),
    *({"one": {}, "two": {}}, {"periodic": {}}, {"periodic": {"exporter": {"memory": None}, "more": 1}}),
]
WHOLE = [
    *(read_document(packaged_files() / f"{name}.yaml", {}).data for name in ("test", "production")),
    *({"file_format": "1.1", **yaml.safe_load(text)} for text in SIMPLE.values()),
]


def places(value: Any, key: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [key, *(each for name, inner in items for each in places(inner, (*key, name)))]


@pytest.mark.parametrize("step", quick_first([5, 1]))
def test_a_file_of_the_simple_form_matches_the_schema(step: int) -> None:
    """Put odd values at every place, or at each fifth: no file of the simple form is one that the schema rejects."""
    validator = Draft202012Validator(SCHEMA)
    simple_form = 0
    for whole in WHOLE:
        for key in places(whole)[1::step]:
            for odd, name in [*zip(ODD, repeat(key[-1])), *zip(ODD, repeat("added"))]:
                document = copy.deepcopy(whole)
                parent: Any = document
                for part in key[:-1]:
                    parent = parent[part]
                if isinstance(parent, list) and name == "added":
                    continue
                parent[name] = odd
                if is_simple_form(document):
                    simple_form += 1
                    named = {name: value for name, value in document.items() if not name.startswith("x-")}
                    assert not list(validator.iter_errors(named)), (key, odd)
    assert simple_form > 1000 // step
