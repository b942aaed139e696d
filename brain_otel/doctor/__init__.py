"""The commands ``brain-otel config`` and ``brain-otel doctor``: show the effective configuration, and check it."""
