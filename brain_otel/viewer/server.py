"""Runs the viewer on this machine's loopback address until Ctrl-C."""

import errno
import os
import socket
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path

import uvicorn

from brain_otel.viewer.alerts.watch import Alerts
from brain_otel.viewer.app import Viewer, ViewSettings

HOST = "127.0.0.1"
DEFAULT_PORT = 8969
"""Spotlight's: SDKs send there with ``SENTRY_SPOTLIGHT=1``."""


class PortError(Exception):
    """The port cannot be used; the message says what to do."""


def default_file(environ: Mapping[str, str]) -> Path:
    """Where the data are kept by default: the user's data directory."""
    base = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME") or Path.home(), ".local", "share"))
    return Path(base, "brain-otel", "view.db")


def run(settings: ViewSettings, *, port: int = DEFAULT_PORT, open_browser: bool = False) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        PortError: another program has the port.
        StoreError: the file cannot be used.
    """
    listener = _listen(port)
    with listener:
        viewer = Viewer(settings)
        url = f"http://{HOST}:{listener.getsockname()[1]}"
        sys.stdout.write(_introduction(url, settings.path))
        sys.stdout.flush()
        config = uvicorn.Config(
            viewer.app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
            server_header=False,
            ws="none",
        )
        server = _Server(config, viewer)
        alerts = Alerts(settings.alerts, settings.path, viewer.writer, url) if settings.alerts else None
        if alerts is not None:
            alerts.start()
        if open_browser:
            webbrowser.open(url)
        try:
            server.run([listener])
        finally:
            if alerts is not None:
                alerts.close()
            viewer.close()


class _Server(uvicorn.Server):
    """Ends the open streams when it is told to stop."""

    def __init__(self, config: uvicorn.Config, viewer: Viewer) -> None:
        super().__init__(config)
        self._viewer = viewer

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        self._viewer.live.is_closing = True
        await super().shutdown(sockets)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # named, so that asyncio disables Nagle's algorithm
    if os.name != "nt":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = "another program uses it" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise PortError(f"port {port} of {HOST}: {reason}; choose another one with --port") from error
    return listener


def _introduction(url: str, path: Path) -> str:
    return (
        f"brain-otel view: {url}\n"
        f"  data  {path}\n"
        f"  from a Sentry SDK      SENTRY_SPOTLIGHT={url}/stream\n"
        f"  from OpenTelemetry     OTEL_EXPORTER_OTLP_ENDPOINT={url} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n"
    )
