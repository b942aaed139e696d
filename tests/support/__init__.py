"""Servers, receivers and processes that the tests use."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The root of the checkout."""
