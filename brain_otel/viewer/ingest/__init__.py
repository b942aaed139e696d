"""Bodies become rows: Sentry's envelopes and OTLP over HTTP."""
