"""The demo: a small BRAiN Core with its database, cache and LLM API, traced by this package."""
