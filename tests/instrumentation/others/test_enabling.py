"""What is installed is used, when its library is imported, as the file and the environment say."""

from pathlib import Path

import pytest

from tests.instrumentation.process import run_traced
from tests.support.tiers import quick_first

INSTRUMENTOR = """
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
print("imported NAME")
import NAME
class Instrumentor(BaseInstrumentor):
    def __init__(self, color=None): self.color = color
    def instrumentation_dependencies(self): return ["NAME"]
    def _instrument(self, **options): print("enabled NAME", self.color, sorted(options.items()))
    def _uninstrument(self, **options): print("disabled NAME")
"""


def plant(folder: Path, name: str, *, wanted: str = "", version: str = "1.0", as_name: str = "") -> None:
    """Install a library, and an instrumentor of it that needs what `wanted` says."""
    (folder / f"{name}.py").write_text("")
    _install(folder, name, version, "", f"{name}.py,,\n")
    requires = f'Provides-Extra: instruments\nRequires-Dist: {name}{wanted}; extra == "instruments"\n'
    offers = f"[opentelemetry_instrumentor]\n{as_name or name} = planted_{name}:Instrumentor\n"
    (folder / f"planted_{name}.py").write_text(INSTRUMENTOR.replace("NAME", name))
    planted = _install(folder, f"planted-{name}", "0.1", requires, "")
    (planted / "entry_points.txt").write_text(offers)


def _install(folder: Path, name: str, version: str, requires: str, record: str) -> Path:
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
    (place / "RECORD").write_text(record)
    return place


def configured(folder: Path, block: str) -> dict[str, str]:
    """Return the variables with which a file has `block` below `instrumentation`."""
    place = folder / "file.yaml"
    place.write_text(
        'file_format: "1.1"\ntracer_provider:\n  processors:\n    - sentry: {}\ndistribution:\n  brain_otel:\n'
        "    sentry: {dsn: '${SENTRY_DSN}'}\n    instrumentation:\n      " + block + "\n"
    )
    return {"OTEL_CONFIG_FILE": str(place)}


def output_of(folder: Path, code: str, env: dict[str, str] | None = None, *, launcher: bool = False) -> list[str]:
    start = "" if launcher else "import brain_otel; brain_otel.setup(); print('set up')\n"
    output = run_traced(start + code, env, launcher=launcher, pythonpath=(folder,)).output
    return [line for line in output.splitlines() if "configurator" not in line]


BEFORE_AND_AFTER = "import early\nimport brain_otel; brain_otel.setup(); print('set up')\nimport late; print('end')\n"


@pytest.mark.parametrize("launcher", quick_first([False, True]))
def test_an_instrumentor_begins_when_its_library_is_imported(tmp_path: Path, launcher: bool) -> None:
    """Before or after set-up, once, and never for a library that nobody imports."""
    for name in ("early", "late", "never"):
        plant(tmp_path, name)
    env = configured(tmp_path, "late: {color: red, size: 3}")
    output = run_traced(BEFORE_AND_AFTER, env, launcher=launcher, pythonpath=(tmp_path,)).output.splitlines()
    lines = [line for line in output if "configurator" not in line]
    early, late = ["imported early", "enabled early None []"], ["imported late", "enabled late red [('size', 3)]"]
    assert lines == [*early, "set up", *late, "end"]


@pytest.mark.parametrize(
    ("block", "env", "enabled"),
    [
        ("others: true", {}, ["one", "two"]),
        *quick_first(
            [
                ("others: false", {}, []),
                ("others: [two]", {}, ["two"]),
                ("others: [two, one]", {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "zero, two"}, ["one"]),
                ("others: true", {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}, []),
                ("one: false", {}, ["two"]),
                ("{others: false, one: {}}", {}, ["one"]),
            ],
            2,
        ),
    ],
)
def test_the_file_and_the_variable_choose(
    tmp_path: Path, block: str, env: dict[str, str], enabled: list[str]
) -> None:
    plant(tmp_path, "one")
    plant(tmp_path, "two")
    lines = output_of(tmp_path, "import one, two", configured(tmp_path, block) | env)
    assert [line.split()[1] for line in lines if line.startswith("enabled")] == enabled


