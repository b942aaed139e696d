"""One sampling decision for OpenTelemetry and Sentry, made at the head of a trace."""
