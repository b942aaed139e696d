"""The documentation's examples run, and its tables agree with the code."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from opentelemetry import environment_variables as api_variables
from opentelemetry.instrumentation import environment_variables as launcher_variables
from opentelemetry.sdk import environment_variables as sdk_variables
from opentelemetry.util.genai import environment_variables as genai_variables
from typer.main import get_group

from brain_otel import cli
from brain_otel.configuration.destinations import read_destinations, replace_destinations
from brain_otel.configuration.document import Document
from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.options import Options
from brain_otel.configuration.sections.errors import ErrorSettings
from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.configuration.sections.sampling import RuleSettings, TailSettings
from brain_otel.configuration.sections.sentry import SentrySettings
from brain_otel.destinations.destination import create_destination
from tests.privacy.test_planted_secrets import PLANTED
from tests.service.test_linking import CASES
from tests.support import ROOT
from tests.support.process import PROGRAMS, Server, free_port, run_python
from tests.support.tiers import quick_first
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.ingest import SentryIngest

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README, *_ = PAGES
BENCHMARKS, CONFIGURATION, DESTINATIONS, RECIPES, SAMPLING, SUPPORTED = (
    ROOT / "docs" / f"{name}.md"
    for name in ("benchmarks", "configuration", "destinations", "recipes", "sampling", "supported")
)
FILES = sorted(path for path in (ROOT / "config").glob("*.yaml") if "file_format" in path.read_text())

VARIABLE = re.compile(r"\b(?:BRAIN_OTEL|COLLECTOR|ENVIRONMENT|OTEL|SENTRY)(?:_[A-Z0-9]+)*\b(?!_|\*)")
NOT_OURS = {
    "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS"  # contrib assembles the name
}

DSN = "https://key@sentry.test/1"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def all_blocks(language: str) -> list[Any]:
    return [
        pytest.param(block, id=f"{page.name}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page, language), 1)
    ]


def section(page: Path, heading: str) -> str:
    """Return the text under a heading, including its subsections."""
    end = f"(?=^#{{1,{heading.count('#')}}} |\\Z)"
    found = re.search(f"^{re.escape(heading)}\n(.*?){end}", page.read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{page.name} has no heading {heading!r}"
    return found[1]


def heading_starting(page: Path, start: str) -> str:
    (found,) = re.findall(f"^{re.escape(start)}.*$", page.read_text(), re.MULTILINE)
    return str(found)


def rows(text: str) -> list[list[str]]:
    """Return the cells of every row of the tables in `text`."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines if not line.startswith("| ---")]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def first_cells(text: str) -> set[str]:
    return {name for row in rows(text) for name in names(row[0])}


def kind_of(block: str) -> str:
    documents = [each for each in yaml.safe_load_all(block) if each]
    if all("apiVersion" in each and "kind" in each for each in documents):
        return "kubernetes"
    ((only),) = documents
    return "configuration" if "file_format" in only else "compose" if "services" in only else "unknown"


