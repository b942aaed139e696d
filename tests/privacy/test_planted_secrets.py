"""Tests with secrets that a running application plants in every part of its telemetry, for each destination."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.destinations.service import environment_of, write_config
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.leaks import Haystack
from tests.support.otlp import OtlpReceiver
from tests.support.otlp_data import read_lines
from tests.support.process import run_python
from tests.support.secrets import Planted, planted
from tests.support.services import Valkey
from tests.support.tiers import quick_first

PLANTED = planted(each=7, seed=11)
FEWER = planted(each=1, seed=11)
APP = ROOT / "tests" / "apps" / "planted.py"


@dataclass(frozen=True)
class Case:
    """A destination, and the secrets that the application plants."""

    destination: str
    secrets: Sequence[Planted]

    def __str__(self) -> str:
        return f"{self.destination}-{len(self.secrets)}"


CASES = [Case(name, secrets) for secrets in (FEWER, PLANTED) for name in ("sentry", "sentry_otlp")]


@dataclass(frozen=True)
class Sent:
    """The planted secrets, and everything that left the process, as text, by destination."""

    secrets: Sequence[Planted]
    found: Mapping[str, str]


@pytest.fixture(scope="module", params=quick_first(CASES, 2), ids=str)
def sent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, valkey: Valkey) -> Sent:
    destination, secrets = request.param.destination, request.param.secrets
    folder = tmp_path_factory.mktemp("planted")
    kept = folder / "kept.jsonl"
    texts = folder / "texts.json"
    texts.write_text(json.dumps([each.text for each in secrets]))
    with SentryIngest() as ingest, OtlpReceiver() as receiver:
        others: list[Any] = [
            {"otlp": {"endpoint": receiver.endpoint}},
            {"file": {"path": str(kept), "max_bytes": 500_000_000}},
            {"console": {}},
        ]
        traces = [{destination: {}}, *others] if destination == "sentry" else [{destination: {}}]
        logs = others[:2] if destination == "sentry" else []
        config = write_config(folder, traces=traces, logs=logs, dsn=ingest.dsn)
        environment = environment_of(config, {"REDIS_URL": valkey.url})
        done = run_python(APP, environment, 180, pythonpath=[ROOT], arguments=[str(texts)], cwd=folder)
        assert done.returncode == 0, done.stderr[-3000:]
        found = {destination: "\n".join(item.payload.decode() for item in ingest.items()) + str(ingest.spans)}
        if destination == "sentry":
            found["otlp"] = "\n".join(str(each.message) for each in receiver.requests)
            found["file"] = "\n".join(map(str, read_lines(kept)))
            found["console"] = done.stdout + done.stderr
        return Sent(secrets, found)


def test_no_planted_secret_leaves(sent: Sent) -> None:
    """In no destination, in no encoding."""
    for where, text in sent.found.items():
        assert len(text) > 1_000 * len(sent.secrets), where
        leaked = {}
        haystack = Haystack(text.encode())
        for each in sent.secrets:
            for form in set(each.encodings()):
                if form.encode() in haystack:
                    place = text.index(form)
                    leaked[each.kind] = text[max(0, place - 80) : place + 40]
        assert leaked == {}, where


def test_the_spans_and_errors_with_secrets_arrive(sent: Sent) -> None:
    """Only the secrets in them are masked."""
    for where, text in sent.found.items():
        # In Sentry a command outside of a request is no transaction.
        for known in ("POST /fail/{number}", "ValueError", *(["SET note ?"] if where != "sentry" else [])):
            assert known in text, (where, known)
