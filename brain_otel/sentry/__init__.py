"""The bridge to Sentry; the only part of the package that imports ``sentry_sdk``."""

from brain_otel.runtime.imports import late_names, without_module

# Only sentry-sdk's transports for HTTP/2 and asyncio need httpcore, and this package has a transport of its own.
with without_module("httpcore"):  # a third of the time that the import takes
    import sentry_sdk

# Our subclass overrides what reads these names.
with late_names({"sentry_sdk.integrations.opentelemetry.span_processor": "opentelemetry.semconv.trace"}):
    import sentry_sdk.integrations.opentelemetry  # noqa: F401
