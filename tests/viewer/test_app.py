"""The screens' figures, against the same computed from what was sent."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from brain_otel.viewer.store.durations import ACCURACY
from tests.support.viewer import RunningViewer, attributes, error, new_id, otlp_span, otlp_traces, span, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUTES = ("GET /a", "GET /b/{id}", "POST /c")
THRESHOLD = 0.5


@pytest.fixture(scope="module")
def sent(viewer: RunningViewer) -> dict[str, list[Any]]:
    """Requests and errors of the last hour, by both protocols, in two releases."""
    chance = random.Random(7)
    now = time.time()
    requests, errors = [], []
    for _ in range(600):
        release = chance.choice(("shop@1", "shop@2"))
        seconds = min(chance.lognormvariate(-2, 1.3), 20)
        at = now - chance.uniform(60, 3_000)
        status = "internal_error" if chance.random() < 0.1 else "ok"
        requests.append((chance.choice(ROUTES), seconds, at, status, release))
    for _ in range(80):
        kind = chance.choice(("ValueError", "KeyError", "OSError"))
        user = f"u{chance.randrange(12)}"
        errors.append((kind, user, now - chance.uniform(60, 3_000), chance.choice(("shop@1", "shop@2"))))
    for place in range(0, 300, 50):
        viewer.send(*(("transaction", _transaction(each)) for each in requests[place : place + 50]))
    for release in ("shop@1", "shop@2"):
        spans = [_otlp(each) for each in requests[300:] if each[4] == release]
        body = otlp_traces(
            spans, service__name="python", service__version=release, deployment__environment__name="test"
        )
        viewer.post("/v1/traces", json=body).raise_for_status()
    viewer.send(
        *(
            (
                "event",
                error(
                    kind,
                    f"number {number}",
                    at=at,
                    user={"id": user},
                    release=release,
                    function=kind,
                    platform="python",
                ),
            )
            for number, (kind, user, at, release) in enumerate(errors)
        )
    )
    return {"requests": requests, "errors": errors}


def _transaction(request: tuple[Any, ...]) -> dict[str, Any]:
    route, seconds, at, status, release = request
    return transaction(route, seconds=seconds, at=at, status=status, release=release, platform="python")


def _otlp(request: tuple[Any, ...]) -> dict[str, Any]:
    route, seconds, at, status, _ = request
    method, path = route.split()
    given = attributes({"http__request__method": method, "http__route": path})
    ids = {"trace": new_id(), "span": new_id(16)}
    state = {"code": 2} if status != "ok" else {}
    return otlp_span(method, **ids, kind=2, start=at, seconds=seconds, attributes=given, status=state)


def exact(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def satisfied(requests: list[tuple[Any, ...]]) -> Iterator[float]:
    for _, seconds, _, status, _ in requests:
        yield 0 if status != "ok" or seconds > 4 * THRESHOLD else 1 if seconds <= THRESHOLD else 0.5


def test_the_figures_of_routes_are_right(viewer: RunningViewer, sent: dict[str, list[Any]]) -> None:
    """Counts and failures exactly, percentiles within 2 %, Apdex but for requests within 2 % of its threshold."""
    shown = viewer.json("/performance", service="python")
    by_route = defaultdict(list)
    for each in sent["requests"]:
        by_route[each[0]].append(each)
    assert {each["route"] for each in shown["routes"]} == set(ROUTES)
    for figures, requests in [
        (shown["whole"], sent["requests"]),
        *((each, by_route[each["route"]]) for each in shown["routes"]),
    ]:
        assert figures["count"] == len(requests)
        assert figures["failed"] == sum(each[3] != "ok" for each in requests)
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            wanted = exact([each[1] for each in requests], share) * 1e6
            assert figures[name] == pytest.approx(wanted, rel=ACCURACY + 0.001), name
        near = sum(abs(each[1] / bound - 1) < 0.04 for each in requests for bound in (THRESHOLD, 4 * THRESHOLD))
        assert figures["apdex"] * len(requests) == pytest.approx(sum(satisfied(requests)), abs=near / 2 + 1e-6)
    assert sum(point["count"] for point in shown["curve"]) == len(sent["requests"])


def test_the_figures_of_a_route_and_a_release_are_right(viewer: RunningViewer, sent: dict[str, list[Any]]) -> None:
    """As filtered by the address."""
    wanted = [each for each in sent["requests"] if each[0] == "GET /b/{id}" and each[4] == "shop@2"]
    shown = viewer.json("/performance/route", route="GET /b/{id}", release="shop@2", service="python", period="1h")
    assert shown["figures"]["count"] == len(wanted)
    assert sum(bar[2] for bar in shown["distribution"]) == len(wanted)
    slowest = [each["duration"] for each in shown["slowest"]]
    assert slowest == pytest.approx(sorted((each[1] * 1e6 for each in wanted), reverse=True)[:20], abs=2)


def test_issues_have_their_events_and_users(viewer: RunningViewer, sent: dict[str, list[Any]]) -> None:
    """Sorted by each column."""
    events = Counter(each[0] for each in sent["errors"])
    users = {kind: len({each[1] for each in sent["errors"] if each[0] == kind}) for kind in events}
    shown = viewer.json("/issues", sort="events", service="python")["issues"]
    assert {each["title"].split(":")[0]: each["events"] for each in shown} == events
    assert {each["title"].split(":")[0]: each["users"] for each in shown} == users
    assert [each["events"] for each in shown] == sorted(events.values(), reverse=True)
    for each in shown:
        times = [error[2] for error in sent["errors"] if error[0] == each["title"].split(":")[0]]
        assert [each["first_seen"] / 1e6, each["last_seen"] / 1e6] == pytest.approx(
            [min(times), max(times)], abs=1e-3
        )
        assert sum(each["trend"]) == each["events"]
    by_release = viewer.json("/issues", release="shop@1", service="python")["issues"]
    assert sum(each["events"] for each in by_release) == sum(each[3] == "shop@1" for each in sent["errors"])


def test_releases_stand_side_by_side(viewer: RunningViewer, sent: dict[str, list[Any]]) -> None:
    """Crash-free requests are those of the sessions that the SDK sent."""
    sessions = {"exited": 90, "errored": 5, "crashed": 5, "started": "2099-01-01T00:00:00Z"}
    sessions["started"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    viewer.send(("sessions", {"aggregates": [sessions], "attrs": {"release": "shop@2", "environment": "test"}}))
    shown = {each["release"]: each for each in viewer.json("/releases")["releases"]}
    for release in ("shop@1", "shop@2"):
        wanted = [each for each in sent["requests"] if each[4] == release]
        assert shown[release]["requests"]["count"] == len(wanted)
        assert shown[release]["errors"] == sum(each[3] == release for each in sent["errors"])
    assert sum(each["new_issues"] for each in shown.values()) >= 3
    assert (shown["shop@1"]["crash_free"], shown["shop@2"]["crash_free"]) == (None, pytest.approx(0.95))


def test_a_repeated_statement_is_found(viewer: RunningViewer) -> None:
    root = transaction("GET /n+1")
    root["spans"] = [span(root, "SELECT name FROM steps WHERE id = ?") for _ in range(7)]
    viewer.send(("transaction", root))
    (found,) = viewer.json("/performance")["repeated"]
    assert (found["name"], found["traces"], found["most"]) == ("SELECT name FROM steps WHERE id = ?", 1, 7)
    operations = {each["name"]: each["count"] for each in viewer.json("/performance")["operations"]}
    assert operations["SELECT name FROM steps WHERE id = ?"] == 7


def test_a_trace_shows_all_services_in_order(viewer: RunningViewer) -> None:
    """With its errors and log lines beside their spans; a missing parent leaves a span at the top."""
    now, trace = time.time(), new_id()
    root = transaction("GET /front", at=now, seconds=1, trace=trace)
    call = span(root, "GET http://back/", op="http.client", seconds=0.8)
    root["spans"] = [call]
    context = {"trace": {"trace_id": trace, "span_id": call["span_id"]}}
    viewer.send(("transaction", root), ("event", error("BackError", contexts=context)))
    back = otlp_span(
        "GET", trace=trace, span=new_id(16), parent=call["span_id"], kind=2, start=now + 0.1, seconds=0.5
    )
    lost = otlp_span("lost", trace=trace, span=new_id(16), parent=new_id(16), start=now + 0.2, seconds=0.1)
    viewer.post("/v1/traces", json=otlp_traces([lost, back], service__name="back")).raise_for_status()
    line = {"timestamp": now, "trace_id": trace, "span_id": call["span_id"], "level": "warn", "body": "slow"}
    viewer.send(("log", {"items": [line]}))
    shown = viewer.json(f"/traces/{trace}")
    assert [(each["depth"], each["name"]) for each in shown["spans"]] == [
        (0, "GET /front"),
        (1, "GET http://back/"),
        (2, "GET"),
        (0, "lost"),
    ]
    assert [len(each["errors"]) for each in shown["spans"]] == [0, 1, 0, 0]
    assert [each["logs"] for each in shown["spans"]] == [0, 1, 0, 0]
    assert shown["duration"] == pytest.approx(1e6, abs=2)
    assert [each["message"] for each in viewer.json("/logs", trace=trace, level="warning")["lines"]] == ["slow"]
    assert viewer.json("/logs", trace=trace, q="SLO", level="error")["lines"] == []


def test_spans_that_are_one_anothers_parents_are_shown(viewer: RunningViewer) -> None:
    trace, one, other, own = new_id(), new_id(16), new_id(16), new_id(16)
    now = time.time()
    pairs = ((one, other), (other, one), (own, own))
    spans = [otlp_span(each, trace=trace, span=each, parent=parent, start=now, seconds=1) for each, parent in pairs]
    viewer.post("/v1/traces", json=otlp_traces(spans)).raise_for_status()
    assert len(viewer.json(f"/traces/{trace}")["spans"]) == 3


def test_an_issue_is_resolved_ignored_and_comes_back(viewer: RunningViewer) -> None:
    """By the buttons of its page."""
    viewer.send(("event", error("StateError", function="state")))

    def found(state: str) -> list[int]:
        return [each["id"] for each in viewer.json("/issues", state=state, q="StateError")["issues"]]

    (issue,) = found("open")
    for action, state in (
        ("resolve", "resolved"),
        ("reopen", "open"),
        ("ignore", "ignored"),
        ("resolve", "resolved"),
    ):
        assert viewer.post(f"/issues/{issue}/{action}").status_code == 303
        assert found(state) == [issue]
    viewer.send(("event", error("StateError", function="state", at=time.time() + 1)))
    assert found("back") == found("open") == [issue]
    assert viewer.post(f"/issues/{issue}/burn").status_code == 404


def test_the_events_of_an_issue_are_reached_one_by_one(viewer: RunningViewer) -> None:
    """Older and newer ones, and the shares of their tags."""
    now = time.time()
    events = [
        error("PageError", at=now + number, function="page", tags={"plan": plan}) for number, plan in enumerate("aab")
    ]
    viewer.send(*(("event", each) for each in events))
    (issue,) = (each["id"] for each in viewer.json("/issues", q="PageError")["issues"])
    ids = [each["event_id"] for each in events]
    for number, event_id in enumerate(ids):
        shown = viewer.json(f"/issues/{issue}", event=event_id)
        assert shown["older"] == (ids[number - 1] if number else None)
        assert shown["newer"] == (ids[number + 1] if number < 2 else None)
    assert [(each["value"], each["count"]) for each in shown["shares"]["plan"]] == [("a", 2), ("b", 1)]
    assert viewer.get(f"/issues/{issue}.json?event={new_id()}").status_code == 404


def test_the_foot_counts_the_day_and_predicts_the_month(viewer: RunningViewer) -> None:
    """What clients dropped is told with their reason."""
    report = {"discarded_events": [{"reason": "queue_overflow", "category": "transaction", "quantity": 4}]}
    viewer.send(("client_report", report), ("transaction", transaction()), header={"trace": {"sample_rate": "0.1"}})
    page = viewer.get("/issues").text
    assert "4 transaction by the client: queue_overflow" in page
    assert "transactions at a sample rate of 0.1" in page


PAGES = ("/issues", "/performance", "/performance/route?route=GET+/a", "/traces", "/releases", "/logs", "/issues/1")


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_its_twins(viewer: RunningViewer, sent: dict[str, list[Any]], page: str) -> None:
    """HTML, JSON and Markdown, under one address."""
    path, mark, query = page.partition("?")
    for suffix, kind in (("", "text/html"), (".json", "application/json"), (".md", "text/markdown")):
        answer = viewer.get(f"{path}{suffix}{mark}{query}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    "address",
    [
        "/issues?period=1y",
        "/issues?sort=name",
        "/issues?state=gone",
        "/logs?level=loud",
        "/traces?slow=fast",
        "/logs?before=-1",
        "/logs?before=nan",
    ],
)
def test_a_wrong_parameter_is_told(viewer: RunningViewer, address: str) -> None:
    answer = viewer.get(address)
    assert answer.status_code == 400
    assert "allowed:" in answer.text


def test_markup_in_every_field_is_text(viewer: RunningViewer) -> None:
    """On every page, and in Markdown it is no link."""
    bad = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`](http://evil)"
    root = transaction(bad, release=bad, environment=bad, tags={bad: bad}, user={"id": bad})
    root["spans"] = [{**span(root, bad), "op": bad, "data": {bad: bad}}]
    contexts = {"trace": root["contexts"]["trace"], bad: {bad: bad}}
    crumb = {"message": bad, "category": bad, "data": {bad: bad}, "timestamp": bad}
    fields: dict[str, Any] = {
        "transaction": bad,
        "release": bad,
        "environment": bad,
        "user": {"id": bad, bad: bad},
        "tags": {bad: bad},
    }
    event = error(
        bad, bad, contexts=contexts, breadcrumbs={"values": [crumb]}, request={"url": bad}, function=bad, **fields
    )
    event["exception"]["values"][0]["stacktrace"]["frames"][0].update(context_line=bad, vars={bad: bad})
    line = {
        "timestamp": time.time(),
        "trace_id": contexts["trace"]["trace_id"],
        "body": bad,
        "attributes": {bad: {"value": bad}},
    }
    viewer.send(("transaction", root), ("event", event), ("log", {"items": [line]}))
    found = viewer.json("/issues", q="alert(1)")["issues"]
    for page in (
        "/issues",
        "/performance",
        "/traces",
        "/releases",
        "/logs",
        f"/traces/{line['trace_id']}",
        f"/issues/{found[0]['id']}",
    ):
        text = viewer.get(page).text
        assert "alert(1)" in text
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "](http://evil)" not in outside_of_code(viewer.get(f"{page}.md").text).replace("\\]", "")
    assert json.dumps(bad)[1:-1] in viewer.get("/logs.json").text


def outside_of_code(markdown: str) -> str:
    return re.sub(r"^(```+)\n.*?^\1$", "", markdown, flags=re.MULTILINE | re.DOTALL)
