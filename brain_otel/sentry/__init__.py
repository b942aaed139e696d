"""The bridge to Sentry; the only part of the package that imports ``sentry_sdk``."""
