"""Each rule says once that an alert starts and once that it ends, whatever happens in between."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from brain_otel.viewer.alerts import state, watch
from brain_otel.viewer.alerts.messages import signature
from brain_otel.viewer.alerts.rules import AlertSettings, Receiver, Rule, Slack, Webhook, read_alerts
from brain_otel.viewer.alerts.watch import Alerts
from brain_otel.viewer.ingest.envelopes import read_envelope
from brain_otel.viewer.store.queries.issues import change_state
from brain_otel.viewer.store.schema import open_reader
from brain_otel.viewer.store.writer import Writer, run_now
from tests.doctor.command import run_command
from tests.support.process import free_port
from tests.support.viewer import RunningViewer, envelope, error, new_id, transaction
from tests.support.waiting import until
from tests.viewer.alerts.receiver import AlertReceiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = time.time()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOUR = 3_600


class Place:
    """A viewer's file and its writer; ``said`` is what would be delivered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = Writer(path, 64 << 20)
        run_now(self.writer, state.create_tables)

    def send(self, *items: tuple[str, Any]) -> None:
        self.writer.submit(read_envelope(envelope(items))).result(10)

    def look(self, rule: Rule, now: float) -> None:
        self.alerts({"chat": Slack("http://127.0.0.1:1/")}, rule).look_once(now)

    def alerts(self, receivers: dict[str, Receiver], *rules: Rule, every: float = 0.05) -> Alerts:
        return Alerts(AlertSettings(rules, receivers, every), self.path, self.writer, "http://view")

    def said(self) -> list[tuple[str, str]]:
        with closing(open_reader(self.path)) as connection:
            bodies = [
                json.loads(body) for (body,) in connection.execute("SELECT body FROM alert_messages ORDER BY id")
            ]
        titles = [re.sub(r"\d+ ms", "N ms", each["title"]) for each in bodies]
        return [("ends" if each["ended_at"] else "starts", title) for each, title in zip(bodies, titles, strict=True)]

    def rules(self) -> list[str]:
        with closing(open_reader(self.path)) as connection:
            return [rule for (rule,) in connection.execute("SELECT rule FROM alerts ORDER BY id")]

    def resolve(self, at: float) -> None:
        def work(connection: Any) -> None:
            for (issue,) in connection.execute("SELECT id FROM issues").fetchall():
                change_state(connection, issue, "resolved", int(at * 1e6))

        run_now(self.writer, work)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "view.db")
    try:
        yield made
    finally:
        made.writer.close()


def rule(kind: str, **options: Any) -> Rule:
    from brain_otel.viewer.alerts.rules import KINDS

    return Rule("watched", kind, KINDS[kind](**options), ("chat",))


def requests(at: float, count: int = 40, *, failed: int = 0, seconds: float = 0.1, **more: Any) -> list[Any]:
    ended = ["internal_error"] * failed + ["ok"] * (count - failed)
    return [("transaction", transaction("GET /a", at=at, seconds=seconds, status=each, **more)) for each in ended]


def shown(at: float, kind: str = "ValueError", **more: Any) -> list[Any]:
    return [("event", error(kind, at=at, transaction="GET /a", **more))]


def feedback(text: str) -> list[Any]:
    return [("feedback", {"event_id": new_id(), "contexts": {"feedback": {"message": text}}, "platform": "python"})]


def came_back(place: Place, at: float) -> None:
    place.send(*shown(at - 100))
    place.resolve(at - 50)
    place.send(*shown(at))


