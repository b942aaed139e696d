// OpenTelemetry's SDK: a request with a statement, a log line and an exception, compressed.
import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${process.env.ENCODING}`);
const compression = "gzip";
const resource = resourceFromAttributes({
  "service.name": `js ${process.env.NAME}`,
  "service.version": "web@3",
  "deployment.environment.name": "abroad",
});
const traces = new NodeTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ compression }))],
});
const logs = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter({ compression }) })],
});
traces.register();
const tracer = traces.getTracer("test");
const server = { kind: SpanKind.SERVER, attributes: { "http.route": "/js", "http.request.method": "GET", "user.id": "ada" } };
tracer.startActiveSpan("GET", server, (span) => {
  const statement = { "db.system.name": "postgresql", "db.query.text": "SELECT 1" };
  tracer.startSpan("SELECT", { kind: SpanKind.CLIENT, attributes: statement }).end();
  logs.getLogger("test").emit({ body: "a line", severityNumber: 13 });
  try {
    null.work();
  } catch (error) {
    span.recordException(error);
    span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
});
await traces.shutdown();
await logs.shutdown();
