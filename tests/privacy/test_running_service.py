"""A running service plants the corpora where they belong; no part of a secret leaves it, and look-alikes do.

What arrives at real receivers, in files, on the terminal and in the spool is searched for each secret in 16 forms.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.destinations.service import environment_of, write_config
from tests.privacy.corpora import LookAlike, Secret
from tests.privacy.corpora.cases import CASES
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.leaks import SHORTEST, Search, unpacked
from tests.support.otlp import OtlpReceiver
from tests.support.process import Server, free_port, run_python, uvicorn_command
from tests.support.tiers import quick_first

ALL = range(len(CASES))
ONE_OF_EACH_PLACE = tuple({type(case).__name__ + case.where: number for number, case in enumerate(CASES)}.values())
BATCH = 25
"""Cases that one request plants."""

Found = Mapping[str, bytes]
"""Everything that left the service, by destination."""


def resource_attributes(numbers: Sequence[int]) -> str:
    """The cases that an operator gives in a variable."""
    cases = [CASES[number].text for number in numbers if CASES[number].where == "resource attribute"]
    return ",".join(f"{name}={quote(str(value))}" for case in cases for name, value in case.items())


def ask(client: httpx.Client, number: int) -> None:
    """Make the request that a case belongs in, if it belongs in one."""
    case = CASES[number]
    where, given = case.where, case.text
    if where in ("request header", "cookie header"):
        headers = {name: str(value).encode() for name, value in given.items() if name.lower() != "content-length"}
        client.get("/fails", headers=headers)
    elif where in ("query string", "doubly encoded query string"):
        client.get(f"/fails?{given}")
    elif where == "path segment":
        client.get(httpx.URL(given).path)
    elif where == "path parameter":
        ((name, value),) = given.items()
        client.get(f"/{'reset' if name == 'reset_token' else 'orders'}/{quote(str(value))}")
    elif where == "websocket query":
        address = str(client.base_url).replace("http", "ws", 1)
        with contextlib.suppress(WebSocketException), connect(f"{address}/live?{given.partition('?')[2]}") as socket:
            socket.recv()
    elif where in ("response header", "set-cookie header", "location header"):
        client.get(f"/answers/{number}")
    elif where == "json body":
        client.post("/read", json=given)
    elif where == "form field":
        client.post("/read", data={name: str(value) for name, value in given.items()})
    elif where == "multipart file name":
        client.post("/read", files={"file": (given["filename"], b"content")})


def plant(server: Server, numbers: Sequence[int]) -> None:
    """Plant the cases, and wait until everything is sent."""
    limits = httpx.Limits(max_keepalive_connections=0)  # uvicorn closes a connection after a failure
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False, limits=limits) as client:
        for start in range(0, len(numbers), BATCH):
            batch = list(numbers[start : start + BATCH])
            client.post("/plant", json=batch).raise_for_status()
            for number in batch:
                ask(client, number)
            assert client.post("/flush").json() is True, server.output


@contextlib.contextmanager
def running(
    folder: Path, dsn: str, destination: str, others: Sequence[Any], numbers: Sequence[int]
) -> Iterator[Server]:
    """A service with the destination and ``others``; the one with ``sentry_otlp`` has a spool and personal data."""
    config = write_config(
        folder, traces=[{destination: {}}, *others], logs=[{"sentry": {}}, *others[:2]], metrics=others[:2], dsn=dsn
    )
    if destination == "sentry_otlp":
        data = json.loads(config.read_text())
        ours = data["distribution"]["brain_otel"]
        ours["delivery"] = {"spool": {"directory": str(folder / "spool")}, "shipper": "external"}
        ours["sentry"]["send_default_pii"] = True
        config.write_text(json.dumps(data))
    port = free_port()
    capture = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER"
    variables = {
        f"{capture}_REQUEST": ".*",
        f"{capture}_RESPONSE": ".*",
        "OTEL_RESOURCE_ATTRIBUTES": resource_attributes(numbers),
    }
    command = [*uvicorn_command("tests.apps.corpora:app", port), "--no-access-log", "--log-level", "critical"]
    with Server(command, port, env=environment_of(config, variables), pythonpath=[ROOT], cwd=folder) as server:
        yield server


def received(ingest: SentryIngest, receiver: OtlpReceiver) -> Found:
    items = [json.dumps(each.headers).encode() for each in ingest.envelopes]
    items += [json.dumps(item.headers).encode() + b"\n" + item.payload for item in ingest.items()]
    return {
        "sentry": b"\n".join(items + [part for _, body in ingest.otlp for part in unpacked(body)]),
        "otlp": b"\n".join(each.message.SerializeToString() for each in receiver.requests),
    }


def on_disk(folder: Path) -> bytes:
    """The names and contents of files, but for the credentials of targets, which their owner alone reads."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "target.json"]
    return b"\n".join(part for path in files for part in (str(path).encode(), *unpacked(path.read_bytes())))


