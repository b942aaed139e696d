"""Tests of the block `sampling`."""

from pathlib import Path
from typing import Any

import pytest

from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.sections.sampling import RuleSettings, SamplingSettings, TailSettings
from brain_otel.configuration.settings import Settings

PLACE = "distribution.brain_otel.sampling"
FILE = """
file_format: "1.1"
tracer_provider:
  sampler:
    parent_based:
      root:
        trace_id_ratio_based:
          ratio: ${{SENTRY_TRACES_SAMPLE_RATE:-{rate}}}
  processors: [console: , sentry: , otlp: {{endpoint: "http://127.0.0.1:9"}}]
distribution:
  brain_otel:
    sentry: {{dsn: "http://key@127.0.0.1:9/1"}}
    sampling: {sampling}
"""


def read(folder: Path, sampling: str, rate: float = 1.0, **environ: str) -> Settings:
    path = folder / "given.yaml"
    path.write_text(FILE.format(sampling=sampling, rate=rate))
    return read_settings(environ, config_file=path)


def test_everything_is_read(tmp_path: Path) -> None:
    """Text, numbers and booleans may come from the file and from variables."""
    sampling = """
      rules:
        - {route: "/missions/*", method: POST, environment: production, rate: "${MISSIONS:-0.5}", per_second: 10}
        - {attributes: {tenant: ac*, plan: 7, beta: true}, per_second: 0.5}
        - {rate: 0}
      destinations: {sentry: 0.1, console: 1.0}
      tail: {errors: yes, slower_than: 2, max_traces: 10, max_spans: 20, max_bytes: 30000, max_age: 40}
    """
    assert read(tmp_path, sampling, MISSIONS="0.25").sampling == SamplingSettings(
        rules=(
            RuleSettings(route="/missions/*", method="POST", environment="production", rate=0.25, per_second=10.0),
            RuleSettings(attributes={"tenant": "ac*", "plan": "7", "beta": "true"}, per_second=0.5),
            RuleSettings(rate=0.0),
        ),
        destinations={"sentry": 0.1, "console": 1.0},
        tail=TailSettings(errors=True, slower_than=2.0, max_traces=10, max_spans=20, max_bytes=30_000, max_age=40.0),
    )


@pytest.mark.parametrize("sampling", ["", "{}", "{rules: , destinations: , tail: }", "{rules: []}"])
def test_an_empty_block_has_the_defaults(tmp_path: Path, sampling: str) -> None:
    """There are no rules and no tail."""
    assert read(tmp_path, sampling).sampling == SamplingSettings()


def test_an_empty_tail_is_on(tmp_path: Path) -> None:
    """It has its defaults."""
    assert read(tmp_path, "{tail: {}}").sampling.tail == TailSettings()


@pytest.mark.parametrize(
    ("sampling", "rate", "expected"),
    [("{destinations: {sentry: 0.1}}", 1.0, 0.1), ("{destinations: {console: 0.1}}", 0.5, 0.5), ("{}", 0.5, 0.5)],
)
def test_sentrys_rate_is_its_share_of_all_traces(tmp_path: Path, sampling: str, rate: float, expected: float) -> None:
    """sentry-sdk gets this rate, and `setup()` logs it."""
    sentry = read(tmp_path, sampling, rate).sentry
    assert sentry is not None
    assert sentry.traces_sample_rate == expected


def test_the_variable_may_set_the_share_of_sentry(tmp_path: Path) -> None:
    """The console gets every trace, and Sentry the share that SENTRY_TRACES_SAMPLE_RATE sets."""
    sampling = "{destinations: {sentry: '${SENTRY_TRACES_SAMPLE_RATE:-0.1}'}}"
    path = tmp_path / "given.yaml"
    path.write_text(
        FILE.format(sampling=sampling, rate=1.0).replace("ratio: ${SENTRY_TRACES_SAMPLE_RATE:-1.0}", "ratio: 1.0")
    )
    for environ, expected in (({}, 0.1), ({"SENTRY_TRACES_SAMPLE_RATE": "0"}, 0.0)):
        settings = read_settings(environ, config_file=path)
        assert settings.sampling.destinations == {"sentry": expected}
        assert settings.sentry is not None
        assert settings.sentry.traces_sample_rate == expected


