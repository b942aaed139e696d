"""A package of somebody else, as an installer would leave it: a module and the entry point that names it."""

from pathlib import Path


def write_plugin(folder: Path, name: str, source: str, *, group: str, value: str) -> Path:
    """Make the module and its metadata; give the folder, which is for PYTHONPATH."""
    site = folder / f"site-{name}"
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(source)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    return site
