"""The bridge to Sentry; the only part of the package that imports ``sentry_sdk``."""

from brain_otel.runtime.imports import without_module

# Only sentry-sdk's transports for HTTP/2 and asyncio need httpcore, and this package has a transport of its own.
with without_module("httpcore"):  # a third of the time that the import takes
    import sentry_sdk  # noqa: F401
