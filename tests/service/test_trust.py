"""Tests of trust: real services under uvicorn, and callers that are trusted and that are not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.ingest import Json, SentryIngest
from tests.support.otlp_data import Span, read_lines, spans_of
from tests.support.process import Server, free_port, uvicorn_command
from tests.support.tiers import quick_first, quick_one_in

A, B = "0" * 15 + "1" + "0" * 15 + "1", "b" * 32
SPAN, OTHER = "c" * 16, "d" * 16
SECRET = "only-ours-know"
FILE = """
file_format: "1.1"
tracer_provider:
  sampler: {sampler}
  processors: [sentry: , file: {{path: spans.jsonl}}]
propagator: {{composite: [tracecontext: , baggage: , sentry: ]}}
distribution:
  brain_otel:
    fast_paths: {fast_paths}
    sentry: {{dsn: "{dsn}", release: "shop@1", profiles_sample_rate: 0}}
    instrumentation: {{fastapi: {fastapi}}}
    propagation: {propagation}
"""
BY_HEADER = f"{{trust_incoming: [{{header: {{name: x-internal, value: {SECRET}}}}}]}}"
FORGED = {
    "traceparent": f"00-{A}-{SPAN}-01",
    "sentry-trace": f"{A}-{SPAN}-1",
    "baggage": f"tenant=acme,sentry-trace_id={A},sentry-sample_rand=0.000000,sentry-public_key=theirs,"
    "sentry-release=theirs%401,sentry-transaction=theirs",
}
DISAGREEING = {**FORGED, "sentry-trace": f"{B}-{OTHER}-1"}
TRUSTED = {**FORGED, "x-internal": SECRET}


class Service:
    """A service that reports an error for each call and returns the headers that it and later services received."""

    def __init__(self, server: Server, ingest: SentryIngest, folder: Path) -> None:
        self.server = server
        self.ingest = ingest
        self._spans = folder / "spans.jsonl"

    def call(self, headers: dict[str, str], url: str | None = None) -> list[dict[str, str]]:
        response = httpx.get(f"{url or self.server.url}/chain/0", headers=headers, trust_env=False)
        assert response.status_code == 200, response.text
        found: list[dict[str, str]] = response.json()
        return found

    def end(self) -> None:
        """Stop the service, which sends what it has."""
        self.server.terminate(10.0)
        assert "brain_otel failed" not in self.server.output
        assert "Traceback" not in self.server.output

    def roots(self) -> list[Span]:
        """Give the server spans in the file."""
        lines = read_lines(self._spans) if self._spans.exists() else []
        return [span for line in lines for span in spans_of(line) if span.kind == "server"]

    def sampling_contexts(self) -> list[Json]:
        return [
            each.headers.get("trace") or {}
            for each in self.ingest.envelopes
            if each.items[0].type in ("event", "transaction")
        ]


class ServerElsewhere(Server):
    """A server that does not listen at 127.0.0.1; it is ready when it says so."""

    def _answers(self) -> bool:
        return "Uvicorn running" in self.output


@contextmanager
def serving(
    folder: Path,
    ingest: SentryIngest,
    *,
    propagation: str,
    rate: float = 1.0,
    dsn: bool = True,
    parent_based: bool = True,
    fastapi: str = "contrib",
    fast_paths: bool = True,
    next_url: str | None = None,
    arguments: tuple[str, ...] = ("--no-proxy-headers",),
) -> Iterator[Service]:
    sampler = f"{{trace_id_ratio_based: {{ratio: {rate}}}}}"
    config = folder / "service.yaml"
    config.write_text(
        FILE.format(
            sampler=f"{{parent_based: {{root: {sampler}}}}}" if parent_based else sampler,
            dsn=ingest.dsn if dsn else "",
            fastapi=fastapi,
            fast_paths=str(fast_paths).lower(),
            propagation=propagation,
        )
    )
    env = {"OTEL_CONFIG_FILE": str(config), "ENVIRONMENT": "production"}
    if next_url is not None:
        env["NEXT_URL"] = next_url
    port = free_port()
    command = [*uvicorn_command("tests.apps.propagation:app", port), *arguments]
    kind = ServerElsewhere if {"--host", "--uds"} & set(arguments) else Server
    with kind(command, port, env=env, cwd=folder) as server:
        yield Service(server, ingest, folder)


CASES = [(0.0001, True, True), (1.0, True, True)]
MORE = [(0.0, True, True), (0.0001, True, False), (0.0001, False, True), (1.0, False, True), (0.0, False, False)]


@pytest.mark.parametrize(
    ("rate", "dsn", "parent_based"), [*CASES, *(pytest.param(*each, marks=pytest.mark.thorough) for each in MORE)]
)
def test_a_caller_that_is_not_trusted_decides_nothing(
    ingest: SentryIngest, tmp_path: Path, rate: float, dsn: bool, parent_based: bool
) -> None:
    """Its ids become a link; the trace, the decision and the sampling context are ours."""
    with serving(tmp_path, ingest, propagation=BY_HEADER, rate=rate, dsn=dsn, parent_based=parent_based) as service:
        for headers in (FORGED, DISAGREEING, {**FORGED, "x-internal": "guessed"}):
            (seen,) = service.call(headers)
            assert seen["seen-tenant"] == "acme"
            assert seen["traceparent"] == headers["traceparent"]
        service.end()
    roots = service.roots()
    assert len(roots) == (3 if rate == 1.0 else 0)
    assert {tuple(root.links) for root in roots} <= {(f"{A}-{SPAN}",)}
    assert {root.parent_span_id for root in roots} <= {""}
    assert len({root.trace_id for root in roots} - {A, B}) == len(roots)
    assert len(ingest.transactions) == (len(roots) if dsn else 0)
    assert len(ingest.events) == (3 if dsn else 0)
    assert {event["contexts"]["trace"]["trace_id"] for event in ingest.events}.isdisjoint((A, B))
    for context in service.sampling_contexts():
        assert (context["public_key"], context["release"]) == ("public", "shop@1")
        assert context["trace_id"] not in (A, B)
        assert "theirs" not in str(context)


@pytest.mark.parametrize("rate", [0.0001, pytest.param(0.0, marks=pytest.mark.thorough)])
def test_a_trusted_caller_decides(ingest: SentryIngest, tmp_path: Path, rate: float) -> None:
    """Its trace is continued as without the block, and no event shows the header that it is trusted by."""
    with serving(tmp_path, ingest, propagation=BY_HEADER, rate=rate) as service:
        service.call(TRUSTED)
        service.end()
    (root,) = service.roots()
    assert (root.trace_id, root.parent_span_id, root.links) == (A, SPAN, [])
    assert len(ingest.transactions) == 1
    (event,) = ingest.events
    assert event["contexts"]["trace"]["trace_id"] == A
    assert event["request"]["headers"]["x-internal"] == "[Filtered]"
    assert SECRET not in str(event) + str(ingest.transactions)


@pytest.mark.parametrize(
    ("fastapi", "fast_paths"),
    [("native", True), ("contrib", False), pytest.param("native", False, marks=pytest.mark.thorough)],
)
def test_trust_is_the_same_on_every_way_to_a_span(
    ingest: SentryIngest, tmp_path: Path, fastapi: str, fast_paths: bool
) -> None:
    """With FastAPI's own spans, and with contrib's middleware."""
    with serving(tmp_path, ingest, propagation=BY_HEADER, fastapi=fastapi, fast_paths=fast_paths) as service:
        (seen,) = service.call(FORGED)
        service.call(TRUSTED)
        service.end()
    assert seen["seen-tenant"] == "acme"
    ours, theirs = service.roots()
    assert ours.trace_id != A
    assert (ours.links, ours.parent_span_id) == ([f"{A}-{SPAN}"], "")
    assert (theirs.trace_id, theirs.parent_span_id, theirs.links) == (A, SPAN, [])
    (linked,) = [each for each in ingest.transactions if each["contexts"]["trace"]["trace_id"] != A]
    (link,) = linked["contexts"]["trace"]["links"]
    assert (link["trace_id"], link["span_id"]) == (A, SPAN)


@pytest.mark.parametrize(
    ("network", "host", "arguments", "trusted"),
    quick_one_in(
        3,
        [
            ("127.0.0.0/8", "127.0.0.1", ("--no-proxy-headers",), True),
            ("10.0.0.0/8", "127.0.0.1", ("--no-proxy-headers",), False),
            ("10.0.0.0/8", "127.0.0.1", (), True),
            ("::1", "[::1]", ("--host", "::1", "--no-proxy-headers"), True),
            ("fd00::/8", "[::1]", ("--host", "::1", "--no-proxy-headers"), False),
        ],
    ),
    ids=["inside", "X-Forwarded-For is not believed", "unless the server believes it", "IPv6", "IPv6 outside"],
)
def test_a_caller_is_trusted_by_its_address(
    ingest: SentryIngest, tmp_path: Path, network: str, host: str, arguments: tuple[str, ...], trusted: bool
) -> None:
    """By the connection's, as the server gives it; uvicorn replaces it by default if a local proxy says so."""
    propagation = f'{{trust_incoming: ["{network}"]}}'
    with serving(tmp_path, ingest, propagation=propagation, arguments=arguments) as service:
        service.call({**FORGED, "X-Forwarded-For": "10.1.2.3"}, f"http://{host}:{service.server.port}")
        service.end()
    (root,) = service.roots()
    assert (root.trace_id == A) is trusted
    assert root.links == ([] if trusted else [f"{A}-{SPAN}"])


