"""The packaged environments are read as PyYAML reads them, without PyYAML."""

import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from brain_otel.configuration import known_files
from brain_otel.configuration.document import leaves, read_document
from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.file_choice import PACKAGED, packaged_files
from brain_otel.configuration.yaml_nodes import parse
from tests.configuration.known_files import FILE, known
from tests.support import ROOT
from tests.support.process import run_python

RATE = "SENTRY_TRACES_SAMPLE_RATE"

VALUES = [
    *("0", "1", "10", "007", "1_000", "0x1f", "0b1", "1:30", "-1", "+1", "1.", ".5", "0.25", "00.5", "1e3", "1.0e+3"),
    *("", "~", "null", "NuLL", "yes", "Yes", "yEs", "no", "NO", "on", "Off", "TRUE", "false", "y", "n", "nothing"),
    *("<<", "=", "2026-11-29", ".inf", "-.INF", ".nan", "-", "--", "+.", "1.2.3", "٣", "1٣", " 1", "1 ", "a: b"),
    *(
        "0.5.",
        "1,5",
        "#",
        "!",
        "&",
        "*",
        "!a",
        "[1]",
        "'1'",
        '"a"',
        "%",
        "@",
        "`",
        "|",
        ">",
        "?",
        "a\nb",
        "$",
        "${A}",
    ),
]


def read(name: str, environ: dict[str, str]) -> str:
    """The values of a packaged file and their variables, or the error."""

    def reader() -> tuple[Any, Any]:
        document = read_document(packaged_files() / f"{name}.yaml", environ)
        return document.data, document.variables

    return described(reader)


def read_as_yaml(name: str, environ: dict[str, str]) -> str:
    path = packaged_files() / f"{name}.yaml"
    return described(lambda: parse(str(path), path.read_text(), environ))


def described(reader: Callable[[], tuple[Any, Any]]) -> str:
    try:
        data, variables = reader()
    except ConfigurationError as error:
        return str(error)
    return repr((data, [variables(key) for key, _ in leaves(data)]))


def test_the_known_files_are_the_packaged_ones() -> None:
    assert FILE.read_text() == known(), "run python -m tests.configuration.known_files"


@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_file_is_read_as_any_other(name: str) -> None:
    """Its values, their types, and the variables that gave them, whatever the variables have."""
    chance = random.Random(7)
    names = sorted(set(re.findall(r"\$\{(\w+)", (packaged_files() / f"{name}.yaml").read_text())))
    for _ in range(20):
        environ = {each: chance.choice(VALUES) for each in names}
        assert read(name, environ) == read_as_yaml(name, environ), environ


def test_a_variable_has_the_type_that_it_has_in_yaml() -> None:
    for value in VALUES:
        assert read("production", {RATE: value}) == read_as_yaml("production", {RATE: value}), value


def test_an_edited_file_is_parsed(tmp_path: Any) -> None:
    text = (packaged_files() / "production.yaml").read_text()
    own = tmp_path / "production.yaml"
    own.write_text(text.replace("shipper: process", "shipper: thread"))
    edited = read_document(own, {})
    assert edited.get("distribution", "brain_otel", "delivery", "shipper") == "thread"
    assert known_files.read(own.read_bytes(), {}) is None
    own.write_text(text)
    assert known_files.read(own.read_bytes(), {}) is not None


@pytest.mark.thorough
def test_a_packaged_environment_needs_no_parser() -> None:
    script = "import sys, brain_otel; brain_otel.setup(environment='production'); print('yaml' in sys.modules)"
    done = run_python(script, {"SENTRY_TRACES_SAMPLE_RATE": "0.25"}, pythonpath=[ROOT], fresh=True)
    assert done.stdout == "False\n", done.stderr
