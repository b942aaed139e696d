"""``brain-otel demo``: a small BRAiN Core with a database, a cache and an LLM API, traced by this package."""
