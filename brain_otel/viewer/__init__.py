"""``brain-otel view``: receives what Sentry's and OpenTelemetry's SDKs send, and shows it in a browser."""