def test_a_version_that_is_not_supported_is_said_once_with_the_remedy(tmp_path: Path) -> None:
    """When the library is imported; nothing is said of one that is not."""
    plant(tmp_path, "old", wanted=">=2.0")
    plant(tmp_path, "unused", wanted=">=2.0")
    lines = output_of(tmp_path, "import old; print('end')")
    said = [line for line in lines if "is not observed" in line]
    assert said == ["old is not observed: planted-old 0.1 wants old>=2.0 and finds old 1.0; pip install 'old>=2.0'"]


def test_the_application_may_enable_an_instrumentor_anew(tmp_path: Path) -> None:
    """With options of its own it takes the place of ours; without any, nothing changes and nothing is said."""
    plant(tmp_path, "one")
    code = "import one, planted_one as p\np.Instrumentor().instrument()\np.Instrumentor().instrument(size=7)\n"
    lines = output_of(tmp_path, code)
    assert lines == [
        "set up",
        "imported one",
        "enabled one None []",
        "disabled one",
        "enabled one None [('size', 7)]",
    ]


def test_an_instrumentor_that_imports_its_library_first_is_enabled_once(tmp_path: Path) -> None:
    plant(tmp_path, "one")
    lines = output_of(tmp_path, "import planted_one; print('end')")
    assert lines == ["set up", "imported one", "enabled one None []", "end"]


def test_two_packages_for_one_library_are_one_instrumentor(tmp_path: Path) -> None:
    plant(tmp_path, "one", as_name="shared")
    plant(tmp_path, "two", as_name="shared")
    lines = output_of(tmp_path, "import one, two")
    assert [line for line in lines if line.startswith("enabled")] == ["enabled one None []"]
    assert (
        lines.count("shared is instrumented by planted_one:Instrumentor, not also by planted_two:Instrumentor") == 1
    )


def test_a_library_that_brings_its_own_instrumentor_is_waited_for(tmp_path: Path) -> None:
    """It names no library and does not need OpenTelemetry, so the library is itself."""
    (tmp_path / "own.py").write_text("print('imported own')")
    (tmp_path / "own_instrumentor.py").write_text(INSTRUMENTOR.replace("NAME", "own"))
    planted = _install(tmp_path, "own", "1.0", "Requires-Dist: packaging\n", "own.py,,\n")
    (planted / "entry_points.txt").write_text("[opentelemetry_instrumentor]\nown = own.part:Instrumentor\n")
    assert output_of(tmp_path, "print('end')") == ["set up", "end"]


def test_an_instrumentor_that_fails_is_one_line(tmp_path: Path) -> None:
    plant(tmp_path, "one")
    with (tmp_path / "planted_one.py").open("a") as file:
        file.write("    def _instrument(self, **options): raise ValueError('planted')\n")
    lines = output_of(tmp_path, "import one; print('end')")
    assert [line for line in lines if "brain_otel failed while enabling the instrumentor one" in line]
    assert "end" in lines


def test_a_library_of_ours_is_left_out_by_the_variable() -> None:
    code = """
import brain_otel; brain_otel.setup()
import sqlalchemy
with brain_otel.start_transaction("work", op="task"), sqlalchemy.create_engine("sqlite://").connect() as connection:
    connection.execute(sqlalchemy.text("SELECT 1"))
"""
    outcome = run_traced(code, {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "sqlalchemy,sqlite3"})
    assert outcome.spans("work") == []


def test_a_driver_makes_the_span_where_sqlalchemy_makes_none() -> None:
    """The outer layer stays only if it is observed."""
    code = """
import brain_otel; brain_otel.setup()
import sqlalchemy
with brain_otel.start_transaction("work", op="task"), sqlalchemy.create_engine("sqlite://").connect() as connection:
    connection.execute(sqlalchemy.text("SELECT 1"))
"""
    outcome = run_traced(code, {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "sqlalchemy"})
    latest = outcome.spans("work")[-1]
    assert (latest["description"], latest["origin"]) == ("SELECT ?", "auto.db.otel.sqlite3")
