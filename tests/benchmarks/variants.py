"""The ways to instrument the service: functions that run after its libraries are imported and before its module is.

If they ran after the module, OpenTelemetry's contrib and ddtrace would trace no statement: the module imports
``create_engine`` by name. A function returns what the product's manual asks to do with the app, and how to flush.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


@dataclass(frozen=True, kw_only=True)
class Started:
    """The remaining steps of a variant after its start."""

    on_app: Callable[["FastAPI"], None] | None = None
    flush: Callable[[], object] | None = None
    """Sends everything that is queued in the process."""


FLUSH_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table."""

    name: str
    start: Callable[[], Started]
    needs: str | None = None
    """The package that the variant needs."""
    sends: bool = True
    """Whether the variant must send spans of every kind."""

    def is_installed(self) -> bool:
        return self.needs is None or find_spec(self.needs) is not None


def bare() -> Started:
    """Instrument nothing."""
    return Started()


def floor() -> Started:
    """Use OpenTelemetry's SDK and the four contrib instrumentors with defaults, and export nowhere."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())
    return instrument_with_contrib()


def instrument_with_contrib(flush: Callable[[], object] | None = None) -> Started:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    HTTPXClientInstrumentor().instrument()
    RedisInstrumentor().instrument()
    SQLAlchemyInstrumentor().instrument(skip_dep_check=True)
    return Started(on_app=FastAPIInstrumentor.instrument_app, flush=flush)


def sentry_alone() -> Started:
    """Use ``sentry_sdk.init`` alone, without traces: the comparison for start-up."""
    import sentry_sdk

    sentry_sdk.init(dsn=os.environ["SENTRY_DSN"])
    return Started(flush=lambda: sentry_sdk.flush(FLUSH_SECONDS))


def sentry_native() -> Started:
    import sentry_sdk

    sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], traces_sample_rate=1.0)
    return Started(flush=lambda: sentry_sdk.flush(FLUSH_SECONDS))


def sentry_processor() -> Started:
    """Use SentrySpanProcessor as its documentation says."""
    import sentry_sdk
    from opentelemetry import trace
    from opentelemetry.propagate import set_global_textmap
    from opentelemetry.sdk.trace import TracerProvider
    from sentry_sdk.integrations.opentelemetry import SentryPropagator, SentrySpanProcessor

    sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], traces_sample_rate=1.0, instrumenter="otel")
    provider = TracerProvider()
    provider.add_span_processor(SentrySpanProcessor())
    trace.set_tracer_provider(provider)
    set_global_textmap(SentryPropagator())
    return instrument_with_contrib(lambda: sentry_sdk.flush(FLUSH_SECONDS))


def sentry_otlp_integration() -> Started:
    import sentry_sdk
    from opentelemetry import trace
    from sentry_sdk.integrations.otlp import OTLPIntegration

    sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], integrations=[OTLPIntegration()])
    # Only the SDK's class has force_flush.
    return instrument_with_contrib(lambda: trace.get_tracer_provider().force_flush())  # type: ignore[attr-defined]


def with_logfire() -> Started:
    import logfire
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint=os.environ["SINK_URL"] + "/v1/traces")
    logfire.configure(
        send_to_logfire=False,
        console=False,
        additional_span_processors=[BatchSpanProcessor(exporter)],
        inspect_arguments=False,
    )
    logfire.instrument_httpx()
    logfire.instrument_redis()
    logfire.instrument_sqlalchemy(skip_dep_check=True)

    def on_app(app: "FastAPI") -> None:
        logfire.instrument_fastapi(app)

    return Started(on_app=on_app, flush=logfire.force_flush)


def with_ddtrace() -> Started:
    os.environ["DD_TRACE_AGENT_URL"] = os.environ["SINK_URL"]
    os.environ["DD_INSTRUMENTATION_TELEMETRY_ENABLED"] = "false"
    os.environ["DD_REMOTE_CONFIGURATION_ENABLED"] = "false"
    import ddtrace
    from ddtrace.trace import tracer

    ddtrace.patch(fastapi=True, starlette=True, sqlalchemy=True, redis=True, httpx=True, sqlite3=False)
    return Started(flush=tracer.flush)


def with_elastic() -> Started:
    import elasticapm
    from elasticapm.contrib.starlette import ElasticAPM, make_apm_client

    client = make_apm_client({"SERVICE_NAME": "shop", "SERVER_URL": os.environ["SINK_URL"], "CLOUD_PROVIDER": "none"})
    elasticapm.instrument()

    def on_app(app: "FastAPI") -> None:
        app.add_middleware(ElasticAPM, client=client)

    # It sends every ten seconds; only closing it makes it send now.
    return Started(on_app=on_app, flush=client.close)


OURS = """
file_format: "1.1"
resource: {{attributes: [{{name: service.name, value: shop}}]}}
tracer_provider:
  sampler: {{parent_based: {{root: {{trace_id_ratio_based: {{ratio: 1.0}}}}}}}}
  processors: [{destination}]
