"""What instrumenting a FastAPI service costs: ours, its parts, and others, each beside the bare application.

``uv run python -m tests.benchmarks`` prints the table; with ``uv run --group peers python -m tests.benchmarks`` the
other products are in it too.
"""
