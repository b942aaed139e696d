"""OpenTelemetry's SDK, set up and joined to the destinations."""