propagator: {{composite: [{{tracecontext: }}, {{baggage: }}, {{sentry: }}]}}
distribution:
  brain_otel:
    sentry: {{dsn: "{dsn}", profiles_sample_rate: 0}}
    delivery: {delivery}
    freeze_gc: true  # as in production
"""


def ours(destination: str = "sentry: ", shipper: str | None = None) -> Callable[[], Started]:
    """Use brain_otel with a file of its own and one destination; ``shipper`` sends the spool; None: there is none."""

    def start() -> Started:
        import brain_otel

        spool = Path(os.environ["FOLDER"]) / "spool"
        delivery = f'{{spool: {{directory: "{spool}"}}, shipper: {shipper}}}' if shipper else "{}"
        text = OURS.format(destination=destination, dsn=os.environ["SENTRY_DSN"], delivery=delivery)
        file = Path(os.environ["FOLDER"]) / "telemetry.yaml"
        file.write_text(text.replace("SINK_URL", os.environ["SINK_URL"]))
        brain_otel.setup(config_file=file)
        return Started(flush=lambda: brain_otel.flush(FLUSH_SECONDS))

    return start


def packaged(rate: float = 1.0, *, spool: bool = True) -> Callable[[], Started]:
    """Use brain_otel as its manual says: with the file of production and variables."""

    def start() -> Started:
        import brain_otel

        os.environ |= {
            "OTEL_SERVICE_NAME": "shop",
            "SENTRY_TRACES_SAMPLE_RATE": str(rate),
            "SENTRY_PROFILES_SAMPLE_RATE": "0",
            "BRAIN_OTEL_SPOOL_DIR": f"{os.environ['FOLDER']}/spool" if spool else "",
        }
        brain_otel.setup(environment="production")
        return Started(flush=lambda: brain_otel.flush(FLUSH_SECONDS))

    return start


BARE, FLOOR, OURS_IN_MEMORY, OURS_BESIDE, SENTRY_ALONE, SENTRY_NATIVE, SENTRY_PROCESSOR = (
    "bare",
    "floor",
    "brain_otel, memory",
    "brain_otel, spool, process",
    "sentry_sdk.init alone",
    "sentry-sdk, native",
    "SentrySpanProcessor",
)

VARIANTS = (
    Variant(name=BARE, start=bare, sends=False),
    Variant(name=FLOOR, start=floor, sends=False),
    Variant(name=OURS_IN_MEMORY, start=packaged(spool=False)),
    Variant(name="brain_otel, spool, thread", start=ours(shipper="thread")),
    Variant(name=OURS_BESIDE, start=packaged()),
    Variant(name="brain_otel, spool, external", start=ours(shipper="external")),
    Variant(name="brain_otel, spool, 10 %", start=packaged(0.1)),
    Variant(name="brain_otel, spool, 0 %", start=packaged(0.0), sends=False),
    Variant(name="brain_otel, otlp", start=ours(destination="{otlp: {endpoint: SINK_URL}}")),
    Variant(name="brain_otel, sentry_otlp", start=ours(destination="sentry_otlp: ")),
    Variant(name=SENTRY_ALONE, start=sentry_alone, sends=False),
    Variant(name=SENTRY_NATIVE, start=sentry_native),
    Variant(name=SENTRY_PROCESSOR, start=sentry_processor),
    Variant(name="Sentry OTLPIntegration", start=sentry_otlp_integration),
    Variant(name="logfire", start=with_logfire, needs="logfire"),
    Variant(name="ddtrace", start=with_ddtrace, needs="ddtrace"),
    Variant(name="elastic-apm", start=with_elastic, needs="elasticapm"),
)

PEERS = ("logfire", "ddtrace", "elastic-apm")
BY_NAME: dict[str, Variant] = {variant.name: variant for variant in VARIANTS}
