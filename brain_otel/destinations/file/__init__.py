"""The ``file`` destination: OTLP JSON lines in a rotating file."""