def sent_directly(folder: Path, numbers: Sequence[int]) -> Found:
    """Through memory, to four destinations at once."""
    with SentryIngest() as ingest, OtlpReceiver() as receiver:
        kept = {"file": {"path": str(folder / "kept.jsonl"), "max_bytes": 500_000_000}}
        others = [{"otlp": {"endpoint": receiver.endpoint}}, kept, {"console": {}}]
        with running(folder, ingest.dsn, "sentry", others, numbers) as server:
            plant(server, numbers)
            server.terminate(30)
            printed = server.output.encode()
        assert "Discarded" not in printed.decode()
        return {**received(ingest, receiver), "console": printed, "file": on_disk(folder)}


def sent_from_spool(folder: Path, numbers: Sequence[int]) -> Found:
    """Through the disk: the spool before, what arrives, and the spool after; and what the commands print."""

    def command(*arguments: str) -> bytes:
        done = run_python(
            "from brain_otel.cli import main; main()",
            environment_of(folder / "telemetry.yaml"),
            120,
            pythonpath=[ROOT],
            arguments=arguments,
            cwd=folder,
        )
        return f"{done.stdout}\n{done.stderr}".encode()

    spool = folder / "spool"
    with SentryIngest() as ingest, OtlpReceiver() as receiver:
        others = [{"otlp": {"endpoint": receiver.endpoint}}]
        with running(folder, ingest.dsn, "sentry_otlp", others, numbers) as server:
            plant(server, numbers)
            server.terminate(30)
            printed = server.output.encode()
        before, shown = on_disk(spool), command("spool", str(spool))
        printed += command("doctor", "--offline") + shown + command("spool", str(spool), "--drain")
        assert b"queued" in shown
        return {**received(ingest, receiver), "spool": before, "drained": on_disk(spool), "printed": printed}


RUNS: Sequence[Callable[[Path], tuple[Sequence[int], Found]]] = (
    lambda folder: (ONE_OF_EACH_PLACE, sent_directly(folder, ONE_OF_EACH_PLACE)),
    lambda folder: (ALL, sent_directly(folder, ALL)),
    lambda folder: (ALL, sent_from_spool(folder, ALL)),
)


@pytest.fixture(scope="module", params=quick_first(RUNS), ids=["one of each place", "direct", "spool"])
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sequence[int], Found]:
    ran: tuple[Sequence[int], Found] = request.param(tmp_path_factory.mktemp("corpora"))
    return ran


def words_of(value: Any) -> Iterator[str]:
    """The texts in a value, keys included."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from (*words_of(str(key)), *words_of(each))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from words_of(each)
    elif isinstance(value, str) and len(value) >= SHORTEST:
        yield value


ADDRESS = re.compile(r"[\d.]+")
HARMLESS = "\n".join(text for case in CASES if isinstance(case, LookAlike) for text in words_of(case.text))


def is_distinct(text: str) -> bool:
    """Whether ``text`` does not stand in ids and times by chance, as a code of six digits does."""
    return len(text) >= SHORTEST * (2 if text.isdigit() else 1)


def test_no_secret_leaves(left: tuple[Sequence[int], Found]) -> None:
    """To no destination, in no encoding."""
    numbers, found = left
    given = [case for number in numbers if isinstance(case := CASES[number], Secret)]
    if "spool" in found:
        given = [case for case in given if not ADDRESS.fullmatch(case.secret)]  # it is personal data
    parts = {part: case for case in given for part in case.parts if is_distinct(part) and part not in HARMLESS}
    search = Search(parts)
    leaked = [
        (place, parts[part].kind, parts[part].where, part, form)
        for place, data in found.items()
        for part, form in search.found(data).items()
    ]
    assert leaked == [], "\n".join(map(str, leaked))
    assert len(parts) >= (500 if len(given) > 400 else 50)


SENTRY_ALONE = {"breadcrumb data", "context", "environment", "local variable", "log template", "tag", "user extra"}
"""Places that only Sentry shows: OpenTelemetry has no name for them, helpers alone, or the text."""

OTLP_ALONE = {"metric attribute"}
IN_NO_EVENT = {"thread name"}
"""Sentry shows the threads of an event only with a stack trace of each, or in a profile."""


def test_look_alikes_leave_unchanged(left: tuple[Sequence[int], Found]) -> None:
    """To every destination that shows their place."""
    numbers, found = left
    cases = [case for number in numbers if isinstance(case := CASES[number], LookAlike)]
    search = Search(text for case in cases for text in words_of(case.text))
    hidden = {"sentry": OTLP_ALONE | IN_NO_EVENT, "otlp": SENTRY_ALONE | IN_NO_EVENT}
    missing = {
        (place, case.kind, case.where, text)
        for place, data in found.items()
        if place in hidden
        for shown in [search.found(data)]
        for case in cases
        if case.where not in hidden[place]
        for text in words_of(case.text)
        if text not in shown
    }
    assert missing == set(), "\n".join(map(str, sorted(missing)))
    assert len(cases) >= (320 if len(numbers) > 400 else 40)