def test_a_unix_socket_has_no_address(ingest: SentryIngest, tmp_path: Path) -> None:
    """Callers on it are trusted by a header alone."""
    propagation = f'{{trust_incoming: [0.0.0.0/0, "::/0", {{header: {{name: x-internal, value: {SECRET}}}}}]}}'
    socket = tmp_path / "service.sock"
    with serving(tmp_path, ingest, propagation=propagation, arguments=("--uds", str(socket))) as service:
        transport = httpx.HTTPTransport(uds=str(socket))
        with httpx.Client(transport=transport, base_url="http://service") as client:
            for headers in (FORGED, TRUSTED):
                assert client.get("/chain/0", headers=headers).status_code == 200
        service.end()
    assert [root.trace_id == A for root in service.roots()] == [False, True]


def test_all_callers_are_trusted_by_default(ingest: SentryIngest, tmp_path: Path) -> None:
    """But what another project says of a trace does not stand in our envelopes."""
    with serving(tmp_path, ingest, propagation="{}", rate=0.0001) as service:
        service.call(FORGED)
        service.end()
    (root,) = service.roots()
    assert (root.trace_id, root.parent_span_id) == (A, SPAN)
    contexts = service.sampling_contexts()
    assert contexts
    for context in contexts:
        assert (context["trace_id"], context["public_key"], context["release"]) == (A, "public", "shop@1")
        assert "theirs" not in str(context)


@pytest.mark.parametrize("fast_paths", quick_first([True, False]))
@pytest.mark.parametrize(
    ("targets", "gets"), quick_first([("[localhost, 127.0.0.1.example]", False), ("[127.0.0.1]", True)])
)
def test_a_host_that_is_no_target_gets_no_headers(
    ingest: SentryIngest, tmp_path: Path, targets: str, gets: bool, fast_paths: bool
) -> None:
    """Neither W3C's nor Sentry's, nor baggage."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with (
        serving(folders[1], ingest, propagation="{}") as second,
        serving(
            folders[0],
            ingest,
            propagation=f"{{targets: {targets}}}",
            next_url=second.server.url,
            fast_paths=fast_paths,
        ) as first,
    ):
        _, received = first.call({"traceparent": f"00-{A}-{SPAN}-01", "baggage": "tenant=acme"})
        first.end()
        second.end()
    assert {"traceparent", "sentry-trace", "baggage"} & received.keys() == (
        {"traceparent", "sentry-trace", "baggage"} if gets else set()
    )
    assert [root.trace_id == A for root in second.roots()] == [gets]
