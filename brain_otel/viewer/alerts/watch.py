"""Looks at the rules in turn, and delivers what they find: one thread for the rules, one for each receiver."""

import logging
import random
import sqlite3
import threading
import time
import uuid
from contextlib import closing
from functools import partial
from pathlib import Path

from brain_otel.runtime.limited_log import CountLog, OutageLog
from brain_otel.runtime.threads import start_daemon
from brain_otel.viewer.alerts import state
from brain_otel.viewer.alerts.conditions import Question, first_mark, look
from brain_otel.viewer.alerts.messages import post_of
from brain_otel.viewer.alerts.rules import AlertSettings, PagerDuty, Receiver, Rule
from brain_otel.viewer.alerts.sending import TIMEOUT, Outcome, Sender
from brain_otel.viewer.alerts.state import Look, Occasion, Waiting, Watched
from brain_otel.viewer.store.schema import open_reader
from brain_otel.viewer.store.writer import FullError, Writer, run_now

logger = logging.getLogger(__name__)

MAX_AGE = 24 * 3_600
"""Seconds after which a message that cannot be delivered is given up."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds before the first retry and, doubled each time, at most; a random part of up to a half is taken off."""

POLL = 0.5
"""Seconds between two looks at what is to be delivered."""

_LEASE = 3 * TIMEOUT
"""Seconds for which a message belongs to the viewer that sends it."""

_FAILURES = (sqlite3.Error, FullError, TimeoutError)


class Alerts:
    """The alerts of one viewer.

    Args:
        path: the viewer's file.
        writer: writes it.
        link: the viewer's address in messages.
    """

    def __init__(self, settings: AlertSettings, path: Path, writer: Writer, link: str) -> None:
        self._settings = settings
        self._path, self._writer = path, writer
        self._link = (settings.link or link).rstrip("/")
        self._stop = threading.Event()
        self._threads: list[threading.Thread | None] = []
        self._looking = OutageLog(
            logger,
            failed="alerts: the file cannot be looked at (%s)",
            recovered="alerts: the file can be looked at again",
            repeated="alerts: the file could not be looked at %d more times within a minute",
        )
        self._surplus = CountLog(logger, "alerts that are not said, since too many are open or wait: %s")

    def start(self) -> None:
        """Start the threads."""
        run_now(self._writer, state.create_tables)
        self._threads.append(start_daemon(self._look_in_turn, "brain_otel.viewer.alerts"))
        for name, receiver in self._settings.receivers.items():
            delivery = Delivery(name, receiver, self._path, self._writer, self._link)
            self._threads.append(start_daemon(partial(delivery.run, self._stop), f"brain_otel.viewer.alerts.{name}"))

    def close(self) -> None:
        """Stop the threads; what is not delivered waits in the file."""
        self._stop.set()
        for thread in self._threads:
            if thread is not None:
                thread.join(TIMEOUT)

    def _look_in_turn(self) -> None:
        while not self._stop.is_set():
            try:
                self.look_once(time.time())
                self._looking.works()
            except _FAILURES as error:
                self._looking.failed(error)
            self._stop.wait(self._settings.every)

    def look_once(self, now: float) -> None:
        """Look at each rule, and write what follows in one transaction."""
        at = int(now * 1e6)
        with closing(open_reader(self._path)) as connection:
            found = [each for rule in self._settings.rules if (each := self._look(connection, rule, at))]
            gone = state.unknown_rules(connection, [rule.name for rule in self._settings.rules])
        if found or gone:
            run_now(self._writer, partial(self._write, found, gone, at))

    def _look(self, connection: sqlite3.Connection, rule: Rule, at: int) -> tuple[Rule, Look] | None:
        known = state.watched(connection, rule.name)
        watched = known or Watched(at, first_mark(connection))
        opened = state.open_alerts(connection, rule.name)
        seen = look(Question(connection, rule, watched, opened, at))
        room = state.MAX_OPEN - len(opened)
        if len(seen.started) > room:
            self._surplus.add(f"of {rule.name!r}", len(seen.started) - room)
        seen = seen._replace(started=seen.started[: max(0, room)], mark=seen.mark or watched.mark)
        is_news = known is None or seen.started or seen.ended or seen.mark != watched.mark
        return (rule, seen) if is_news else None

    def _write(
        self, found: list[tuple[Rule, Look]], gone: list[str], at: int, connection: sqlite3.Connection
    ) -> None:
        for rule, seen in found:
            state.end(connection, rule.name, seen.ended, at)
            for occasion in seen.started:
                state.start(connection, rule.name, rule.kind, rule.to, occasion, at)
            state.remember(connection, rule.name, at, seen.mark)
        for name in gone:
            state.end(connection, name, None, at)
        if dropped := state.drop_surplus(connection, self._settings.receivers):
            self._surplus.add("messages", dropped)