NAMES = "console, sentry, otlp"
BAD: list[tuple[str, str, str, str]] = [
    ("[]", "", "a list of 0", "a mapping with rules, destinations, tail"),
    ("{rate: 1}", ".rate", "1", "the keys rules, destinations, tail"),
    ("{rules: {}}", ".rules", "an empty mapping", "a list of rules"),
    ("{rules: [1]}", ".rules.0", "1", "a mapping with route, method, environment, attributes, rate, per_second"),
    (
        "{rules: [{rate: 1}, {paths: x, rate: 1}]}",
        ".rules.1.paths",
        "'x'",
        "the keys route, method, environment, attributes, rate, per_second",
    ),
    ("{rules: [{}]}", ".rules.0", "an empty mapping", "a rule with rate, per_second or both"),
    ("{rules: [{route: /a}]}", ".rules.0", "a mapping with route", "a rule with rate, per_second or both"),
    ("{rules: [{rate: 1.1}]}", ".rules.0.rate", "1.1", "a number from 0 to 1"),
    ("{rules: [{rate: -0.1}]}", ".rules.0.rate", "-0.1", "a number from 0 to 1"),
    ("{rules: [{rate: all}]}", ".rules.0.rate", "'all'", "a number from 0 to 1"),
    ("{rules: [{rate: true}]}", ".rules.0.rate", "True", "a number from 0 to 1"),
    ("{rules: [{per_second: 0}]}", ".rules.0.per_second", "0", "a number above 0"),
    ("{rules: [{per_second: -1}]}", ".rules.0.per_second", "-1", "a number above 0"),
    ("{rules: [{per_second: [1]}]}", ".rules.0.per_second", "a list of 1", "a number above 0"),
    ("{rules: [{route: [/a], rate: 1}]}", ".rules.0.route", "a list of 1", "text, in which * stands for anything"),
    ("{rules: [{method: '', rate: 1}]}", ".rules.0.method", "empty", "text, in which * stands for anything"),
    (
        "{rules: [{attributes: [a], rate: 1}]}",
        ".rules.0.attributes",
        "a list of 1",
        "a mapping of attributes to values or patterns",
    ),
    (
        "{rules: [{attributes: {a: }, rate: 1}]}",
        ".rules.0.attributes.a",
        "empty",
        "text, in which * stands for anything",
    ),
    ("{destinations: [sentry]}", ".destinations", "a list of 1", "a mapping of destinations to rates"),
    ("{destinations: {senty: 0.1}}", ".destinations.senty", "0.1", f"the file's destinations for traces: {NAMES}"),
    ("{destinations: {file: 0.1}}", ".destinations.file", "0.1", f"the file's destinations for traces: {NAMES}"),
    ("{destinations: {sentry: 1.5}}", ".destinations.sentry", "1.5", "a number from 0 to 1"),
    ("{destinations: {sentry: }}", ".destinations.sentry", "empty", "a number from 0 to 1"),
    ("{destinations: {sentry: 'nan'}}", ".destinations.sentry", "'nan'", "a number from 0 to 1"),
    (
        "{tail: true}",
        ".tail",
        "True",
        "a mapping with errors, slower_than, max_traces, max_spans, max_bytes, max_age",
    ),
    (
        "{tail: {slow: 1}}",
        ".tail.slow",
        "1",
        "the keys errors, slower_than, max_traces, max_spans, max_bytes, max_age",
    ),
    ("{tail: {errors: 2}}", ".tail.errors", "2", "true, yes, on, 1, false, no, off, 0"),
    ("{tail: {errors: false}}", ".tail", "a mapping with errors", "errors: true, slower_than, or both"),
    ("{tail: {slower_than: 0}}", ".tail.slower_than", "0", "a number of seconds above 0"),
    ("{tail: {max_age: -1}}", ".tail.max_age", "-1", "a number of seconds above 0"),
    ("{tail: {slower_than: 120}}", ".tail.slower_than", "120.0", "less than max_age, which is 120"),
    ("{tail: {max_traces: 0}}", ".tail.max_traces", "0", "a whole number from 1 to 1000000000"),
    ("{tail: {max_spans: 1.5}}", ".tail.max_spans", "1.5", "a whole number from 1 to 1000000000"),
    ("{tail: {max_bytes: much}}", ".tail.max_bytes", "'much'", "a whole number from 1 to 1000000000"),
]


@pytest.mark.parametrize(("sampling", "place", "value", "allowed"), BAD, ids=[each[0] for each in BAD])
def test_a_wrong_value_is_rejected(tmp_path: Path, sampling: str, place: str, value: str, allowed: str) -> None:
    """The message has the place, the value and what is allowed."""
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, sampling)
    assert str(raised.value).endswith(f"given.yaml: {PLACE}{place} is {value}; allowed: {allowed}")


@pytest.mark.parametrize(("rules", "most"), [("", "0.25"), ("rules: [{route: /a, rate: 0.5}], ", "0.5")])
def test_a_share_above_the_recorded_rate_is_rejected(tmp_path: Path, rules: str, most: str) -> None:
    """The rate may come from the file or from the variable."""
    environments: list[dict[str, Any]] = [{"rate": 0.25}, {"SENTRY_TRACES_SAMPLE_RATE": "0.25"}]
    for given in environments:
        with pytest.raises(ConfigurationError) as raised:
            read(tmp_path, f"{{{rules}destinations: {{console: 0.75}}}}", **given)
        assert str(raised.value).endswith(
            f"{PLACE}.destinations.console is 0.75; "
            f"allowed: a number from 0 to {most}, the highest rate at which traces are recorded"
        )
        assert read(tmp_path, f"{{{rules}destinations: {{console: {most}}}}}", **given).sampling.destinations


def test_the_error_names_the_variable(tmp_path: Path) -> None:
    """Shares can come from variables too."""
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, "{destinations: {sentry: '${SENTRY_TRACES_SAMPLE_RATE}'}}", 1.0, SENTRY_TRACES_SAMPLE_RATE="x")
    assert "SENTRY_TRACES_SAMPLE_RATE" in str(raised.value)
