"""What ``brain-otel config`` and ``brain-otel doctor`` do: show the effective configuration, and check it."""
