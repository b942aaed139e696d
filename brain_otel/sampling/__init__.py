"""One sampling decision for OpenTelemetry and Sentry alike, made at the head of a trace."""
