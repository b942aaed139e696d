"""Tests of scripts and servers in processes of their own."""

import json
import sys
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from tests.support.process import Server, free_port, gunicorn_command, run_python, uvicorn_command

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    print("asked for", scope["path"], flush=True)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""


@pytest.fixture
def app_directory(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(APP)
    return tmp_path


def test_a_server_gets_only_the_named_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the developer's shell do not reach it."""
    monkeypatch.setenv("SENTRY_DSN", "http://key@sentry.test/1")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    done = run_python("import os, json; print(json.dumps(dict(os.environ)))", {"A": "1"}, pythonpath=["/x"])
    named = {"PATH", "HOME", "LANG", "BRAIN_OTEL_FAST_PATHS", "PYTHONPATH", "A"}
    assert json.loads(done.stdout).keys() - {"LC_CTYPE"} <= named


@pytest.mark.parametrize(
    "options",
    [{}, {"workers": 2}, {"reload": True}, {"launcher": True}],
    ids=["plain", "workers", "reload", "launcher"],
)
def test_uvicorn_starts_and_ends(app_directory: Path, options: dict[str, Any]) -> None:
    """SIGTERM ends uvicorn and its children in time."""
    port = free_port()
    command = uvicorn_command("tiny:app", port, **options)
    with Server(command, port, cwd=app_directory, ready_path="/ready") as server:
        assert server.get("/there").text == "hello"
        assert "asked for /there" in server.output
        assert server.terminate(timeout=5.0) < 5.0
        assert server.returncode is not None


@pytest.mark.parametrize(
    "options",
    [{}, {"workers": 2, "preload": True}, {"launcher": True}],
    ids=["plain", "preload", "launcher"],
)
def test_gunicorn_starts_and_ends(app_directory: Path, options: dict[str, Any]) -> None:
    """SIGTERM ends gunicorn and its workers in time."""
    port = free_port()
    command = gunicorn_command("tiny:app", port, **options)
    with Server(command, port, cwd=app_directory, ready_path="/ready") as server:
        assert server.get("/there").text == "hello"
        assert server.terminate(timeout=5.0) < 5.0
        assert server.returncode == 0


def test_a_server_that_does_not_start_says_why() -> None:
    """The error contains the output of the process."""
    port = free_port()
    with (
        pytest.raises(AssertionError, match=r"(?s)before it answered.*tiny"),
        Server(uvicorn_command("tiny:app", port), port),
    ):
        pass


def test_a_child_that_outlives_its_server_fails_the_test(tmp_path: Path) -> None:
    """The end of the block kills it."""
    port = free_port()
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys, http.server as h\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"h.HTTPServer(('127.0.0.1', {port}), h.BaseHTTPRequestHandler).serve_forever()\n"
    )
    with Server([sys.executable, str(script)], port) as server:
        with pytest.raises(AssertionError, match="left behind"):
            server.terminate(others=0.5)
        left = server.processes()
    assert len(left) == 1
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left)
