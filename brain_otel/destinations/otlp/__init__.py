"""The ``otlp`` destination: OpenTelemetry's own exporters for HTTP and gRPC."""
