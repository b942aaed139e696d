"""What the tests stand on: servers, receivers, processes."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""
