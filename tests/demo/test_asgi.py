"""``uvicorn --factory brain_otel.demo.asgi:create_app``: the demo's service under a server of the user's."""

import sys
from pathlib import Path

from tests.support.process import Server, free_port
from tests.support.waiting import until


def test_it_serves_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its variables choose where telemetry goes; Valkey and the files end with the server."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "brain_otel.demo.asgi:create_app", "--port", str(port)]
    env = {"TMPDIR": str(tmp_path), "SENTRY_ENVIRONMENT": "development"}
    with Server(command, port, env=env) as server:
        assert server.get("/api/missions/info").json() == {"missions": 6}
        until(lambda: "SELECT id, name FROM missions" in server.output)
        server.terminate(15)
    assert list(tmp_path.iterdir()) == []
