"""Monitors send check-ins that carry their job's trace, and elsewhere a span."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

import brain_otel
from brain_otel.testing import Telemetry
from tests.support.check_ins import statuses
from tests.support.ingest import SentryIngest
from tests.support.process import run_python
from tests.support.relay import assert_accepted


def check_ins(telemetry: Telemetry) -> list[dict[str, Any]]:
    return telemetry._captured("check_in")


@contextmanager
def outcome(error: BaseException | None) -> Iterator[None]:
    """Expect that a job passes its own exception, the same object, if it has one."""
    if error is None:
        yield
        return
    with pytest.raises(type(error)) as raised:
        yield
    assert raised.value is error


def run(error: BaseException | None) -> None:
    if error is not None:
        raise error


def decorated(error: BaseException | None) -> None:
    @brain_otel.monitor("nightly", timedelta(days=1))
    def job(first: int, *, second: int) -> int:
        run(error)
        return first + second

    assert job(1, second=2) == 3
    assert job.__name__ == "job"


def entered(error: BaseException | None) -> None:
    with brain_otel.monitor("nightly", timedelta(days=1)) as span:
        span.set_tag("shop.batch", 1)
        run(error)


def decorated_async(error: BaseException | None) -> None:
    @brain_otel.monitor("nightly", timedelta(days=1))
    async def job() -> int:
        await asyncio.sleep(0)
        run(error)
        return 3

    async def main() -> None:
        with outcome(error):
            assert await job() == 3

    asyncio.run(main())
    run(error)


def entered_async(error: BaseException | None) -> None:
    async def main() -> None:
        with outcome(error):
            async with brain_otel.monitor("nightly", timedelta(days=1)):
                await asyncio.sleep(0)
                run(error)

    asyncio.run(main())
    run(error)


WAYS = (decorated, entered, decorated_async, entered_async)
ENDS: tuple[tuple[BaseException | None, str], ...] = (
    (None, "ok"),
    (ValueError("no"), "error"),
    (asyncio.CancelledError(), "error"),
)


@pytest.mark.parametrize(("error", "status"), ENDS, ids=["ok", "error", "cancelled"])
@pytest.mark.parametrize("way", WAYS)
def test_a_job_checks_in_twice(
    telemetry: Telemetry, way: Callable[[Any], None], error: BaseException | None, status: str
) -> None:
    """At its start and its end, in the trace of its transaction."""
    with outcome(error):
        way(error)
    assert statuses(check_ins(telemetry)) == {"nightly": ["in_progress", status]}
    (transaction,) = telemetry.transactions
    assert transaction["transaction"] == "nightly"
    assert transaction["contexts"]["trace"]["op"] == "cron"
    assert_accepted(transaction)
    for each in check_ins(telemetry):
        assert each["contexts"]["trace"]["trace_id"] == transaction["contexts"]["trace"]["trace_id"]
        assert each["contexts"]["trace"]["span_id"] == transaction["contexts"]["trace"]["span_id"]
        assert each["monitor_config"]["schedule"] == {"type": "interval", "value": 1, "unit": "day"}
        assert (each["environment"], each["release"]) == ("test", "test")
    (span,) = telemetry.spans
    assert span["attributes"]["brain_otel.monitor.slug"] == "nightly"


@pytest.mark.parametrize(("code", "status"), [(None, "ok"), (0, "ok"), (1, "error"), ("no", "error")])
def test_an_exit_is_a_success_without_a_code(telemetry: Telemetry, code: Any, status: str) -> None:
    """`sys.exit()` ends many jobs."""
    with pytest.raises(SystemExit), brain_otel.monitor("nightly"):
        sys.exit(code)
    assert statuses(check_ins(telemetry)) == {"nightly": ["in_progress", status]}


def test_a_job_within_a_transaction_is_a_span(telemetry: Telemetry) -> None:
    """Of the same trace; two that overlap keep their own check-ins."""
    shared = brain_otel.monitor("nightly")
    with brain_otel.start_transaction("task"), shared, shared, brain_otel.monitor("other"):
        pass
    (transaction,) = telemetry.transactions
    assert sorted(span["description"] for span in transaction["spans"]) == ["nightly", "nightly", "other"]
    found = check_ins(telemetry)
    assert {each["contexts"]["trace"]["trace_id"] for each in found} == {transaction["contexts"]["trace"]["trace_id"]}
    assert statuses(found) == {"nightly": ["in_progress", "in_progress", "ok", "ok"], "other": ["in_progress", "ok"]}
    assert len({each["check_in_id"] for each in found}) == 3


def test_calls_of_a_decorated_function_overlap(telemetry: Telemetry) -> None:
    """Each has check-ins of its own."""

    @brain_otel.monitor("nightly")
    async def job(fails: bool) -> None:
        await asyncio.sleep(0.01)
        if fails:
            raise ValueError("no")

    async def main() -> None:
        await asyncio.gather(*(job(number % 2 == 0) for number in range(6)), return_exceptions=True)

    asyncio.run(main())
    ends = [each for each in check_ins(telemetry) if each["status"] != "in_progress"]
    assert sorted(each["status"] for each in ends) == ["error"] * 3 + ["ok"] * 3
    assert len({each["check_in_id"] for each in ends}) == 6


def test_a_wrong_monitor_is_an_error_where_it_is_made() -> None:
    """Before any job runs."""
    with pytest.raises(brain_otel.ConfigurationError, match=r"monitor\('nightly'\)\.schedule is 'at night'"):
        brain_otel.monitor("nightly", "at night")


def test_a_job_runs_without_telemetry() -> None:
    """Before `setup()` it is only a function."""
    with outcome(None):
        decorated(None)


def test_check_ins_arrive_from_a_process_that_ends(ingest: SentryIngest) -> None:
    """With an unhandled exception, which is one event in the trace of the check-ins."""
    code = (
        "import brain_otel\n"
        "brain_otel.setup()\n"
        "with brain_otel.monitor('nightly', '0 3 * * *', max_runtime=30):\n"
        "    raise ValueError('no report')\n"
    )
    done = run_python(code, {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "production"})
    assert done.returncode == 1
    found = [item.json for item in ingest.items("check_in")]
    assert statuses(found) == {"nightly": ["in_progress", "error"]}
    (event,) = ingest.events
    assert {each["contexts"]["trace"]["trace_id"] for each in found} == {event["contexts"]["trace"]["trace_id"]}
