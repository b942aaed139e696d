"""Runs `tests/apps/secretive.py` with a destination of every kind, as if upstream had renamed private names."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.destinations.service import environment_of, write_config
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.private_names import PrivateName, run_renamed
from tests.support.process import run_python

SECRET = "hunter2-4Zq"
APP = ROOT / "tests" / "apps" / "secretive.py"

ARRIVES = {
    "traces": ("order password=[Filtered]", "pay password=[Filtered]", "api_key", "71", "72", "73"),
    "logs": ("told password=[Filtered]", "failed password=[Filtered]", "ValueError"),
    "metrics": ("orders",),
}
"""What each destination has of a signal."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a run has sent, as text by destination and signal, and what it has printed."""

    texts: dict[tuple[str, str], str]
    printed: str

    def missing(self) -> set[tuple[str, str]]:
        """Destinations and signals of which something has not arrived."""
        expected = {key: ARRIVES[key[1]] for key in self.texts}
        return {key for key, texts in expected.items() if not all(each in self.texts[key] for each in texts)}

    def leaks(self) -> list[str]:
        """What is around the secret, wherever it is found."""
        texts = {**self.texts, ("", "stdout and stderr"): self.printed}
        places = ((key, text.find(SECRET), text) for key, text in texts.items())
        return [f"{key}: {text[max(0, at - 200) : at + 20]}" for key, at, text in places if at >= 0]


def run_secretive(folder: Path, names: Iterable[PrivateName] = ()) -> Sent:
    """Run the program to its end, and fail unless it worked and was flushed."""
    path = folder / "sent"
    with SentryIngest() as ingest, OtlpReceiver() as ours, OtlpReceiver(grpc=True) as theirs:

        def component(signal: str) -> dict[str, Any]:
            return {"batch": {"exporter": {"otlp_http": {"endpoint": f"{theirs.endpoint}/v1/{signal}"}}}}

        def destinations(signal: str) -> list[dict[str, Any]]:
            return [{"otlp": {"endpoint": ours.endpoint}}, {"file": {"path": f"{path}.{signal}"}}]

        config = write_config(
            folder,
            traces=[
                *destinations("traces"),
                component("traces"),
                {"sentry": {}},
                {"simple": {"exporter": {"console": {}}}},
            ],
            logs=[*destinations("logs"), component("logs")],
            metrics=[*destinations("metrics"), {"otlp_http": {"endpoint": f"{theirs.endpoint}/v1/metrics"}}],
            dsn=ingest.dsn,
        )
        data = json.loads(config.read_text())
        data["resource"]["attributes"].append({"name": "tenant.api_key", "value": SECRET})
        config.write_text(json.dumps(data))
        code = f"import runpy, sys; sys.argv = ['', {SECRET!r}]; runpy.run_path({str(APP)!r})"
        done = run_python(run_renamed(names, code), environment_of(config), 60, pythonpath=[ROOT], cwd=folder)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, printed[-3000:]
        assert "set up\n" in printed
        assert "worked\n" in printed
        texts = {("console of OpenTelemetry", "traces"): done.stdout}
        for signal in ("traces", "logs", "metrics"):
            for name, receiver in (("otlp", ours), ("otlp_http of OpenTelemetry", theirs)):
                requests = [each.message for each in receiver.requests if each.signal == signal]
                texts[name, signal] = "\n".join(map(str, requests))
            file = Path(f"{path}.{signal}")
            texts["file", signal] = file.read_text() if file.exists() else ""
        texts["sentry", "traces"] = "\n".join(map(json.dumps, ingest.transactions))
        texts["sentry", "logs"] = "\n".join(map(json.dumps, ingest.events))
        return Sent(texts=texts, printed=printed)
