"""`propagation.targets` holds for the clients of others: real requests to a target and to a host that is none."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import run_python
from tests.support.tiers import quick_first

Headers = dict[str, str]
Found = dict[str, list[tuple[str, Headers]]]

FILE = """
file_format: "1.1"
tracer_provider:
  sampler: {parent_based: {root: {trace_id_ratio_based: {ratio: RATE}}}}
  processors: [sentry: {}]
propagator: {composite: [tracecontext: , baggage: , sentry: ]}
distribution:
  brain_otel:
    sentry: {dsn: "${SENTRY_DSN}"}
    propagation: {targets: TARGETS}
"""

OWN = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "baggage": "own=1"}

TARGET, OTHER = "127.0.0.1", "localhost"

HOPS = [TARGET, OTHER, TARGET, OTHER, OTHER, TARGET]
"""The hosts of four calls, of which the latter two are redirected."""

ORDERS = ("first", "after imports")


@pytest.fixture(scope="module")
def found_by(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Found]:
    """Run the program once for each order, rate and list of targets; gives what the servers saw by case."""

    @cache
    def run(order: str, rate: str, targets: str = "[127.0.0.1]") -> Found:
        folder: Path = tmp_path_factory.mktemp("targets")
        config = folder / "config.yaml"
        config.write_text(FILE.replace("RATE", rate).replace("TARGETS", targets))
        with SentryIngest() as ingest:
            env = {"OTEL_CONFIG_FILE": str(config), "ORDER": order, "NO_PROXY": "*", "SENTRY_DSN": ingest.dsn}
            done = run_python(ROOT / "tests" / "apps" / "targets.py", env, pythonpath=[ROOT])
        assert done.returncode == 0, done.stderr
        assert "brain_otel failed" not in done.stderr
        found: Found = json.loads(done.stdout.splitlines()[-1])
        return found

    return run


def is_ours(headers: Headers) -> bool:
    """Whether the headers are all of ours, for the baggage of the context too."""
    if headers.keys() == {"x-amzn-trace-id"}:
        return True
    assert headers.keys() >= {"traceparent", "sentry-trace", "baggage"}, headers
    assert headers["traceparent"].split("-")[1] == headers["sentry-trace"].split("-")[0] != "a" * 32
    assert "tenant=acme" in headers["baggage"]
    return True


CLIENTS = ("requests", "urllib3", "aiohttp", "httpx", "httpx2", "httpx2 async", "urllib")
CASES = (*CLIENTS, "requests step by step", "boto3", "grpc", "grpc aio", "own")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rate", ["1.0", "0.0"])
@pytest.mark.parametrize("order", quick_first(ORDERS))
def test_only_targets_get_our_headers(found_by: Callable[..., Found], order: str, rate: str, case: str) -> None:
    """Redirects are judged by the host that they lead to; the application's own headers stay."""
    found = found_by(order, rate)[case]
    assert {OTHER} < {host for host, _ in found}
    for host, headers in found:
        if host == OTHER:
            assert headers in ({}, OWN)
        elif headers not in ({}, OWN):  # a call that began elsewhere has none here either
            assert is_ours(headers)


@pytest.mark.parametrize("rate", ["1.0", "0.0"])
@pytest.mark.parametrize("case", CLIENTS)
def test_a_request_to_a_target_has_them(found_by: Callable[..., Found], case: str, rate: str) -> None:
    found = found_by("first", rate)[case]
    assert [host for host, _ in found] == HOPS * 2
    for own, hops in (({}, found[:6]), (OWN, found[6:])):
        assert is_ours(hops[0][1])
        assert hops[1][1] == own
        assert is_ours(hops[2][1])
        assert [hops[3][1], hops[4][1]] == [own, own]
        if case not in ("requests", "aiohttp", "urllib"):  # one span for each request, not for the chain
            assert is_ours(hops[5][1])


@pytest.mark.parametrize("rate", ["1.0", "0.0"])
@pytest.mark.parametrize(("case", "calls"), [("boto3", 1), ("grpc", 4), ("grpc aio", 2)])
def test_a_call_of_a_target_has_them(found_by: Callable[..., Found], case: str, calls: int, rate: str) -> None:
    found = found_by("first", rate)[case]
    assert [host for host, _ in found] == [TARGET] * calls + [OTHER] * calls
    assert all(is_ours(headers) for _, headers in found[:calls])
    assert [headers for _, headers in found[calls:]] == [
        OWN if case == "grpc" and i == 1 else {} for i in range(calls)
    ]


def test_spans_of_your_own_are_judged_if_they_are_of_a_client(found_by: Callable[..., Found]) -> None:
    for rate in ("1.0", "0.0"):
        for host, headers in found_by("first", rate)["own"]:
            assert is_ours(headers) if host == TARGET else headers == {}


def test_headers_that_the_application_has_asked_for_stay(found_by: Callable[..., Found]) -> None:
    assert [is_ours(headers) for _, headers in found_by("first", "1.0")["own headers"]] == [True, True]


def test_all_hosts_get_them_where_nothing_is_restricted(found_by: Callable[..., Any]) -> None:
    for case, found in found_by("first", "1.0", "all").items():
        assert all(is_ours(headers) for _, headers in found), case


def test_no_host_gets_them_where_there_is_no_target(found_by: Callable[..., Any]) -> None:
    found = found_by("first", "1.0", "none")
    assert all(headers in ({}, OWN) for case in CASES if case != "own" for _, headers in found[case])
