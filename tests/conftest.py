"""Fixtures for all tests. Slow imports and servers wait until a test asks for them."""

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from brain_otel.runtime import limited_log
from brain_otel.runtime.fast_paths import configure_fast_paths
from brain_otel.testing import Telemetry, captured_telemetry
from tests.support.browser import find_chromium
from tests.support.collector import CollectorMissingError, find_collector
from tests.support.ingest import SentryIngest
from tests.support.receivers import missing as missing_receivers
from tests.support.schedule import INSTRUMENTED, LongestFirst, imported_by_collection, longest_first

if TYPE_CHECKING:
    from tests.support.services import Postgres, Valkey

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

SWITCH = "BRAIN_OTEL_FAST_PATHS"
"""Set to `false` to run the tests without fast paths."""

OUR_INTEGRATIONS = {"brain_otel", "dedupe", "excepthook", "logging", "modules"}
"""The integrations of sentry-sdk that `setup()` enables; the tests expect what they patch."""


@pytest.fixture(autouse=True)
def _fast_paths() -> None:
    """Turn the fast paths on or off as the environment says, for tests that set nothing up."""
    configure_fast_paths(os.environ.get(SWITCH) != "false")


@pytest.fixture(autouse=True)
def _semantic_conventions() -> None:
    """Let each test choose the conventions: contrib keeps the first choice of a process."""
    contrib = sys.modules.get("opentelemetry.instrumentation._semconv")
    if contrib is not None:
        contrib._OpenTelemetrySemanticConventionStability._initialized = False


@pytest.fixture(autouse=True)
def _counts() -> Iterator[None]:
    """Let the log lines of one test neither appear in another nor keep the other's back."""
    if (policy := sys.modules.get("brain_otel.privacy.policy")) is not None:
        policy._mask_log.logged_at = float("-inf")
    if (before_send := sys.modules.get("brain_otel.sentry.before_send")) is not None:
        before_send._log_of.cache_clear()
    yield
    for place in list(limited_log._unlogged.places):
        place.take()
    limited_log._unlogged.places.clear()


@pytest.fixture(autouse=True)
def _sentry_integrations() -> Iterator[None]:
    """Fail a test that leaves another integration of sentry-sdk behind; its patches stay until the process ends."""
    yield
    integrations: Any = sys.modules.get("sentry_sdk.integrations")
    if integrations is not None:
        others = integrations._processed_integrations - OUR_INTEGRATIONS
        integrations._processed_integrations -= others
        assert not others, "run code that enables integrations in a process of its own, with run_python()"


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Provide the package's own fixture, with the switch of the fast paths from the environment."""
    with captured_telemetry({SWITCH: os.environ[SWITCH]} if SWITCH in os.environ else None) as captured:
        yield captured


@pytest.fixture
def ingest() -> Iterator[SentryIngest]:
    """Run a Sentry server that keeps what it receives."""
    with SentryIngest() as running:
        yield running


@pytest.fixture(scope="session")
def valkey(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Valkey"]:
    """Run one Valkey for the whole run; each test uses its own keys."""
    from tests.support.services import Valkey
    from tests.support.shared_services import start_once_a_run

    with start_once_a_run(Valkey, worker_id, tmp_path_factory.getbasetemp()) as running:
        yield running


@pytest.fixture(scope="session")
def postgres(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Postgres"]:
    """Run one PostgreSQL for the whole run; each test uses its own tables."""
    from tests.support.services import Postgres
    from tests.support.shared_services import start_once_a_run

    with start_once_a_run(Postgres, worker_id, tmp_path_factory.getbasetemp()) as running:
        yield running


def pytest_configure() -> None:
    """Stop ignoring Ctrl-C, as a job in the background does: servers that the tests start would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run two workers a core: more than half of their time, tests wait for a process, a server or a clock."""
    return (os.cpu_count() or 1) * 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst | None:
    """Divide long files whose tests share nothing."""
    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Let no collection of garbage look through the tests themselves, which are 450,000 objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        imported_by_collection[:] = [name for name in INSTRUMENTED if name in sys.modules]
        gc.freeze()
        frozen = gc.get_freeze_count()
        gc.get_freeze_count = lambda: frozen  # brain_otel asks at each set-up, and counting takes 50 ms
        gc.enable()


@pytest.hookimpl(trylast=True)  # after pytest-randomly
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long, so that no worker has one left at the end."""
    items[:] = longest_first(items)


def pytest_report_header() -> list[str]:
    """Say which tests a machine without the OpenTelemetry Collector or other receivers leaves out."""
    lines = [f"tests that need {name} are deselected: {why}" for name, why in missing_receivers().items()]
    if find_chromium() is None:
        lines.append("tests of the viewer in a browser are deselected: no chromium; install Debian's chromium")
    try:
        find_collector()
    except CollectorMissingError as missing:
        lines.append(f"tests that need the collector are deselected: {missing}")
    return lines


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Let a worker tell its controller how many tests it does not run."""
    output = getattr(items[0].config, "workeroutput", None) if items else None
    if output is not None:
        output["deselected"] = output.get("deselected", 0) + len(items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Count what the workers deselect in pytest's last line; all workers deselect the same."""
    reporter = node.config.pluginmanager.get_plugin("terminalreporter")
    count = getattr(node, "workeroutput", {}).get("deselected", 0)
    if reporter is not None and count:
        reporter.stats["deselected"] = [SimpleNamespace()] * count


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape lone surrogates in captured output: a worker cannot send them, and the run would end."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {key: _encodable(each) for key, each in value.items()}
        case list():
            return [_encodable(each) for each in value]
        case tuple():
            return tuple(map(_encodable, value))
    return value
