"""The ways to instrument the service: functions that are called after the app's imports and before it is made.

What one has to do with the app itself, as its manual says, it returns.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

OnApp = Callable[["FastAPI"], None]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table."""

    name: str
    start: Callable[[], OnApp | None]
    needs: str | None = None
    """The package without which it cannot be measured."""

    def is_installed(self) -> bool:
        return self.needs is None or find_spec(self.needs) is not None


def bare() -> None:
    """Nothing at all."""


def floor() -> OnApp:
    """OpenTelemetry's SDK and the four contrib instrumentors as they come, spans to nowhere."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())
    return instrument_with_contrib()


def instrument_with_contrib() -> OnApp:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    HTTPXClientInstrumentor().instrument()
    RedisInstrumentor().instrument()
    SQLAlchemyInstrumentor().instrument(skip_dep_check=True)
    return FastAPIInstrumentor.instrument_app


def sentry_native() -> None:
    import sentry_sdk

    sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], traces_sample_rate=1.0)


def sentry_processor() -> OnApp:
    """As the documentation of SentrySpanProcessor has it."""
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
    return instrument_with_contrib()


def sentry_otlp_integration() -> OnApp:
    import sentry_sdk
    from sentry_sdk.integrations.otlp import OTLPIntegration

    sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], integrations=[OTLPIntegration()])
    return instrument_with_contrib()


def with_logfire() -> OnApp:
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

    return on_app


def with_ddtrace() -> None:
    os.environ["DD_TRACE_AGENT_URL"] = os.environ["SINK_URL"]
    os.environ["DD_INSTRUMENTATION_TELEMETRY_ENABLED"] = "false"
    os.environ["DD_REMOTE_CONFIGURATION_ENABLED"] = "false"
    import ddtrace

    ddtrace.patch(fastapi=True, starlette=True, sqlalchemy=True, redis=True, httpx=True, sqlite3=False)


def with_elastic() -> OnApp:
    import elasticapm
    from elasticapm.contrib.starlette import ElasticAPM, make_apm_client

    client = make_apm_client(
        {"SERVICE_NAME": "shop", "SERVER_URL": os.environ["SINK_URL"], "CLOUD_PROVIDER": "none", "LOG_LEVEL": "off"}
    )
    elasticapm.instrument()

    def on_app(app: "FastAPI") -> None:
        app.add_middleware(ElasticAPM, client=client)

    return on_app


OURS = """
file_format: "1.1"
resource: {{attributes: [{{name: service.name, value: shop}}]}}
tracer_provider:
  sampler: {{parent_based: {{root: {{trace_id_ratio_based: {{ratio: {rate}}}}}}}}}
  processors: [{destination}]
propagator: {{composite: [{{tracecontext: }}, {{baggage: }}, {{sentry: }}]}}
distribution:
  brain_otel:
    sentry: {{dsn: "{dsn}", profiles_sample_rate: 0}}
    delivery: {delivery}
"""


def ours(rate: float = 1.0, destination: str = "sentry: ", shipper: str | None = None) -> Callable[[], None]:
    """brain_otel with one destination; ``shipper`` sends what is spooled, and None is the queue in memory."""

    def start() -> None:
        import brain_otel

        spool = Path(os.environ["FOLDER"]) / "spool"
        delivery = f'{{spool: {{directory: "{spool}"}}, shipper: {shipper}}}' if shipper else "{}"
        text = OURS.format(rate=rate, destination=destination, dsn=os.environ["SENTRY_DSN"], delivery=delivery)
        file = Path(os.environ["FOLDER"]) / "telemetry.yaml"
        file.write_text(text.replace("SINK_URL", os.environ["SINK_URL"]))
        brain_otel.setup(config_file=file)

    return start


VARIANTS = (
    Variant(name="bare", start=bare),
    Variant(name="floor", start=floor),
    Variant(name="brain_otel, memory", start=ours()),
    Variant(name="brain_otel, spool, thread", start=ours(shipper="thread")),
    Variant(name="brain_otel, spool, process", start=ours(shipper="process")),
    Variant(name="brain_otel, spool, 10 %", start=ours(0.1, shipper="process")),
    Variant(name="brain_otel, spool, 0 %", start=ours(0.0, shipper="process")),
    Variant(name="brain_otel, otlp", start=ours(destination="{otlp: {endpoint: SINK_URL}}")),
    Variant(name="brain_otel, sentry_otlp", start=ours(destination="sentry_otlp: ")),
    Variant(name="sentry-sdk, native", start=sentry_native),
    Variant(name="SentrySpanProcessor", start=sentry_processor),
    Variant(name="Sentry OTLPIntegration", start=sentry_otlp_integration),
    Variant(name="logfire", start=with_logfire, needs="logfire"),
    Variant(name="ddtrace", start=with_ddtrace, needs="ddtrace"),
    Variant(name="elastic-apm", start=with_elastic, needs="elasticapm"),
)

BY_NAME: dict[str, Any] = {variant.name: variant for variant in VARIANTS}
