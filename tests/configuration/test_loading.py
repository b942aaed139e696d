"""Tests of reading settings from the environment and a file."""

import copy
import os
import pickle
import traceback
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brain_otel.configuration import known_files, yaml_nodes
from brain_otel.configuration.document import read_document
from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.file_choice import packaged_files
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.sections.sentry import Secret, SentrySettings, is_dsn
from brain_otel.configuration.settings import Settings
from brain_otel.sdk.pipeline import create_destinations
from tests.support import ROOT
from tests.support.process import run_python
from tests.support.tiers import quick_first

ENVIRONMENTS = ("development", "production", "staging", "test")
DSN = "https://public@sentry.test/42"
TOP = 'file_format: "1.1"\n'


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def from_text(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    """Read settings from a file with this text."""
    return read_settings(environ or {}, config_file=write(folder / "given.yaml", TOP + text))


def sentry_of(environ: dict[str, str], environment: str = "production") -> SentrySettings:
    """Return Sentry's settings in an environment's packaged file, with a DSN and these variables."""
    found = read_settings({"SENTRY_DSN": DSN, **environ}, environment=environment).sentry
    assert found is not None
    return found


def named(folder: Path, *environments: str) -> Path:
    """Put a file for each environment into a folder; the service name tells the files apart."""
    for name in environments:
        attribute = f'{{name: service.name, value: "{name} of {folder.name}"}}'
        write(folder / f"{name}.yaml", f"{TOP}resource:\n  attributes:\n    - {attribute}\n")
    return folder


def service_name(of: Settings) -> str | None:
    attributes = of.document["resource"]["attributes"]
    return next((each["value"] for each in attributes if each["name"] == "service.name"), None)


class TestChoiceOfTheEnvironment:
    @pytest.mark.parametrize(
        ("argument", "environ", "expected"),
        [
            (None, {}, "development"),
            (None, {"ENVIRONMENT": "staging"}, "staging"),
            (None, {"SENTRY_ENVIRONMENT": "test", "ENVIRONMENT": "staging"}, "test"),
            ("production", {"SENTRY_ENVIRONMENT": "test", "ENVIRONMENT": "staging"}, "production"),
            (None, {"SENTRY_ENVIRONMENT": "", "ENVIRONMENT": "staging"}, "staging"),
            (None, {"SENTRY_ENVIRONMENT": "", "ENVIRONMENT": ""}, "development"),
        ],
    )
    def test_the_argument_comes_before_the_variables(
        self, argument: str | None, environ: dict[str, str], expected: str
    ) -> None:
        """SENTRY_ENVIRONMENT comes before ENVIRONMENT, and development is last. An empty variable counts as unset."""
        read = read_settings(environ, environment=argument)
        assert read.environment == expected
        assert Path(read.source).name == f"{expected}.yaml"
        assert read.notices == ()

    def test_an_unknown_environment_uses_the_file_of_production(self) -> None:
        """It keeps its name, and a warning names the file."""
        read = read_settings({"SENTRY_ENVIRONMENT": "qa-7", "SENTRY_DSN": DSN})
        assert (read.environment, Path(read.source).name) == ("qa-7", "production.yaml")
        assert read.sentry is not None
        assert (read.sentry.environment, read.sentry.traces_sample_rate) == ("qa-7", 0.1)
        assert len(read.notices) == 1
        assert "'qa-7'" in read.notices[0]
        assert "production.yaml" in read.notices[0]

    @pytest.mark.parametrize("name", ["../production", "/etc/passwd", "a/b", ".", "..", ".hidden"])
    def test_a_path_is_rejected(self, name: str) -> None:
        """The environment's name cannot lead out of the folder."""
        with pytest.raises(ConfigurationError, match=r"SENTRY_ENVIRONMENT is .*; allowed: a plain name"):
            read_settings({"SENTRY_ENVIRONMENT": name})

    def test_the_environment_is_on_the_resource(self, tmp_path: Path) -> None:
        """The resource has the environment's name, unless the file gives it another."""
        attribute = {"name": "deployment.environment.name", "value": "test"}
        assert attribute in read_settings({}, environment="test").document["resource"]["attributes"]
        own = from_text(tmp_path, "resource: {attributes: [{name: deployment.environment.name, value: blue}]}")
        assert own.document["resource"]["attributes"] == [{**attribute, "value": "blue"}]


class TestChoiceOfTheFile:
    def test_the_argument_comes_before_the_variables(self, tmp_path: Path) -> None:
        """The order is: the argument, OTEL_CONFIG_FILE, the folder BRAIN_OTEL_CONFIG_DIR, the packaged file."""
        one, two, folder = (named(tmp_path / name, "test") for name in ("one", "two", "folder"))
        environ = {
            "SENTRY_ENVIRONMENT": "test",
            "BRAIN_OTEL_CONFIG_DIR": str(folder),
            "OTEL_CONFIG_FILE": str(two / "test.yaml"),
        }
        assert service_name(read_settings(environ, config_file=one / "test.yaml")) == "test of one"
        assert service_name(read_settings(environ, config_file=str(one / "test.yaml"))) == "test of one"
        assert service_name(read_settings(environ)) == "test of two"
        del environ["OTEL_CONFIG_FILE"]
        assert service_name(read_settings(environ)) == "test of folder"
        assert Path(read_settings(environ, environment="staging").source) == packaged_files() / "staging.yaml"

    def test_an_unknown_environment_uses_the_file_of_production_in_the_users_folder(self, tmp_path: Path) -> None:
        """That file comes before the packaged one."""
        folder = named(tmp_path / "folder", "production")
        read = read_settings({"BRAIN_OTEL_CONFIG_DIR": str(folder), "ENVIRONMENT": "qa"})
        assert service_name(read) == "production of folder"
        assert str(folder) in read.notices[0]

    def test_a_config_folder_in_the_working_directory_is_not_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It may be the application's own."""
        for name in ENVIRONMENTS:
            write(tmp_path / "config" / f"{name}.yaml", "not: ours")
        write(tmp_path / "pyproject.toml", "")
        monkeypatch.chdir(tmp_path)
        for name in ENVIRONMENTS:
            assert Path(read_settings({}, environment=name).source) == packaged_files() / f"{name}.yaml"


class TestPackagedFiles:
    def test_the_package_has_the_files_of_the_environments(self) -> None:
        """They are the files of config/, and no others."""
        source = ROOT / "config"
        assert sorted(
            path.stem for path in packaged_files().glob("*.yaml") if "file_format" in path.read_text()
        ) == list(ENVIRONMENTS)
        for name in ENVIRONMENTS:
            assert (packaged_files() / f"{name}.yaml").read_text() == (source / f"{name}.yaml").read_text()

    @pytest.mark.parametrize("name", ["compose", "alerts", "Test"])
    def test_an_environment_gets_no_file_of_another_program(self, name: str, tmp_path: Path) -> None:
        """A checkout has such files beside those of the environments; a folder of the user's offers any name."""
        fallback = packaged_files() / "production.yaml"
        assert Path(read_settings({}, environment=name).source) == fallback
        environ = {"BRAIN_OTEL_CONFIG_DIR": str(tmp_path)}
        assert Path(read_settings(environ, environment=name).source) == fallback
        named(tmp_path, name)
        assert service_name(read_settings(environ, environment=name)) == f"{name} of {tmp_path.name}"

    @pytest.mark.parametrize("name", ENVIRONMENTS)
    def test_each_file_is_valid(self, name: str) -> None:
        """No variable is set, or every variable is empty."""
        plain = read_settings({}, environment=name)
        template = (packaged_files() / f"{name}.yaml").read_text()
        variables = [part.partition("}")[0].partition(":")[0] for part in template.split("${")[1:]]
        assert len(variables) > 6
        assert read_settings(dict.fromkeys(variables, ""), environment=name) == plain
        assert plain.sentry is None
        assert plain.disabled is False

    @pytest.mark.parametrize(
        ("name", "traces", "profiles"),
        [("development", 1.0, 1.0), ("test", 1.0, 0.1), ("staging", 0.1, 0.1), ("production", 0.1, 0.1)],
    )
    def test_the_defaults_are_the_documented_ones(self, name: str, traces: float, profiles: float) -> None:
        """The documentation's table has these rates, personal data, debugging and release."""
        sentry = sentry_of({}, name)
        assert (sentry.traces_sample_rate, sentry.profiles_sample_rate) == (traces, profiles)
        assert (sentry.send_default_pii, sentry.debug, sentry.release) == (False, False, None)
        assert (sentry.environment, str(sentry.dsn)) == (name, DSN)

    def test_sentry_is_off_without_a_dsn(self) -> None:
        """There is neither the destination nor the propagator."""
        read = read_settings({"SENTRY_DSN": ""}, environment="production")
        assert read.sentry is None
        assert create_destinations(read) == ()
        assert read.document["propagator"]["composite"] == [{"tracecontext": None}, {"baggage": None}]
        with_dsn = read_settings({"SENTRY_DSN": DSN}, environment="production")
        assert [each.name for each in with_dsn.destinations] == ["sentry", "otlp", "otlp", "otlp"]
        assert with_dsn.document["propagator"]["composite"][-1] == {"sentry": None}

    def test_opentelemetrys_part_has_nothing_of_ours(self) -> None:
        """It has neither our block nor our destinations."""
        for name in ENVIRONMENTS:
            document = read_settings({"SENTRY_DSN": DSN}, environment=name).document
            assert "distribution" not in document
            assert document["tracer_provider"]["processors"] == []


GOOD = [
    ("SENTRY_TRACES_SAMPLE_RATE", "0", "traces_sample_rate", 0.0),
    ("SENTRY_TRACES_SAMPLE_RATE", "1", "traces_sample_rate", 1.0),
    ("SENTRY_TRACES_SAMPLE_RATE", "0.25", "traces_sample_rate", 0.25),
    ("SENTRY_TRACES_SAMPLE_RATE", ".5", "traces_sample_rate", 0.5),
    ("SENTRY_TRACES_SAMPLE_RATE", "", "traces_sample_rate", 0.1),
    ("SENTRY_PROFILES_SAMPLE_RATE", "0", "profiles_sample_rate", 0.0),
    ("SENTRY_PROFILES_SAMPLE_RATE", "1.0", "profiles_sample_rate", 1.0),
    ("SENTRY_PROFILES_SAMPLE_RATE", "1e-3", "profiles_sample_rate", 0.001),
    ("SENTRY_PROFILES_SAMPLE_RATE", "", "profiles_sample_rate", 0.1),
    *(("SENTRY_SEND_DEFAULT_PII", word, "send_default_pii", True) for word in ("true", "True", "YES", "on", "1")),
    *(("SENTRY_SEND_DEFAULT_PII", word, "send_default_pii", False) for word in ("false", "No", "OFF", "0", "")),
    ("SENTRY_DEBUG", "1", "debug", True),
    ("SENTRY_DEBUG", "off", "debug", False),
    ("SENTRY_RELEASE", "shop@1.2.3", "release", "shop@1.2.3"),
    ("SENTRY_RELEASE", "", "release", None),
    # Text that YAML would read as a number, a time or a boolean stays the name that was given.
    *(("SENTRY_RELEASE", name, "release", name) for name in ("1.10", "0123456", "1234567", "12:30", "1_0", "on")),
    *(("SENTRY_RELEASE", name, "release", name) for name in ("2026-11-03", "null", "a: #b", "0x1f", "[1]", '"')),
]

BAD_RATES = ("1.01", "-0.1", "2", "ten", "true", ".nan", ".inf", "[1]", "0,1", "10%")
BAD_BOOLEANS = ("maybe", "2", "tru", "[true]", "0.0")
BAD = [
    *(("SENTRY_TRACES_SAMPLE_RATE", value, "a number from 0 to 1") for value in BAD_RATES),
    *(("SENTRY_PROFILES_SAMPLE_RATE", value, "a number from 0 to 1") for value in BAD_RATES),
    *(("SENTRY_SEND_DEFAULT_PII", value, "true, yes, on, 1, false, no, off, 0") for value in BAD_BOOLEANS),
    *(("SENTRY_DEBUG", value, "true, yes, on, 1, false, no, off, 0") for value in BAD_BOOLEANS),
    ("OTEL_SDK_DISABLED", "maybe", "true or false"),
]

PATHS = {
    "SENTRY_TRACES_SAMPLE_RATE": "tracer_provider.sampler.parent_based.root.trace_id_ratio_based.ratio",
    "SENTRY_PROFILES_SAMPLE_RATE": "distribution.brain_otel.sentry.profiles_sample_rate",
    "SENTRY_SEND_DEFAULT_PII": "distribution.brain_otel.sentry.send_default_pii",
    "SENTRY_DEBUG": "distribution.brain_otel.sentry.debug",
    "OTEL_SDK_DISABLED": "disabled",
}


class TestVariables:
    @pytest.mark.parametrize(("variable", "value", "field", "expected"), GOOD)
    def test_a_good_value_is_read(self, variable: str, value: str, field: str, expected: Any) -> None:
        """Each variable of the table is read in every allowed form."""
        found = getattr(sentry_of({variable: value}), field)
        assert found == expected
        assert type(found) in (type(expected), float)

    @pytest.mark.parametrize("dsn", [DSN, ""])
    @pytest.mark.parametrize(("variable", "value", "allowed"), BAD)
    def test_a_bad_value_is_rejected(self, variable: str, value: str, allowed: str, dsn: str) -> None:
        """The message names the variable, the file, the key, the value and what is allowed, even without a DSN."""
        with pytest.raises(ConfigurationError) as raised:
            read_settings({variable: value, "SENTRY_DSN": dsn}, environment="staging")
        message = str(raised.value)
        assert message.startswith(f"{variable} ({packaged_files() / 'staging.yaml'}: {PATHS[variable]}) is ")
        assert f"; allowed: {allowed}" in message
        assert value.strip("[].").lower() in message.lower()
        assert "\n" not in message

    @pytest.mark.parametrize(
        "dsn",
        [
            "hunter2",
            "http://sentry.test/hunter2",
            "ftp://hunter2@sentry.test/1",
            "https://hunter2@sentry.test/",
            "https://hunter2@/1",
            "https://hunter2@sentry.test:port/1",
            "https://hunter2@[sentry.test/1",
            "https://hunter2@sentry.test/abc",
            "//hunter2@sentry.test/1",
            "https://hunter2@sentry.test:0/1",
        ],
    )
    def test_a_bad_dsn_is_rejected_and_not_shown(self, dsn: str) -> None:
        """Text that is no DSN may still be a secret."""
        assert not is_dsn(dsn)
        with pytest.raises(ConfigurationError) as raised:
            read_settings({"SENTRY_DSN": dsn}, environment="production")
        message = str(raised.value)
        assert message.startswith("SENTRY_DSN (")
        assert "distribution.brain_otel.sentry.dsn) is (masked); allowed: a DSN such as " in message
        assert "hunter2" not in message
        assert raised.value.__cause__ is None

    @pytest.mark.parametrize(
        "dsn", [DSN, "http://a:b@127.0.0.1:9000/1", "https://k@o1.ingest.us.sentry.io/2", "https://k@host/path/3"]
    )
    def test_every_form_of_a_dsn_is_accepted(self, dsn: str) -> None:
        """A DSN may have a port, a path and an old secret key."""
        assert str(sentry_of({"SENTRY_DSN": dsn}).dsn) == dsn

    @given(st.text(alphabet="https:/@.[]0123456789ab%?#", max_size=40))
    def test_sentry_sdk_accepts_every_accepted_dsn(self, text: str) -> None:
        """sentry-sdk raises no error at run time for a DSN that passed."""
        from sentry_sdk.utils import Dsn

        if is_dsn(text):
            Dsn(text)

    @pytest.mark.parametrize(("word", "expected"), [("true", True), ("false", False), ("", False)])
    def test_telemetry_can_be_disabled(self, word: str, expected: bool) -> None:
        """OTEL_SDK_DISABLED is OpenTelemetry's own variable."""
        assert read_settings({"OTEL_SDK_DISABLED": word}).disabled is expected

    def test_the_resource_has_the_service_name_and_attributes(self) -> None:
        """OTEL_SERVICE_NAME comes before the attributes, whose version is the fallback for the release."""
        environ = {
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=low,service.version=1.10,team=a b",
            "OTEL_SERVICE_NAME": "0123: x",
            "SENTRY_DSN": DSN,
        }
        read = read_settings(environ, environment="production")
        assert read.document["resource"]["attributes_list"].endswith("service.version=1.10,team=a b")
        assert service_name(read) == "0123: x"
        assert read.sentry is not None
        assert read.sentry.identity.version == ("1.10", "OTEL_RESOURCE_ATTRIBUTES")


class TestFilling:
    def attribute(self, folder: Path, value: str, environ: dict[str, str] | None = None) -> Any:
        text = f"resource:\n  attributes:\n    - {{name: service.name, value: {value}}}\n"
        return service_name(from_text(folder, text, environ))

    @pytest.mark.parametrize(
        ("template", "environ", "expected"),
        [
            ('"${A}"', {"A": "x"}, "x"),
            ('"${A:-d}"', {}, "d"),
            ('"${A:-d}"', {"A": ""}, "d"),
            ('"${A:-d}"', {"A": "x"}, "x"),
            ('"${A:-}b"', {}, "b"),
            ('"${A:-a:-b}"', {}, "a:-b"),
            ('"a${A}b${B}c"', {"A": "1", "B": "2"}, "a1b2c"),
            ('"$$"', {}, "$"),
            ('"$${A}"', {"A": "x"}, "${A}"),
            ('"$$${A}"', {"A": "x"}, "$x"),
            ('"$$$${A}"', {"A": "x"}, "$${A}"),
            ('"$A"', {"A": "x"}, "$A"),
            ('"$1A {A}"', {}, "$1A {A}"),
            ('"${env:A}"', {"A": "x"}, "x"),
            ('"${A}"', {"A": "${B}", "B": "no"}, "${B}"),
            ('"${A}"', {"A": "x: [y] # z"}, "x: [y] # z"),
            ('"${A}"', {"A": "\u00fc \U0001f600"}, "\u00fc \U0001f600"),
            ("'${A}'", {"A": "x"}, "x"),
            ('"${A}"', {"A": "7"}, "7"),
            ('"${A}"', {"A": "a\nb"}, "a\nb"),
        ],
    )
    def test_variables_are_filled_in_as_specified(
        self, tmp_path: Path, template: str, environ: dict[str, str], expected: str
    ) -> None:
        """References, defaults and escapes work. A result is not filled in again and adds no YAML structure."""
        assert self.attribute(tmp_path, template, environ) == expected

    def test_an_unquoted_value_gets_the_type_of_its_text(self, tmp_path: Path) -> None:
        """A number and a boolean keep their types; in quotes both are text."""
        text = "disabled: ${A}\nattribute_limits:\n  attribute_count_limit: ${B}\n"
        read = from_text(tmp_path, text, {"A": "true", "B": "7"})
        assert read.disabled is True
        assert read.document["attribute_limits"] == {"attribute_count_limit": 7}
        with pytest.raises(ConfigurationError, match=r"A \(.*given.yaml: disabled\) is 'true'"):
            from_text(tmp_path, 'disabled: "${A}"', {"A": "true"})

    def test_keys_and_comments_are_not_filled_in(self, tmp_path: Path) -> None:
        """Only values are filled in."""
        with pytest.raises(ConfigurationError, match=r"distribution.brain_otel.\$\{A\} is 1; allowed: the keys"):
            from_text(tmp_path, "# ${A}\ndistribution: {brain_otel: {'${A}': 1}}", {"A": "sentry"})

    def test_the_process_environment_is_not_read_if_variables_are_given(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Reading does not change the process's variables either."""
        monkeypatch.setenv("SENTRY_DSN", "no dsn")
        monkeypatch.setenv("SENTRY_ENVIRONMENT", "../x")
        monkeypatch.setenv("OTEL_CONFIG_FILE", "/nowhere")
        before = dict(os.environ)
        assert read_settings({}).environment == "development"
        assert dict(os.environ) == before

    def test_the_process_environment_is_read_by_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No variables are passed in."""
        monkeypatch.delenv("OTEL_CONFIG_FILE", raising=False)
        monkeypatch.setenv("SENTRY_ENVIRONMENT", "test")
        monkeypatch.setenv("SENTRY_DSN", DSN)
        read = read_settings()
        assert (read.environment, read.sentry is not None) == ("test", True)


class TestFile:
    def test_merge_keys_and_anchors_work(self, tmp_path: Path) -> None:
        """The shared part can have variables."""
        text = """
resource:
  attributes:
    - &base {name: service.name, value: "${A}"}
    - <<: *base
      name: service.namespace
"""
        read = from_text(tmp_path, text, {"A": "x"})
        assert read.document["resource"]["attributes"][:2] == [
            {"name": "service.name", "value": "x"},
            {"name": "service.namespace", "value": "x"},
        ]

    def test_a_key_that_begins_with_x_is_the_users(self, tmp_path: Path) -> None:
        """Anchors can be under such a top-level key."""
        sampler = "{trace_id_ratio_based: {ratio: *rate}}"
        text = f"x-rate: &rate 0.5\ntracer_provider: {{processors: [{{memory: }}], sampler: {sampler}}}"
        provider = from_text(tmp_path, text).document["tracer_provider"]
        assert provider["sampler"] == {"trace_id_ratio_based": {"ratio": 0.5}}

    def test_a_file_may_be_json(self, tmp_path: Path) -> None:
        """OpenTelemetry's declarative format allows it."""
        path = write(tmp_path / "given.json", '{"file_format": "1.1", "disabled": true}')
        assert read_settings({}, config_file=path).disabled is True

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("resource: &a [*a]", "contains itself"),
            ("resource: &a {attributes: *a}", "contains itself"),
            ("disabled: [", "cannot be parsed"),
            ("disabled: !!python/object/apply:os.getcwd []", "cannot be parsed"),
            ("disabled: *nowhere", "cannot be parsed"),
            ("? [a]\n: b", "cannot be parsed"),
            ("a: " + "[" * 100 + "]" * 100, "nested deeper than 64 levels"),
            ("---\na: 1", "cannot be parsed"),
            ("disabled: \x00", "cannot be parsed"),
            ("disabled: 0000-99-99", "cannot be parsed"),
        ],
    )
    def test_bad_yaml_is_rejected(self, tmp_path: Path, text: str, expected: str) -> None:
        """The message has the file's name and the reason in one line."""
        with pytest.raises(ConfigurationError, match=r"given\.yaml") as raised:
            from_text(tmp_path, text)
        assert expected in str(raised.value)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "is empty"),
            (b"# nothing\n", "is empty"),
            (b"- 1\n", "holds a list; allowed: a mapping"),
            (b"hello\n", "holds a str; allowed: a mapping"),
            (b"\xff\xfe\x00", "is not UTF-8 text"),
            (b"a: \xe9\n", "is not UTF-8 text"),
            (b"#" * 1_000_001, "is larger than 1000000 bytes"),
            (b"disabled: false\n", "the top level is .*; allowed: a mapping with .*file_format"),
        ],
    )
    def test_a_file_that_is_no_configuration_is_rejected(self, tmp_path: Path, content: bytes, expected: str) -> None:
        """It is empty, no mapping, not text, too large, or not of the format."""
        path = tmp_path / "given.yaml"
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=expected) as raised:
            read_settings({}, config_file=path)
        assert str(path) in str(raised.value)

    @pytest.mark.parametrize(("name", "reason"), [("missing.yaml", "No such file"), ("folder", "Is a directory")])
    def test_a_file_that_cannot_be_read_is_an_error(self, tmp_path: Path, name: str, reason: str) -> None:
        """No other file replaces one that the user names."""
        (tmp_path / "folder").mkdir()
        for environ, argument in (({}, tmp_path / name), ({"OTEL_CONFIG_FILE": str(tmp_path / name)}, None)):
            with pytest.raises(ConfigurationError, match=reason) as raised:
                read_settings(environ, config_file=argument)
            assert str(tmp_path / name) in str(raised.value)

    def test_an_alias_bomb_is_cheap(self, tmp_path: Path) -> None:
        """Each shared node is visited once."""
        levels = "".join(f"  - &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 30))
        with pytest.raises(ConfigurationError, match="aliases unfold to more than 100000 values"):
            from_text(tmp_path, "x-own:\n  - &l0 [x]\n" + levels)

    @pytest.mark.parametrize(
        ("text", "place", "allowed"),
        [
            ("distribution: {brain_otel: {sentri: {}}}", "distribution.brain_otel.sentri", "sentry, instrumentation"),
            ("distribution: {brain_otel: 7}", "distribution.brain_otel is 7", "a mapping"),
            (
                "distribution: {brain_otel: {sentry: {rate: 1}}}",
                "distribution.brain_otel.sentry.rate",
                "dsn, release",
            ),
            (
                "distribution: {brain_otel: {sentry: [1]}}",
                "distribution.brain_otel.sentry is a list of 1",
                "a mapping",
            ),
            ("distribution: {brain_otel: {instrumentation: {flaks: 1}}}", "instrumentation.flaks", "fastapi"),
            ("distribution: {brain_otel: {instrumentation: {flask: [1]}}}", "flask", "true, false or a mapping"),
            ("distribution: {brain_otel: {instrumentation: {others: seven}}}", "others", "true, false or a list"),
            ("distribution: {brain_otel: {instrumentation: {others: [flaks]}}}", "others.0", "installed: "),
            ("distribution: {brain_otel: {instrumentation: {fastapi: other}}}", "fastapi", "contrib, native, off"),
            ("distribution: {brain_otel: {instrumentation: {redis: maybe}}}", "redis", "true, yes, on"),
            ("distribution: {brain_otel: {instrumentation: {httpx: {}}}}", "httpx", "true, yes, on"),
            ("distribution: 7", "distribution", "a mapping"),
            ("trace_provider: {}", "trace_provider is an empty mapping", "the keys file_format, disabled"),
            ("tracer_provider: {processors: [{senty: {}}]}", "tracer_provider.processors.0", "sentry_otlp, simple"),
            ("tracer_provider: {processors: [sentry]}", "tracer_provider.processors.0", "a mapping"),
            ("tracer_provider: {processors: [{}]}", "tracer_provider.processors.0", "exactly one of batch, simple"),
            ("tracer_provider: {processors: 7}", "tracer_provider.processors", "a list"),
            ("resource: {attributes: [{value: x}]}", "resource.attributes.0", "missing: name"),
            ("disabled: 1", "disabled is 1", "true or false"),
        ],
    )
    def test_an_unknown_key_or_a_wrong_type_is_rejected(
        self, tmp_path: Path, text: str, place: str, allowed: str
    ) -> None:
        """The message names the place and what is allowed there."""
        with pytest.raises(ConfigurationError) as raised:
            from_text(tmp_path, text)
        message = str(raised.value)
        assert place in message
        assert allowed in message.partition("; allowed: ")[2]
        assert str(tmp_path / "given.yaml") in message

    def test_secrets_of_a_file_are_not_shown(self, tmp_path: Path) -> None:
        """The message shows neither a DSN in the file nor an exporter's headers."""
        for text in (
            "distribution: {brain_otel: {sentry: {dsn: hunter2}}}",
            "distribution: {brain_otel: {sentry: {dsn: [hunter2]}}}",
            "tracer_provider: {processors: [{batch: {exporter: {otlp_http: {headers: hunter2}}}}]}",
        ):
            with pytest.raises(ConfigurationError, match=r"is \(masked\)") as raised:
                from_text(tmp_path, text)
            assert "hunter2" not in str(raised.value)

    def test_a_whole_block_with_a_secret_in_it_is_not_shown(self, tmp_path: Path) -> None:
        """The message about a wrong key beside a DSN does not show the DSN."""
        for text in (
            f"distribution: {{brain_otel: [{{sentry: {{dsn: '{DSN}'}}}}]}}",
            f"distribution: {{brain_otel: {{sentri: {{dsn: '{DSN}'}}}}}}",
            f"distributions: {{brain_otel: {{sentry: {{dsn: '{DSN}'}}}}}}",
            "tracer_provider: {processors: [{batch: {exporter: {otlp_http: {header: [{value: 'public@'}]}}}}]}",
        ):
            with pytest.raises(ConfigurationError) as raised:
                from_text(tmp_path, text)
            assert "public@" not in str(raised.value)

    @pytest.mark.parametrize(
        ("value", "expected"), [("contrib", "contrib"), ("native", "native"), ("off", "off"), ("false", "off")]
    )
    def test_fastapi_can_be_chosen(self, tmp_path: Path, value: str, expected: str) -> None:
        """`off` is one of the words, although YAML reads it as false."""
        read = from_text(tmp_path, f"distribution: {{brain_otel: {{instrumentation: {{fastapi: {value}}}}}}}")
        assert read.instrumentation.fastapi == expected

    def test_each_library_can_be_turned_off(self, tmp_path: Path) -> None:
        """The others keep their defaults."""
        text = "distribution: {brain_otel: {instrumentation: {redis: off, sqlalchemy_connect_spans: yes}}}"
        chosen = from_text(tmp_path, text).instrumentation
        assert (chosen.redis, chosen.sqlalchemy_connect_spans) == (False, True)
        assert (chosen.httpx, chosen.sqlalchemy, chosen.asyncio, chosen.fastapi) == (True, True, True, "contrib")

    def test_a_destination_gets_its_options(self, tmp_path: Path) -> None:
        """Destinations are in the order of the file, each with the values under its name."""
        text = "tracer_provider: {processors: [{memory: }, {console: {a: 1}}]}"
        read = from_text(tmp_path, text)
        assert [(each.name, each.values) for each in read.destinations] == [
            ("memory", {}),
            ("console", {"a": 1}),
        ]


class TestOpenTelemetrysPart:
    def test_the_files_own_environment_attribute_stays(self) -> None:
        """A list of pairs counts too."""
        environ = {"OTEL_RESOURCE_ATTRIBUTES": "team=ops,deployment.environment.name=prod-eu"}
        read = read_settings(environ, environment="production")
        names = [each["name"] for each in read.document["resource"]["attributes"]]
        assert "deployment.environment.name" not in names

    def test_an_empty_environment_attribute_is_replaced(self) -> None:
        """An empty value counts as none in a list of pairs too."""
        environ = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=,team=ops"}
        read = read_settings(environ, environment="production")
        found = [each["value"] for each in read.document["resource"]["attributes"] if "deployment" in each["name"]]
        assert found == ["production"]

    def test_the_repr_of_settings_has_no_secret(self) -> None:
        """Settings may be logged."""
        environ = {"SENTRY_DSN": "http://hunter2@127.0.0.1:9/1", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=hunter2"}
        read = read_settings(environ, environment="staging")
        assert "hunter2" not in repr(read)
        assert not any(name.startswith("x-") for name in read.document)


class TestRate:
    @pytest.mark.parametrize(
        ("sampler", "expected"),
        [
            ("", 1.0),
            ("{always_on: }", 1.0),
            ("{always_off: }", 0.0),
            ("{trace_id_ratio_based: {ratio: 0.25}}", 0.25),
            ("{trace_id_ratio_based: }", 1.0),
            ("{parent_based: }", 1.0),
            ("{parent_based: {root: {always_off: }}}", 0.0),
            ("{parent_based: {root: {parent_based: {root: {trace_id_ratio_based: {ratio: 0.5}}}}}}", 0.5),
            ("{of_another_package: {ratio: 0.5}}", 1.0),
        ],
    )
    def test_the_rate_is_that_of_the_files_sampler(self, tmp_path: Path, sampler: str, expected: float) -> None:
        """A file without a sampler records every trace, as OpenTelemetry's SDK does."""
        provider = f"{{processors: [{{sentry: }}], sampler: {sampler}}}" if sampler else "{processors: [{sentry: }]}"
        block = f"distribution: {{brain_otel: {{sentry: {{dsn: '{DSN}'}}}}}}"
        sentry = from_text(tmp_path, f"tracer_provider: {provider}\n{block}").sentry
        assert sentry is not None
        assert sentry.traces_sample_rate == expected


class TestProvenance:
    def test_an_error_names_the_variable_if_there_is_one(self, tmp_path: Path) -> None:
        """A value without a variable is the file's own, even beside one with a variable."""
        path = write(tmp_path / "given.yaml", TOP + "resource: {attributes_list: '${A}${B}', schema_url: x}")
        document = read_document(path, {})
        filled = document.error(("resource", "attributes_list"), "v", "w")
        assert str(filled) == f"A ({path}: resource.attributes_list) is 'v'; allowed: w"
        assert str(document.error(("resource", "schema_url"), "v", "w")).startswith(
            f"{path}: resource.schema_url is "
        )

    def test_one_secret_variable_of_several_masks_the_value(self, tmp_path: Path) -> None:
        """It need not be the first."""
        text = "resource: {schema_url: 'http://${HOST}/${MY_TOKEN}'}"
        document = read_document(write(tmp_path / "given.yaml", TOP + text), {"HOST": "h", "MY_TOKEN": "x"})
        message = str(document.error(("resource", "schema_url"), "http://h/x", "w"))
        assert message == f"HOST ({tmp_path}/given.yaml: resource.schema_url) is (masked); allowed: w"

    def test_the_source_is_the_file_that_was_read(self, tmp_path: Path) -> None:
        """Messages and `brain-otel config` show it."""
        assert from_text(tmp_path, "").source == str(tmp_path / "given.yaml")

    def test_a_long_value_is_shortened(self, tmp_path: Path) -> None:
        """The message stays readable."""
        with pytest.raises(ConfigurationError) as raised:
            from_text(tmp_path, "disabled: '" + "x" * 5_000 + "'")
        assert len(str(raised.value).replace(str(tmp_path), "")) < 300


class TestSettings:
    def test_a_secret_is_never_shown(self) -> None:
        """Only `str()` returns it: not `repr()`, nor that of an object that holds it, nor `!r`."""
        secret = Secret("hunter2")
        read = read_settings({"SENTRY_DSN": "https://hunter2@sentry.test/1"}, environment="production")
        for shown in (repr(secret), f"{secret!r}", repr([secret]), repr(read), repr(read.sentry), f"{read!s}"):
            assert "hunter2" not in shown
        assert str(secret) == "hunter2"
        assert secret == Secret("hunter2") != Secret("other")
        assert secret != "hunter2"
        assert hash(secret) == hash(Secret("hunter2"))
        assert pickle.loads(pickle.dumps(copy.deepcopy(secret))) == secret

    def test_settings_are_frozen(self) -> None:
        """Assigning to a field raises."""
        read = read_settings({})
        with pytest.raises(AttributeError):
            read.environment = "other"  # type: ignore[misc]

    def test_reading_needs_no_heavy_imports(self) -> None:
        """Reading settings imports neither sentry-sdk nor FastAPI."""
        code = """
import sys
from brain_otel.configuration.loading import read_settings
read_settings({"SENTRY_DSN": "https://a@b/1"})
print([name for name in ("sentry_sdk", "fastapi") if name in sys.modules])
"""
        done = run_python(code)
        assert (done.stdout.strip(), done.stderr) == ("[]", "")

    def test_the_installed_package_has_the_schema(self) -> None:
        """A pin: upstream keeps its schema at the place where we read it."""
        assert (resources.files("opentelemetry.configuration") / "schema.json").is_file()


ODD = """
plain: ${A}
quoted: "${A}"
single: '${NUMBER}'
number: ${NUMBER}
literal: |
  ${A} and
  ${B:-more}
folded: >-
  ${A}
  line
base: &base {on: yes, off: ~, 1: 2}
merged: {<<: *base, on: no}
again: *base
date: 2026-11-26
text: héllo ✓ \U0001f600
list: [a, "b", 'c', 1.5, 0x10, 1e3, .inf]
"""


@pytest.mark.parametrize("name", [*(f"{name}.yaml" for name in ENVIRONMENTS), "odd"])
def test_a_file_is_read_the_same_without_libyaml(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may be built without it. Values and their variables are the same."""
    path = packaged_files() / name
    if name == "odd":
        path = tmp_path / "odd.yaml"
        path.write_text(ODD, encoding="utf-8")
    environ = {"A": "yes", "NUMBER": "7", "SENTRY_DSN": "https://key@sentry.test/1"}
    monkeypatch.setattr(known_files, "_trees", dict)
    found = []
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        monkeypatch.setattr(yaml_nodes, "_LOADERS", (loader,))
        read = read_document(path, environ)
        found.append((read.data, {key: read.variable(key) for key in nodes(read.data)}))
    assert repr(found[0]) == repr(found[1])
    assert read.data


def test_a_file_that_libyaml_rejects_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is a key without a value in brackets, as lists of propagators have it."""
    path = tmp_path / "given.yaml"
    path.write_text("composite: [tracecontext:, baggage:]")
    assert read_document(path, {}).data == {"composite": [{"tracecontext": None}, {"baggage": None}]}
    monkeypatch.setattr(yaml_nodes, "_LOADERS", (yaml.CSafeLoader,))
    with pytest.raises(ConfigurationError, match=r"cannot be parsed: .*unexpected ':'"):
        read_document(path, {})


BROKEN = ["a: [1, 2", "a: b: c", "a: *missing", "\tb: 1", "[" * 2_000, "a: !!python/none x"]


@pytest.mark.parametrize("text", quick_first(BROKEN))
def test_the_error_for_a_broken_file_is_pyyamls(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the same with and without libyaml."""
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    found = []
    for loaders in (yaml_nodes._LOADERS, (yaml.SafeLoader,)):
        monkeypatch.setattr(yaml_nodes, "_LOADERS", loaders)
        with pytest.raises(
            ConfigurationError, match=r"broken.yaml cannot be parsed: .*; allowed: YAML or JSON"
        ) as it:
            read_document(path, {})
        found.append(str(it.value))
    assert len(set(found)) == 1


def nodes(value: Any, key: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the keys of every value of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [key, *(each for name, inner in items for each in nodes(inner, (*key, name)))]


WHOLE = yaml.safe_load((packaged_files() / "test.yaml").read_text())
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)


KEY = "0123456789abcdef0123456789abcdef"
SECRETS = st.sampled_from(
    [f"https://{KEY}@o1.ingest.sentry.io/42", f"http://shop:{KEY}@collector:4318", f"Bearer {KEY}", KEY]
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(nodes(WHOLE)[1:]), secret=SECRETS, kind=st.sampled_from(["value", "key", "item", "inner"]))
def test_no_error_shows_a_secret(tmp_path: Path, key: tuple[Any, ...], secret: str, kind: str) -> None:
    """The secret may be a value, a key, in a list or in a mapping, at any place of the file."""
    data = copy.deepcopy(WHOLE)
    parent = data
    for part in key[:-1]:
        parent = parent[part]
    values = {"value": secret, "item": [secret], "inner": {"dns": secret}}
    if kind != "key":
        parent[key[-1]] = values[kind]
    elif isinstance(parent, dict):
        parent[secret] = parent.pop(key[-1])
    path = write(tmp_path / "given.yaml", yaml.safe_dump(data, allow_unicode=True))
    try:
        create_destinations(read_settings({}, config_file=path))
    except ConfigurationError as raised:
        assert KEY not in "".join(traceback.format_exception(raised))  # noqa: PT017  # some are no mistakes


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(nodes(WHOLE)[1:]), value=ANYTHING, add=st.booleans())
def test_a_file_is_read_or_raises_a_configuration_error(
    tmp_path: Path, key: tuple[Any, ...], value: Any, add: bool
) -> None:
    """Whatever value is at whatever place, no other exception is raised."""
    data = copy.deepcopy(WHOLE)
    parent = data
    for part in key[:-1]:
        parent = parent[part]
    if add and isinstance(parent, list):
        parent.append(value)
    elif add:
        parent["added"] = value
    else:
        parent[key[-1]] = value
    path = write(tmp_path / "given.yaml", yaml.safe_dump(data, allow_unicode=True))
    try:
        read_settings({"SENTRY_DSN": DSN}, config_file=path)
    except ConfigurationError as raised:
        assert "; allowed: " in str(raised)  # noqa: PT017  # most examples are raised, some are not
