"""Debian's Chromium, driven by Playwright; nothing is downloaded."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> Path | None:
    """The browser, if this machine has it."""
    found = shutil.which("chromium")
    return Path(found) if found else None


@contextmanager
def running_browser() -> Iterator["Browser"]:
    """A browser that ends with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=list(FLAGS), env={"HOME": folder, "PATH": "/usr/bin:/bin"}
        )
        try:
            yield browser
        finally:
            browser.close()
