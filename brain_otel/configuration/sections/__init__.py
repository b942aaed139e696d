"""One module per block of ``distribution.brain_otel`` in the configuration file."""
