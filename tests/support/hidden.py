"""Hides packages that `sentry_sdk.init()` imports only because the tests install them, which takes two seconds."""

from pathlib import Path

LARGE = ("aiohttp", "anthropic", "celery", "flask", "openai")


def hidden(folder: Path) -> Path:
    """Return a folder for PYTHONPATH with which a process finds none of these packages."""
    made = folder / "hidden"
    made.mkdir()
    for name in LARGE:
        (made / f"{name}.py").write_text("raise ImportError\n")
    return made
