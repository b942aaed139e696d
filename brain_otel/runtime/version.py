"""The version of this package."""

__version__ = "0.3.0"
"""As in ``pyproject.toml``: to ask the installed package takes 10 ms."""
