"""Makes a distribution look installed."""

from pathlib import Path


def install(folder: Path, name: str, version: str, entry_points: str = "") -> None:
    """Write the metadata of a distribution into ``folder``."""
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(entry_points)
