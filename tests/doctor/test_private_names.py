"""The private names of other packages that the doctor uses, and what it does without them."""

import json
from pathlib import Path

import pytest

from tests.doctor.shop import APP, SETUP
from tests.support import ROOT
from tests.support.private_names import PrivateName, run_renamed
from tests.support.process import run_python
from tests.support.tiers import quick_one_of_each

INSPECTION = "brain_otel/doctor/dry_run.py"
TESTS = "tests/doctor/checks/test_application.py"

PRIVATE_NAMES = (
    PrivateName(
        name="fastapi.applications.FastAPI._telemetry",
        used_in=(INSPECTION,),
        purpose="reads the options of `FastAPI(telemetry=...)`, which have no public name",
        pinned_by=f"{TESTS}::test_native_options_beside_contrib_are_a_warning",
    ),
    PrivateName(
        name="opentelemetry.instrumentation._semconv._get_semconv_opt_in_modes",
        used_in=(INSPECTION,),
        purpose="tells which semantic conventions contrib's instrumentations chose",
        pinned_by=f"{TESTS}::test_an_instrumentor_used_before_setup_keeps_the_old_names",
    ),
    PrivateName(
        name="opentelemetry.instrumentation._semconv._OpenTelemetryStabilitySignalType",
        used_in=(INSPECTION,),
        purpose="names the signals for the function above",
        pinned_by=f"{TESTS}::test_an_instrumentor_used_before_setup_keeps_the_old_names",
    ),
)


@pytest.mark.parametrize(
    "name", quick_one_of_each(lambda name: name.package, PRIVATE_NAMES), ids=lambda name: name.identifier
)
def test_an_inspection_succeeds_without_the_name(name: PrivateName, tmp_path: Path) -> None:
    """The doctor does not see what the name would tell, and reports everything else."""
    assert name.exists()
    (tmp_path / "shop.py").write_text(SETUP + APP)
    code = "from brain_otel.doctor.dry_run import main\nmain('report', '20', 'shop:app', '')\n"
    result = run_python(run_renamed([name], code), cwd=tmp_path, pythonpath=[ROOT])
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report").read_text())
    assert report["failure"] is None
    assert report["setup"]["environment"] == "development"
    assert report["apps"]["count"] == 1
