"""Source code of applications for the doctor to inspect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.doctor.command import Findings, diagnosed
from tests.doctor.conftest import write_file

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SETUP = "import brain_otel\nbrain_otel.setup()\n"
APP = "from fastapi import FastAPI\napp = FastAPI(title='Shop')\n"


class Shop:
    """A folder for the module ``shop``, which is the working directory."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.chdir(folder)

    def check(self, code: str, *, name: str = "shop:app", file: str | None = None, **request: Any) -> Findings:
        """Check ``code`` as the module ``shop``, with a destination that needs no network unless ``file`` has others.

        Takes the options of the command as keywords, and ``env``.
        """
        (self.folder / "shop.py").write_text(code)
        file = file or write_file(self.folder, "console: {}")
        return diagnosed(request.pop("env", {}), app=name, config_file=file, **request)