CASES: dict[str, tuple[Rule, Any, Any, str]] = {
    "error_rate": (
        rule("error_rate", above=0.2),
        lambda place, at: place.send(*requests(at, failed=10)),
        lambda place, at: place.send(*requests(at)),
        "10 of 40 requests failed in 5 min: 25.0%, above 20.0%",
    ),
    "new_error": (
        rule("new_error"),
        lambda place, at: place.send(*shown(at)),
        lambda _place, _at: None,
        "ValueError: no is new",
    ),
    "new_error, resolved": (
        rule("new_error"),
        lambda place, at: place.send(*shown(at)),
        lambda place, at: place.resolve(at),
        "ValueError: no is new",
    ),
    "came_back": (rule("came_back"), came_back, lambda _place, _at: None, "ValueError: no came back"),
    "slow_route, hour": (
        rule("slow_route"),
        lambda place, at: place.send(*requests(at - 1_800), *requests(at, seconds=0.3)),
        lambda place, at: place.send(*requests(at)),
        "GET /a: p95 is N ms, above 1.5 times that of the hour before (N ms)",
    ),
    "slow_route, release": (
        rule("slow_route", against="release"),
        lambda place, at: place.send(
            *requests(at - 9_000, release="shop@1"), *requests(at, seconds=0.3, release="shop@2")
        ),
        lambda place, at: place.send(*requests(at, release="shop@2")),
        "GET /a: p95 is N ms, above 1.5 times that of the release before (N ms)",
    ),
    "feedback": (
        rule("feedback"),
        lambda place, _at: place.send(*feedback("the button does nothing")),
        lambda _place, _at: None,
        "Feedback: the button does nothing",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_alert_is_said_once_and_ends_once(place: Place, name: str) -> None:
    """Looked at three times each, by three viewers one after the other."""
    watched, begin, recover, title = CASES[name]
    place.look(watched, NOW)  # what was there before is not new
    assert place.said() == []
    begin(place, NOW + 10)
    for _ in range(3):
        place.look(watched, NOW + 20)
    assert place.said() == [("starts", title)]
    later = NOW + 2 * HOUR
    recover(place, later if "resolved" not in name else NOW + 25)
    for _ in range(3):
        place.look(watched, later + 20 if "resolved" not in name else NOW + 30)
    assert place.said() == [("starts", title), ("ends", title)]


def test_a_bound_stays_while_the_route_is_slow(place: Place) -> None:
    """Or an alert would end once the slow hour is the hour before."""
    watched = rule("slow_route", minutes=1)
    place.send(*requests(NOW - 1_800), *requests(NOW, seconds=0.3))
    place.look(watched, NOW + 1)
    place.send(*requests(NOW + 3_000, seconds=0.3))
    place.look(watched, NOW + 3_000)
    assert [what for what, _ in place.said()] == ["starts"]


OTHERS = {"environment": "elsewhere", "service": "other", "route": "GET /b"}


@pytest.mark.parametrize("name", ["environment", "service", "route"])
@pytest.mark.parametrize("kind", ["error_rate", "new_error", "came_back", "slow_route", "feedback"])
@pytest.mark.thorough
def test_a_filter_leaves_others_out(place: Place, kind: str, name: str) -> None:
    """Of two rules that differ in it, one starts."""
    if (kind, name) == ("feedback", "route"):
        return
    options = {"above": 0.1} if kind == "error_rate" else {}
    right = {"environment": "production" if kind == "feedback" else "test", "route": "GET /a", "service": "python"}
    both = [rule(kind, **options, **{name: each})._replace(name=each) for each in (OTHERS[name], right[name])]
    watching = place.alerts({"chat": Slack("http://127.0.0.1:1/")}, *both)
    watching.look_once(NOW)
    begin = next(case[1] for key, case in CASES.items() if key.partition(",")[0] == kind)
    begin(PlatformOf(place), NOW + 10)
    watching.look_once(NOW + 20)
    assert len(place.said()) == 1
    assert place.rules() == [right[name]]


class PlatformOf:
    """Sends everything as the service ``python``."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.resolve = place.resolve

    def send(self, *items: tuple[str, Any]) -> None:
        self._place.send(*((kind, {**payload, "platform": "python"}) for kind, payload in items))


def test_many_alerts_are_bounded_and_counted(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """The rest starts when others end."""
    watched = rule("new_error")
    place.look(watched, NOW)
    place.send(*(shown(NOW + 1, f"Error{number}")[0] for number in range(state.MAX_OPEN + 20)))
    place.look(watched, NOW + 2)
    assert len(place.said()) == state.MAX_OPEN
    assert "20 of 'watched'" in caplog.text


def test_a_rule_that_is_gone_ends_its_alerts(place: Place) -> None:
    watched = rule("error_rate", above=0.2)
    place.send(*requests(NOW, failed=40))
    place.look(watched, NOW + 1)
    place.look(watched._replace(name="renamed", condition=watched.condition._replace(above=1.0)), NOW + 2)
    assert [what for what, _ in place.said()] == ["starts", "ends"]


HOSTILE = {
    "a body without end": b"HTTP/1.1 500 No\r\n\r\n" + b"x" * 400_000,
    "no HTTP": b"\x00\xff" * 1_000,
    "a header of a megabyte": b"HTTP/1.1 503 No\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
    "endless wait": b"HTTP/1.1 429 No\r\nRetry-After: inf\r\nContent-Length: 0\r\n\r\n",
    "nothing": b"",
    "a damaged length": b"HTTP/1.1 502 No\r\nContent-Length: -9\r\n\r\n",
}


@pytest.mark.parametrize(
    "name", [each if each == "no HTTP" else pytest.param(each, marks=pytest.mark.thorough) for each in HOSTILE]
)
def test_a_hostile_answer_is_a_failure_that_is_retried(
    place: Place, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And the alert arrives; its address is not logged."""
    monkeypatch.setattr(watch, "FIRST_PAUSE", 0.01)
    place.send(*requests(time.time(), failed=40))
    with AlertReceiver(free_port(), (HOSTILE[name],)) as receiver:
        watching = place.alerts({"chat": Slack(f"{receiver.url}/T0SECRET")}, rule("error_rate", above=0.2))
        watching.start()
        until(lambda: len(receiver.got) == 2 and not place.said())
        watching.close()
    assert receiver.got[0].raw == receiver.got[1].raw
    assert "alerts for chat cannot be delivered" in caplog.text
    assert "T0SECRET" not in caplog.text


@pytest.mark.parametrize("status", [400, 404, pytest.param(301, marks=pytest.mark.thorough)])
def test_a_refused_alert_is_lost_and_counted(place: Place, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """A redirect is not followed."""
    answer = f"HTTP/1.1 {status} No\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 10\r\n\r\nno_service".encode()
    place.send(*requests(time.time(), failed=40))
    with AlertReceiver(free_port(), (answer,)) as receiver:
        watching = place.alerts({"chat": Slack(f"{receiver.url}/T0SECRET")}, rule("error_rate", above=0.2))
        watching.start()
        until(lambda: f"HTTP {status}: no_service" in caplog.text and not place.said())
        watching.close()
    assert len(receiver.got) == 1
    assert "T0SECRET" not in caplog.text


def test_a_receiver_that_was_down_gets_all_in_order_after_a_restart(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its start, then its end, each once and signed, by another viewer than the one that found it."""
    monkeypatch.setattr(watch, "FIRST_PAUSE", 0.01)
    watched = rule("error_rate", above=0.2)
    port = free_port()
    hook: dict[str, Receiver] = {"chat": Webhook(f"http://127.0.0.1:{port}/hook", SECRET)}
    place.send(*requests(time.time(), failed=40))
    first = place.alerts(hook, watched)
    first.start()
    until(lambda: place.said())
    first.close()
    place.alerts(hook, watched).look_once(time.time() + HOUR)
    assert [what for what, _ in place.said()] == ["starts", "ends"]
    with AlertReceiver(port) as receiver:
        second = place.alerts(hook, watched, every=60)
        second.start()
        until(lambda: len(receiver.got) >= 2)
        second.close()
    kinds = [each.body["type"] for each in receiver.got[:2]]
    assert kinds == ["alert.started", "alert.ended"]
    assert len({each.body["data"]["alert"] for each in receiver.got[:2]}) == 1
    for each in receiver.got:
        name, timestamp = each.headers["webhook-id"], int(each.headers["webhook-timestamp"])
        assert each.headers["webhook-signature"] == signature(SECRET, name, timestamp, each.raw)
        assert abs(timestamp - time.time()) < 120


FILE = """
receivers:
  ops: {webhook: {url: "${HOOK}/ops", secret: "${SECRET}"}}
  chat: {slack: {url: "${HOOK}/chat"}}
  pager: {pagerduty: {routing_key: "0123456789abcdef0123456789abcdef", url: "${HOOK}/pager"}}
every: 1
rules:
  new error: {new_error: {}, to: [ops, chat, pager]}
"""


def test_a_test_message_is_marked(tmp_path: Path) -> None:
    """At each receiver of the rule; PagerDuty's is resolved."""
    file = tmp_path / "alerts.yaml"
    file.write_text(FILE)
    with AlertReceiver(free_port(), (b"HTTP/1.1 404 No\r\nContent-Length: 10\r\n\r\nno_service",)) as receiver:
        env = {"HOOK": receiver.url, "SECRET": SECRET}
        run = run_command("alerts", "test", "new error", "--alerts", str(file), env=env)
        wrong = run_command("alerts", "test", "new eror", "--alerts", str(file), env=env)
    assert (run.returncode, run.out) == (1, "ops: failed (HTTP 404: no_service)\nchat: delivered\npager: delivered\n")
    assert [each.path for each in receiver.got] == ["/ops", "/chat", "/pager", "/pager"]
    ops, chat, pager, resolved = (each.body for each in receiver.got)
    assert ops["data"]["test"] is True
    assert "TEST: new error" in chat["text"]
    assert pager["payload"]["summary"].startswith("TEST: new error")
    assert (pager["event_action"], resolved["event_action"]) == ("trigger", "resolve")
    assert pager["dedup_key"] == resolved["dedup_key"]
    assert (wrong.returncode, wrong.err) == (1, "RULE is 'new eror'; allowed: new error\n")


@pytest.mark.thorough
def test_the_command_says_an_alert_once_over_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the alert has started; the next viewer ends it."""
    file = tmp_path / "alerts.yaml"
    file.write_text(FILE)
    with AlertReceiver(free_port()) as receiver:
        file.write_text(FILE.replace("${HOOK}", receiver.url).replace("${SECRET}", SECRET))
        assert read_alerts(file, {}).every == 1
        with RunningViewer(tmp_path, "--alerts", str(file)) as viewer:
            until(lambda: _is_watched(viewer.path))
            viewer.send(*shown(time.time()))
            until(lambda: len(receiver.got) == 3)
            until(lambda: not _waiting(viewer.path))
        with RunningViewer(tmp_path, "--alerts", str(file)) as viewer:
            (issue,) = viewer.json("/issues")["issues"]
            viewer.post(f"/issues/{issue['id']}/resolve")
            until(lambda: len(receiver.got) == 6)
            viewer.server.terminate(15)
    assert Counter(each.path for each in receiver.got) == {"/ops": 2, "/chat": 2, "/pager": 2}
    assert [each.body["event_action"] for each in receiver.got if each.path == "/pager"] == ["trigger", "resolve"]


def _waiting(path: Path) -> int:
    with closing(open_reader(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM alert_messages").fetchone()[0])


def _is_watched(path: Path) -> bool:
    with closing(open_reader(path)) as connection:
        try:
            return bool(connection.execute("SELECT count(*) FROM alert_rules").fetchone()[0])
        except sqlite3.OperationalError:
            return False
