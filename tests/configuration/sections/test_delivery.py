"""Tests of the file's block about delivery."""

from pathlib import Path

from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.sections.delivery import DeliverySettings, SpoolSettings


def read(folder: Path, delivery: str) -> DeliverySettings:
    path = folder / "given.yaml"
    path.write_text(f'file_format: "1.1"\ndistribution: {{brain_otel: {{delivery: {delivery}}}}}\n')
    return read_settings({}, config_file=path).delivery


def test_everything_is_read(tmp_path: Path) -> None:
    """The bounds may be text."""
    text = "{spool: {directory: /var/spool/shop, max_bytes: '2000000', max_age: 90}, shipper: external}"
    spool = SpoolSettings(directory=Path("/var/spool/shop"), max_bytes=2_000_000, max_age=90.0)
    assert read(tmp_path, text) == DeliverySettings(spool=spool, shipper="external")


def test_without_a_directory_there_is_no_spool(tmp_path: Path) -> None:
    """The variable for it may be unset."""
    for directory in ("", "''", '"${BRAIN_OTEL_SPOOL_DIR}"'):
        assert read(tmp_path, f"{{spool: {{directory: {directory}, max_age: 90}}}}") == DeliverySettings()


def test_a_directory_that_cannot_be_examined_is_accepted(tmp_path: Path) -> None:
    """Reading settings raises no OSError. Delivery logs later that it cannot use the spool."""
    directory = "/" + "x" * 5_000
    spool = read(tmp_path, f"{{spool: {{directory: {directory}}}}}").spool
    assert spool is not None
    assert spool.directory == Path(directory)
