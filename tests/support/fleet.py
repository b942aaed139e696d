"""A small fleet: one service in three releases, a second service that it calls, and a job that calls the first."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.support import ROOT
from tests.support.process import Server, free_port, run_python, uvicorn_command

RELEASES = ("1.0", "1.1", "2.0")
"""Of the service `front`."""

BACK_RELEASE = "b7"
JOB_RELEASE = "j1"


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Running services."""

    front: Mapping[str, Server]
    """By release."""
    back: Server
    env: Mapping[str, str]

    def run_job(self) -> None:
        """Run the job once; it calls the first release of `front`."""
        env = {**self.env, **_identity("job", JOB_RELEASE), "FRONT": self.front["1.0"].url}
        done = run_python(ROOT / "tests" / "apps" / "fleet.py", env, pythonpath=[ROOT])
        assert done.returncode == 0, done.stderr

    def terminate(self) -> None:
        """Have each service send what waits, and end."""
        for server in (*self.front.values(), self.back):
            server.terminate(timeout=20)


def _identity(service: str, release: str) -> dict[str, str]:
    return {"OTEL_SERVICE_NAME": service, "SENTRY_RELEASE": release}


@contextmanager
def start_fleet(env: Mapping[str, str]) -> Iterator[Fleet]:
    """Run the services with ``env`` until the block ends."""
    with ExitStack() as running:

        def start(service: str, release: str, more: Mapping[str, str]) -> Server:
            port = free_port()
            server = Server(
                uvicorn_command("tests.apps.fleet:app", port),
                port,
                env={**env, **_identity(service, release), **more},
                pythonpath=[ROOT],
            )
            return running.enter_context(server)

        back = start("back", BACK_RELEASE, {})
        front = {release: start("front", release, {"BACK": back.url}) for release in RELEASES}
        yield Fleet(front=front, back=back, env=env)
