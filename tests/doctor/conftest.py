"""Set-ups and applications for the doctor to check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doctor.command import KEY
from tests.support.otlp import OtlpReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.doctor.shop import Shop
    from tests.support.ingest import SentryIngest

FILE = """
file_format: "1.1"
tracer_provider:
  sampler:
    parent_based:
      root:
        trace_id_ratio_based:
          ratio: ${{SENTRY_TRACES_SAMPLE_RATE:-1.0}}
  processors:
{processors}
distribution:
  brain_otel:
    sentry: {{dsn: "${{SENTRY_DSN}}"}}
{more}
"""

SERVICE = "\nresource: {attributes: [{name: service.name, value: shop}]}\n"


def write_file(folder: Path, *processors: str, more: str = "") -> str:
    """Write a configuration file with these processors and return its path."""
    text = FILE.format(processors="".join(f"    - {each}\n" for each in processors), more=more)
    path = folder / "telemetry.yaml"
    path.write_text(text if "resource:" in more else f"{text}{SERVICE}")
    return str(path)


def dsn_of(port: int) -> str:
    """The DSN of a Sentry server on this machine."""
    return f"http://{KEY}@127.0.0.1:{port}/42"


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """Run a collector that keeps what it receives."""
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def healthy(ingest: SentryIngest, receiver: OtlpReceiver) -> dict[str, str]:
    """The variables of a production service with Sentry and a collector."""
    return {
        "SENTRY_ENVIRONMENT": "production",
        "SENTRY_DSN": dsn_of(ingest.port),
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
    }


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """An application in the working directory."""
    from tests.doctor.shop import Shop

    return Shop(tmp_path, monkeypatch)
