"""Measures what instrumenting a FastAPI service costs: brain_otel, its parts and other products.

Each is compared with the bare application. ``python -m tests.benchmarks`` prints the tables, in an environment of the
groups ``benchmark`` and ``peers`` and the extra ``demo``; without ``peers``, the other products are left out.
"""
