"""Runs ``brain-otel view`` in a process of its own, for as long as the demo runs."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from brain_otel.demo.servers import ServiceError

_COMMAND = (sys.executable, "-c", "from brain_otel.cli import main; main()", "view")
_PATIENCE = 5.0


@contextmanager
def running_viewer(environ: Mapping[str, str], *, open_browser: bool = False) -> Iterator[str]:
    """Run the viewer on its usual port, else on a free one, with data of its own; yield its address.

    Raises:
        ServiceError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="brain-otel-view-") as folder:
        file = ["--file", str(Path(folder, "view.db")), *["--open"] * open_browser]
        process, url = _start([*file], environ)
        if not url:
            process, url = _start(["--port", "0", *file], environ)
        if not url:
            raise ServiceError("brain-otel view did not start; run it alone to see why")
        try:
            yield url
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(arguments: list[str], environ: Mapping[str, str]) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(  # noqa: S603
        [*_COMMAND, *arguments],
        env=dict(environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        process_group=0
        if os.name != "nt"
        else None,  # Ctrl-C is the demo's; it ends the viewer after it has sent all
    )
    line = ""
    if process.stdout is not None:
        with process.stdout:
            line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    if found is None:
        process.wait()
    return process, found[0] if found else ""
