"""Measures what instrumenting a FastAPI service costs: brain_otel, its parts and other products.

Each is compared with the bare application. ``uv run python -m tests.benchmarks`` prints the tables;
``uv run --group peers python -m tests.benchmarks`` includes the other products.
"""
