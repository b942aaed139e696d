"""Tests of sampling in services: real processes, real HTTP, one Sentry."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from brain_otel.sampling.decision import KEPT_BY, sample_rand
from tests.sampling.wired import write_file
from tests.support.ingest import SentryIngest
from tests.support.otlp_data import read_lines, spans_of
from tests.support.process import Server, free_port, uvicorn_command
from tests.support.relay import assert_accepted

SERVICES = 3
CALLS = 25
HEAD, SHARE = 0.6, 0.3
SEED = 4


@contextmanager
def serving(
    folder: Path, ingest: SentryIngest, number: int, port: int, next_port: int | None = None, **file: object
) -> Iterator[Server]:
    """Run a service with a file of its own; it has sent everything when the block is left."""
    home = folder / f"service{number}"
    home.mkdir()
    config = write_file(home, ingest.dsn, **file)  # type: ignore[arg-type]  # as the tests write them
    env = {"OTEL_CONFIG_FILE": str(config), "ENVIRONMENT": "production"}
    text = config.read_text() + "\npropagator: {composite: [tracecontext: , baggage: , sentry: ]}\n"
    config.write_text(text.replace("shop@1", f"service{number}@1"))
    if next_port is not None:
        env["NEXT_URL"] = f"http://127.0.0.1:{next_port}"
    with Server(uvicorn_command("tests.apps.sampling:app", port), port, env=env, cwd=home) as server:
        yield server
        server.terminate(10.0)
        assert "brain_otel failed" not in server.output


def traces_in(path: Path) -> set[str]:
    return {span.trace_id for request in read_lines(path) for span in spans_of(request)} if path.exists() else set()


def callers(kind: str) -> Iterator[tuple[str, float, dict[str, str], bool | None, bool | None]]:
    """Give callers: trace id, random number, headers, and what they decide for the others and for Sentry."""
    numbers = random.Random(f"{kind} {SEED}")
    for _ in range(CALLS):
        trace_id, span_id = f"{numbers.getrandbits(128):032x}", "c" * 16
        own, sampled = sample_rand(int(trace_id, 16)), numbers.random() < 0.5
        rand = round(numbers.randrange(1_000_000) / 1_000_000, 6)
        baggage = f"sentry-trace_id={trace_id},sentry-sample_rand={rand:.6f}"
        flag = int(sampled)
        if kind == "w3c":
            yield trace_id, own, {"traceparent": f"00-{trace_id}-{span_id}-0{flag}"}, sampled, None
        elif kind == "sentry":
            headers = {"sentry-trace": f"{trace_id}-{span_id}-{flag}", "baggage": baggage}
            yield trace_id, rand, headers, sampled, sampled
        elif kind == "sentry, deferred":
            yield trace_id, rand, {"sentry-trace": f"{trace_id}-{span_id}", "baggage": baggage}, None, None
        else:
            other = numbers.random() < 0.5
            headers = {"traceparent": f"00-{trace_id}-{span_id}-0{flag}", "baggage": baggage}
            yield (
                trace_id,
                rand,
                {**headers, "sentry-trace": f"{trace_id}-{span_id}-{int(other)}"},
                sampled,
                other,
            )


KINDS = ("w3c", "sentry", "sentry, deferred", "both")


def test_across_three_services_each_trace_is_whole_or_absent(ingest: SentryIngest, tmp_path: Path) -> None:
    """In Sentry and in the files, each by its own decision, whoever calls."""
    ports = [free_port() for _ in range(SERVICES)]
    expected: dict[str, tuple[bool, bool]] = {}
    file = {
        "rate": HEAD,
        "sampling": f"{{destinations: {{sentry: {SHARE}}}}}",
        "destinations": "{sentry: }, {file: {path: spans.jsonl}}",
    }
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(tmp_path, ingest, number, port, next_port, **file))
            for number, (port, next_port) in enumerate(zip(ports, [*ports[1:], None], strict=True))
        ]
        for kind in KINDS:
            for trace_id, rand, headers, others, sentry in callers(kind):
                assert servers[0].get("/chain/0", headers=headers).status_code == 200
                recorded = rand < HEAD if others is None else others
                expected[trace_id] = recorded, (recorded and rand < SHARE) if sentry is None else sentry
        for _ in range(CALLS):
            seen = servers[0].get("/chain/0").json()
            trace_id = seen[1]["traceparent"].split("-")[1]
            rand = sample_rand(int(trace_id, 16))
            expected[trace_id] = rand < HEAD, rand < SHARE
    assert len(expected) == (len(KINDS) + 1) * CALLS
    files = [traces_in(tmp_path / f"service{number}" / "spans.jsonl") for number in range(SERVICES)]
    recorded_in = Counter(trace_id for found in files for trace_id in found)
    sent = Counter(each["contexts"]["trace"]["trace_id"] for each in ingest.transactions)
    assert set(recorded_in.values()) == set(sent.values()) == {SERVICES}
    assert set(recorded_in) == {trace_id for trace_id, (recorded, _) in expected.items() if recorded}
    assert set(sent) == {trace_id for trace_id, (_, for_sentry) in expected.items() if for_sentry}


def test_at_a_rate_of_zero_every_error_arrives_linked(ingest: SentryIngest, tmp_path: Path) -> None:
    """No trace arrives, whatever the shares are."""
    with serving(tmp_path, ingest, 0, free_port(), rate=0) as server:
        for number in range(3):
            assert server.get(f"/fails/{number}").status_code == 500
    assert ingest.transactions == []
    assert len(ingest.events) == 3
    headers = [each.headers["trace"] for each in ingest.envelopes if each.items[0].type == "event"]
    for event, header in zip(ingest.events, headers, strict=True):
        assert event["contexts"]["trace"]["trace_id"] == header["trace_id"]
        assert event["transaction"] == "GET /fails/{mission_id}"
        assert (header["sampled"], header["sample_rate"]) == ("false", "0.0")
        assert_accepted(event)


def test_rules_see_route_and_method_of_a_request(ingest: SentryIngest, tmp_path: Path) -> None:
    """The route as the app declares it."""
    sampling = """{rules: [
      {route: '/missions/{any}', method: POST, environment: prod*, rate: 1.0},
      {route: '/missions/*', environment: staging, rate: 1.0},
      {route: /slow/7, per_second: 1000},
    ]}"""
    with serving(tmp_path, ingest, 0, free_port(), rate=0, sampling=sampling) as server:
        for method, path in (("POST", "/missions/7"), ("GET", "/missions/7"), ("GET", "/slow/7"), ("GET", "/slow/8")):
            assert server.request(method, path).status_code == 200
    assert [each["transaction"] for each in ingest.transactions] == [
        "POST /missions/{mission_id}",
        "GET /slow/{mission_id}",
    ]
    assert {each.headers["trace"]["sample_rate"] for each in ingest.envelopes if each.headers.get("trace")} == {"1.0"}


def test_the_tail_keeps_requests_that_fail_or_are_slow(ingest: SentryIngest, tmp_path: Path) -> None:
    """Whole, with their errors linked, at every destination; nothing else arrives."""
    sampling, destinations = "{tail: {errors: true, slower_than: 0.25}}", "{sentry: }, {file: {path: spans.jsonl}}"
    with serving(tmp_path, ingest, 0, free_port(), rate=0, sampling=sampling, destinations=destinations) as server:
        for path, status in (("/fails/1", 500), ("/slow/2", 200), ("/missions/3", 200), ("/fails/4", 500)):
            assert server.get(path).status_code == status
    keep_reason = {each["transaction"]: each for each in ingest.transactions}
    assert sorted(each["transaction"] for each in ingest.transactions) == [
        "GET /fails/{mission_id}",
        "GET /fails/{mission_id}",
        "GET /slow/{mission_id}",
    ]
    for name, reason in (("GET /fails/{mission_id}", "error"), ("GET /slow/{mission_id}", "slow")):
        assert keep_reason[name]["contexts"]["trace"]["data"][KEPT_BY] == reason
        assert_accepted(keep_reason[name])
    sent = {each["contexts"]["trace"]["trace_id"] for each in ingest.transactions}
    assert {each["contexts"]["trace"]["trace_id"] for each in ingest.events} < sent
    assert traces_in(tmp_path / "service0" / "spans.jsonl") == sent
    rates = {each.headers["trace"]["sample_rate"] for each in ingest.envelopes if each.items[0].type == "transaction"}
    assert rates == {"1.0"}
