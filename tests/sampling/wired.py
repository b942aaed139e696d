"""All of brain_otel's tracing in this process as a file says, with a Sentry that listens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from brain_otel.configuration.loading import read_settings
from brain_otel.events.listeners import configure_listeners
from brain_otel.sampling.head import HeadSampler
from brain_otel.sdk.pipeline import connect_destinations, create_destinations, create_policy, discard_destinations
from tests.support.ingest import Envelope, SentryIngest

FILE = """
file_format: "1.1"
tracer_provider:
  sampler:
    parent_based:
      root:
        trace_id_ratio_based:
          ratio: {rate}
  processors: [{destinations}]
distribution:
  brain_otel:
    fast_paths: ${{BRAIN_OTEL_FAST_PATHS:-true}}
    sentry: {{dsn: "{dsn}", release: "shop@1", profiles_sample_rate: 0}}
    sampling: {sampling}
"""


def write_file(
    folder: Path, dsn: str, *, rate: object = 1.0, sampling: str = "{}", destinations: str = "sentry: "
) -> Path:
    """Write a configuration of one sampler, some destinations and a block about sampling."""
    path = folder / "sampled.yaml"
    path.write_text(FILE.format(rate=rate, dsn=dsn, sampling=sampling, destinations=destinations))
    return path


class FixedIds(RandomIdGenerator):
    """The trace ids that a test wants, then random ones."""

    def __init__(self) -> None:
        self.next: list[int] = []

    def generate_trace_id(self) -> int:
        return self.next.pop(0) if self.next else super().generate_trace_id()


class Wired:
    """A provider as `setup()` makes it, without the globals and the instrumentations."""

    def __init__(self, ingest: SentryIngest, file: Path) -> None:
        self.ingest = ingest
        self.ids = FixedIds()
        settings = read_settings({"ENVIRONMENT": "production"}, config_file=file)
        assert settings.sentry is not None
        self.destinations = create_destinations(settings)
        ratio = settings.document["tracer_provider"]["sampler"]["parent_based"]["root"]["trace_id_ratio_based"]
        configured = ParentBased(TraceIdRatioBased(ratio["ratio"]))
        self.sampler = HeadSampler(configured, create_policy(settings, self.destinations))
        self.provider = TracerProvider(sampler=self.sampler, id_generator=self.ids, shutdown_on_exit=False)
        self.attached = connect_destinations(self.destinations, self.provider, settings.sampling)
        every = [each.destination.listener for each in (*self.attached, *self.destinations)]
        configure_listeners(tuple(each for each in every if each is not None))
        self.tracer = self.provider.get_tracer("test")

    def flush(self) -> None:
        for each in self.destinations:
            assert each.flush(10.0)

    def close(self) -> None:
        configure_listeners(())
        discard_destinations((*self.destinations, *self.attached))

    def envelopes(self, kind: str) -> list[Envelope]:
        """Give the envelopes that hold an event or a transaction."""
        return [each for each in self.ingest.envelopes if each.items[0].type == kind]


Wire = Callable[..., Wired]


def sampling_of(envelope: Envelope) -> Any:
    """Give what the envelope's header says of the sampling."""
    return envelope.headers["trace"]
