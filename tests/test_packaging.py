"""The wheel contains every file that the package reads."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

from tests.support import ROOT


def test_the_wheel_contains_the_environment_files_and_the_entry_points(tmp_path: Path) -> None:
    """`config/` is the only source; a wheel has its files under `brain_otel/environments`."""
    uv = shutil.which("uv")
    assert uv is not None
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "dist", "__pycache__"))
    command = [uv, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        packaged = {Path(name).name: archive.read(name) for name in names if "/environments/" in name}
        entry_points = archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert packaged == {
        path.name: path.read_bytes() for path in (ROOT / "config").glob("*.yaml") if "file_format" in path.read_text()
    }
    assert "brain_otel/py.typed" in names
    assert "brain_otel/viewer/alerts/example.yaml" in names
    assert not [name for name in names if name.startswith(("tests/", "config/"))]
    for group in ("opentelemetry_distro", "opentelemetry_configurator", "opentelemetry_propagator", "pytest11"):
        assert f"[{group}]" in entry_points