class Delivery:
    """Delivers the messages for one receiver, in order."""

    def __init__(self, name: str, receiver: Receiver, path: Path, writer: Writer, link: str) -> None:
        self._name, self._receiver, self._link = name, receiver, link
        self._path, self._writer = path, writer
        self._sender = Sender()
        self._outage = OutageLog(
            logger,
            name,
            failed="alerts for %s cannot be delivered and wait (%s)",
            recovered="alerts for %s are delivered again",
            repeated="alerts for %s could not be delivered %d more times within a minute",
        )
        self._lost = CountLog(logger, "alerts for %s are lost: %s", name)

    def run(self, stop: threading.Event) -> None:
        """Deliver until ``stop`` is set."""
        with closing(open_reader(self._path)) as connection, closing(self._sender):
            while not stop.is_set():
                is_idle = True
                try:
                    is_idle = not self._deliver(connection)
                except _FAILURES as error:
                    self._outage.failed(error)
                if is_idle:
                    stop.wait(POLL)

    def _deliver(self, connection: sqlite3.Connection) -> bool:
        """Send the oldest message if it is due; returns whether it was."""
        now = time.time()
        message = state.next_message(connection, self._name, int(now * 1e6))
        if message is None or not self._is_claimed(message, now):
            return False
        outcome = self._sender.send(post_of(self._receiver, message.body, self._link, now))
        if outcome.result == "sent":
            self._outage.works()
        elif outcome.result == "later" and now - message.made_at / 1e6 < MAX_AGE:
            self._outage.failed(outcome.reason)
            until = int((time.time() + max(_pause(message.attempts), outcome.wait)) * 1e6)
            run_now(self._writer, lambda writing: state.delay(writing, message, until))
            return True
        else:
            self._lost.add(outcome.reason)
        run_now(self._writer, lambda writing: state.settle(writing, message))
        return True

    def _is_claimed(self, message: Waiting, now: float) -> bool:
        claimed: list[bool] = []
        until = int((now + _LEASE) * 1e6)
        run_now(self._writer, lambda writing: claimed.append(state.claim(writing, message, until)))
        return claimed[-1]


def _pause(attempts: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts, 20)) * random.uniform(0.5, 1.0)  # noqa: S311


def send_test(settings: AlertSettings, rule: Rule, link: str) -> dict[str, Outcome]:
    """Send a marked test message to each receiver of ``rule``; one of PagerDuty's is resolved at once."""
    now = time.time()
    occasion = Occasion("", "This is a test: nothing has happened", "/issues", {})
    message = {**state.new_message(rule.name, rule.kind, occasion, int(now * 1e6)), "test": True}
    outcomes = {}
    with closing(Sender()) as sender:
        for name in rule.to:
            receiver = settings.receivers[name]
            given = {**message, "id": uuid.uuid4().hex}
            outcomes[name] = sender.send(post_of(receiver, given, settings.link or link, now))
            if isinstance(receiver, PagerDuty) and outcomes[name].result == "sent":
                outcomes[name] = sender.send(post_of(receiver, {**given, "ended_at": int(now * 1e6)}, link, now))
    return outcomes