# -- examples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", all_blocks("python"))
@pytest.mark.thorough
def test_every_python_block_runs(block: str, ingest: SentryIngest, tmp_path: Path) -> None:
    """Each block runs in a process of its own that sends to a Sentry server; pytest runs the blocks with tests."""
    environment = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "test"}
    if "def test_" in block:
        (tmp_path / "test_block.py").write_text(block)
        code = f"import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', {str(tmp_path)!r}]))"
    else:
        code = block
    result = run_python(code, environment, timeout=60.0, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "brain_otel failed" not in result.stderr


@pytest.mark.parametrize("block", all_blocks("yaml"))
@pytest.mark.thorough
def test_every_yaml_block_is_a_complete_file(block: str, ingest: SentryIngest, tmp_path: Path) -> None:
    """`setup()` accepts every configuration file; other blocks are complete files of their kind."""
    kind = kind_of(block)
    assert kind in ("configuration", "compose", "kubernetes")
    if kind != "configuration":
        return
    (tmp_path / "given.yaml").write_text(block)
    install_the_example(tmp_path)
    code = (
        "import brain_otel\n"
        "brain_otel.setup(config_file='given.yaml')\n"
        "with brain_otel.start_transaction('documented'):\n"
        "    brain_otel.capture_message('documented')\n"
    )
    environment = {"SENTRY_DSN": ingest.dsn, "INTERNAL_TOKEN": "only trusted callers know it"}
    result = run_python(code, environment, pythonpath=[tmp_path], cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "brain_otel failed" not in result.stderr


def install_the_example(folder: Path) -> None:
    """Install the destination of docs/destinations.md: write the metadata that pip would write."""
    text = section(DESTINATIONS, "## Your own")
    (project,) = re.findall(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    (module,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    described = tomllib.loads(project)["project"]
    info = folder / f"{described['name'].replace('-', '_')}-{described['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {described['name']}\nVersion: {described['version']}\n"
    )
    lines = []
    for group, points in described["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    (folder / "slow_spans.py").write_text(module)


def test_the_example_of_a_destination_prints_slow_spans(ingest: SentryIngest, tmp_path: Path) -> None:
    """Once installed and named in a file, it prints the slow span only; Sentry receives both."""
    install_the_example(tmp_path)
    (block,) = re.findall(r"^```yaml\n(.*?)^```", section(DESTINATIONS, "## Your own"), re.DOTALL | re.MULTILINE)
    (tmp_path / "telemetry.yaml").write_text(block)
    code = (
        "import time, brain_otel\n"
        "brain_otel.setup()\n"
        "with brain_otel.start_transaction('slow one'):\n"
        "    with brain_otel.start_span('fast', 'fast one'): pass\n"
        "    time.sleep(0.02)\n"
    )
    environment = {"OTEL_CONFIG_FILE": "telemetry.yaml", "SENTRY_DSN": ingest.dsn}
    result = run_python(code, environment, pythonpath=[tmp_path], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("slow: ")] == ["slow: slow one"]
    assert [each["transaction"] for each in ingest.transactions] == ["slow one"]
    (tmp_path / "telemetry.yaml").write_text(block.replace("milliseconds: 10", "milliseconds: soon"))
    refused = run_python(code, environment, pythonpath=[tmp_path], cwd=tmp_path)
    assert "slow_spans.milliseconds is 'soon'; allowed: a number from 0 to 3600000" in refused.stderr


@pytest.mark.parametrize("preload", quick_first([False, True]), ids=["", "preload_app"])
@pytest.mark.parametrize("launcher", quick_first([False, True]), ids=["setup", "launcher"])
def test_the_recipe_for_gunicorn_runs(ingest: SentryIngest, tmp_path: Path, preload: bool, launcher: bool) -> None:
    """With the page's settings and app, the requests of all workers arrive, including the last ones."""
    app, settings = re.findall(r"^```python\n(.*?)^```", section(RECIPES, "## gunicorn"), re.DOTALL | re.MULTILINE)
    if launcher:
        app = app.replace("brain_otel.setup()\n", "")
    assert "preload_app = False" in settings
    (tmp_path / "app.py").write_text(app)
    (tmp_path / "gunicorn.conf.py").write_text(settings.replace("preload_app = False", f"preload_app = {preload}"))
    port = free_port()
    # gunicorn finds the settings in the working directory. Its control socket is one for the home directory.
    command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--no-control-socket", "app:app"]
    environment = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "production", "SENTRY_TRACES_SAMPLE_RATE": "1.0"}
    command = ["opentelemetry-instrument", *command] if launcher else command
    with Server([str(PROGRAMS / command[0]), *command[1:]], port, env=environment, cwd=tmp_path) as server:
        # gunicorn waits forever for a worker that it stops during its start, with or without brain_otel.
        until(lambda: server.output.count("ASGI server listening") >= 2)
        workers = {server.get("/pid").text for _ in range(20)}
        server.terminate(timeout=8.0)
        output = server.output
    assert [each["transaction"] for each in ingest.transactions] == ["GET /pid"] * 20, output
    assert str(server.pid) not in workers
    assert "brain_otel failed" not in output


# -- tables and names --------------------------------------------------------------------------------------------


def variables_of_files() -> set[str]:
    return {name for path in FILES for name in re.findall(r"\$\{([A-Z_]+)", path.read_text())}


@cache
def variables_of_code() -> frozenset[str]:
    """Return the variables that the package's code names, without docstrings."""
    found = set()
    for path in sorted((ROOT / "brain_otel").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and VARIABLE.fullmatch(node.value):
                found.add(node.value)
    return frozenset(found | variables_asked_for())


class Asked(dict[str, str]):
    """An environment without variables that records which names were read."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return False

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default


def variables_asked_for() -> set[str]:
    """Return the variables with assembled names, which a file without options reads."""
    asked = Asked()
    otlp: dict[str, Any] = {"otlp": {}}
    document = Document(
        "given.yaml",
        {
            "tracer_provider": {"processors": [otlp]},
            "logger_provider": {"processors": [otlp]},
            "meter_provider": {"readers": [{"periodic": {"exporter": otlp}}]},
        },
    )
    replace_destinations(document, asked, packaged=True)
    read_destinations(document, asked)
    return asked.names


def variables_of_the_collector() -> set[str]:
    paths = (ROOT / "config" / "collector").glob("*.yaml")
    return {name for path in paths for name in re.findall(r"\$\{env:([A-Z_]+)", path.read_text())}


def upstream_variables() -> set[str]:
    modules = (api_variables, genai_variables, launcher_variables, sdk_variables)
    return NOT_OURS | {name for module in modules for name in vars(module) if name.startswith("OTEL_")}


def test_variables_stand_in_one_table() -> None:
    """No page but docs/configuration.md has a table of variables."""
    for page in PAGES:
        variables = {name for name in first_cells(page.read_text()) if VARIABLE.fullmatch(name)}
        assert page == CONFIGURATION or variables == set()


def test_the_page_lists_every_variable_that_is_read() -> None:
    """The page lists the variables of config/*.yaml and of the code, and no other variable of ours."""
    cells = [cell for row in rows(section(CONFIGURATION, "## Variables")) for cell in (row[0], *row[1:3])]
    listed = {name for cell in cells for name in names(cell) if VARIABLE.fullmatch(name)}
    read = variables_of_files() | variables_of_code()
    assert {"SENTRY_DSN", "BRAIN_OTEL_CONFIG_DIR", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"} <= read
    assert read - listed == set()
    assert listed - read - upstream_variables() == set()


def test_the_page_lists_the_defaults_that_the_files_give() -> None:
    """A variable's row names its default in each file."""
    cells = {name: row[1] for row in rows(section(CONFIGURATION, "## Variables")) for name in names(row[0])}
    pairs = {pair for path in FILES for pair in re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", path.read_text())}
    assert pairs
    assert {(name, default) for name, default in pairs if f"`{default}`" not in cells[name]} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_that_a_page_names_exists(page: Path) -> None:
    """A page names no misspelt and no removed variable."""
    known = variables_of_files() | variables_of_code() | variables_of_the_collector() | upstream_variables()
    assert set(VARIABLE.findall(page.read_text())) - known - {"BRAIN_OTEL", "SENTRY", "OTEL", "COLLECTOR"} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_table_of_environments_says_what_the_files_say(path: Path) -> None:
    """The table has the destinations and rates of each environment."""
    table = section(CONFIGURATION, "## What the packaged files do")
    (row,) = [row for row in rows(table) if row[0] == f"`{path.stem}`"]
    settings = read_settings({"SENTRY_DSN": DSN}, environment=path.stem)
    for cell, signal in zip(row[1:4], ("traces", "logs", "metrics"), strict=True):
        assert names(cell) == [each.name for each in settings.destinations if each.signal == signal]
    assert settings.sentry is not None
    assert row[4:6] == [str(settings.sentry.traces_sample_rate), str(settings.sentry.profiles_sample_rate)]


def allowed_keys(error: ConfigurationError) -> set[str]:
    return set(str(error).rpartition(" the keys ")[2].split(", "))


@pytest.mark.parametrize(
    ("block", "settings"), [("sentry", SentrySettings), ("instrumentation", InstrumentationSettings)]
)
def test_the_page_lists_every_key_of_ours(block: str, settings: Any, tmp_path: Path) -> None:
    """The table has every accepted key, with the defaults of the settings."""
    file = tmp_path / "given.yaml"
    file.write_text(f'file_format: "1.1"\ndistribution: {{brain_otel: {{{block}: {{unknown: 1}}}}}}\n')
    with pytest.raises(ConfigurationError) as refused:
        read_settings({}, config_file=file)
    table = section(CONFIGURATION, "## Keys of `distribution.brain_otel`")
    listed = {row[0].strip("`"): row[1] for row in rows(table) if row[0].startswith(f"`{block}.")}
    assert set(listed) == {f"{block}.{key}" for key in allowed_keys(refused.value)}
    defaults = settings._field_defaults
    for key, cell in listed.items():
        default = defaults.get(key.removeprefix(f"{block}."))
        if isinstance(default, (bool, float, str)):
            assert cell == f"`{str(default).lower()}`", key


@pytest.mark.parametrize(
    ("page", "heading", "block", "settings"),
    [
        (CONFIGURATION, "## Errors", "errors", ErrorSettings),
        (SAMPLING, "## Rules", "sampling.rules", RuleSettings),
        (SAMPLING, "## The tail", "sampling.tail", TailSettings),
    ],
)
def test_the_page_lists_every_key_of_a_block(page: Path, heading: str, block: str, settings: Any) -> None:
    """The table has each number and boolean that is a default. The text above it has a rule's rates."""
    listed = {names(row[0])[0]: row[1] for row in rows(section(page, heading)) if names(row[0])}
    assert set(listed) | ({"rate", "per_second"} if settings is RuleSettings else set()) == {*settings._fields}
    for name, default in settings._field_defaults.items():
        if isinstance(default, (bool, float, int)) and name in listed:
            plain = int(default) if isinstance(default, float) else default
            assert listed[name] == f"`{str(plain).lower()}`"


@pytest.mark.parametrize("name", ["console", "file", "memory", "otlp", "sentry_otlp"])
def test_the_page_lists_every_option_of_a_destination(name: str, tmp_path: Path) -> None:
    """The table of its section has every accepted option."""
    settings = read_settings({"SENTRY_DSN": DSN}, environment="production")
    values = {"unknown": 1, **({"path": str(tmp_path / "traces.jsonl")} if name == "file" else {})}
    with pytest.raises(ConfigurationError) as refused:
        create_destination(Options(values, name=name), settings)
    listed = first_cells(section(DESTINATIONS, f"## {name}")) - {"option"}
    expected = set() if "allowed: no keys" in str(refused.value) else allowed_keys(refused.value)
    assert listed == expected


def test_the_page_lists_every_option_of_upstreams_processors() -> None:
    """The table has the options of OpenTelemetry's schema."""
    schema = json.loads((resources.files("opentelemetry.configuration") / "schema.json").read_text(encoding="utf-8"))
    listed = {
        names(row[0])[0]: names(row[1]) for row in rows(section(DESTINATIONS, "## batch and simple")) if names(row[0])
    }
    for kind, model in (("batch", "BatchSpanProcessor"), ("simple", "SimpleSpanProcessor")):
        assert {name for name, of in listed.items() if kind in of} == set(schema["$defs"][model]["properties"])


@pytest.mark.parametrize("command", ["config", "demo", "doctor", "ship", "spool", "view"])
def test_the_commands_on_the_pages_exist(command: str) -> None:
    """Shell blocks use only real commands and options of `brain-otel`."""
    shell = [
        line
        for page in PAGES
        for language in ("sh", "")
        for block in blocks(page, language)
        for line in block.splitlines()
    ]
    used = [line.partition(f"brain-otel {command}")[2] for line in shell if f"brain-otel {command}" in line]
    assert used
    known = {each for parameter in get_group(cli.app).commands[command].params for each in parameter.opts}
    assert {option for line in used for option in re.findall(r"--[a-z-]+", line)} - known == set()


def test_the_messages_on_the_page_are_real() -> None:
    """`setup()` rejects these values with these words."""
    text = section(CONFIGURATION, "## When a value is wrong")
    for variable, value in (("SENTRY_TRACES_SAMPLE_RATE", "2"), ("SENTRY_DSN", "nonsense")):
        with pytest.raises(ConfigurationError) as refused:
            read_settings({variable: value}, environment="production")
        message = re.sub(r"\(\S+/production\.yaml:", "(production.yaml:", str(refused.value))
        assert message in text.splitlines()


COMPARED = {
    "brain_otel": "brain_otel, spool, process",
    "sentry-sdk": "sentry-sdk, native",
    "logfire": "logfire",
    "ddtrace": "ddtrace",
}
"""The columns of the README's table, each with its row on the benchmark page."""


@pytest.mark.parametrize(
    ("row", "heading", "column"),
    [
        ("event-loop CPU", "### CPU a request", "x floor"),
        ("requests/s", "### Under uvicorn, closed loop", "requests/s"),
        ("start-up", "### Start-up, to the end", "ms"),
        ("memory added", "### CPU a request", "MiB"),
    ],
)
def test_the_figures_in_the_readme_are_the_measured_ones(row: str, heading: str, column: str) -> None:
    """The README's comparison repeats figures of the benchmark page."""
    header, *lines = rows(section(README, "## How it compares"))
    (compared,) = [line for line in lines if line[0].startswith(row)]
    columns, *measured = rows(section(BENCHMARKS, heading_starting(BENCHMARKS, heading)))
    figures = {line[0]: line[columns.index(column)] for line in measured}
    assert dict(zip(header[1:], compared[1:], strict=True)) == {
        name: figures[variant] for name, variant in COMPARED.items()
    }


@pytest.mark.parametrize("page", [README, BENCHMARKS], ids=lambda page: page.name)
def test_a_ratio_in_the_text_is_a_measured_one(page: Path) -> None:
    """Every figure with two decimals in the text is in a table of the benchmark page."""
    figures = {cell for row in rows(section(BENCHMARKS, "## Figures")) for cell in row}
    said = set(re.findall(r"\b[01]\.\d\d\b", page.read_text().partition("## Figures")[0])) - {"1.00"}
    assert said
    assert said - figures == set()


def test_the_counts_in_the_readme_are_those_of_the_tests() -> None:
    """The number of ways to report an error, and of planted secrets."""
    text = " ".join(README.read_text().split())
    assert f"The tests cover {sum(bool(case.events) for case in CASES)} ways to report an error" in text
    assert f"{len(PLANTED)} secrets that the tests plant" in text


def test_the_supported_python_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    python = {row[0]: row[1] for row in rows(section(SUPPORTED, "## Python and operating systems"))}["CPython"]
    assert f">={python.removesuffix(' or later')}" == project["requires-python"]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_have_targets(page: Path) -> None:
    """Every relative link names an existing file and, if it has an anchor, a heading in it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        found = page.parent / name if name else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_page_is_linked_from_the_readme() -> None:
    """The README links to each page under docs/."""
    text = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []
