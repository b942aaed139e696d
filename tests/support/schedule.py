"""The order in which the workers of a parallel run take the files: the longest first.

A file that begins last and takes half a minute keeps one worker busy while the others have nothing left.
"""

import zlib
from collections.abc import Iterable

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # ships no types

LONGEST = {
    "tests/contrib/test_suites.py": 100,
    "tests/instrumentation/test_private_names.py": 100,
    "tests/privacy/test_linear_time.py": 90,
    "tests/privacy/test_running_service.py": 90,
    "tests/benchmarks/test_tail.py": 60,
    "tests/instrumentation/jobs/test_arq.py": 60,
    "tests/runtime/test_guard.py": 60,
    "tests/privacy/test_planted_secrets.py": 50,
    "tests/test_docs.py": 50,
    "tests/viewer/test_browser.py": 50,
    "tests/configuration/test_bad_values.py": 45,
    "tests/instrumentation/jobs/test_celery.py": 45,
    "tests/service/test_hostile.py": 45,
    "tests/service/test_hostile_texts.py": 45,
    "tests/benchmarks/test_viewer.py": 40,
    "tests/delivery/spool/test_shipper.py": 40,
    "tests/privacy/test_policy.py": 40,
    "tests/runtime/test_exit.py": 40,
    "tests/runtime/test_interpreter_exit.py": 40,
    "tests/service/test_two_setups.py": 40,
    "tests/receivers/test_receivers.py": 35,
    "tests/service/test_hostile_process.py": 35,
    "tests/benchmarks/test_benchmarks.py": 30,
    "tests/destinations/test_isolation.py": 30,
    "tests/doctor/checks/test_application.py": 30,
    "tests/instrumentation/jobs/test_celery_workers.py": 30,
    "tests/instrumentation/test_fast_paths.py": 30,
    "tests/instrumentation/test_logging_processes.py": 30,
    "tests/receivers/test_compose.py": 30,
    "tests/service/test_fleet.py": 30,
    "tests/delivery/spool/test_disks.py": 25,
    "tests/delivery/test_faults.py": 25,
    "tests/service/test_environments.py": 25,
    "tests/service/test_linking.py": 25,
    "tests/service/test_servers.py": 25,
    "tests/destinations/otlp/test_destination.py": 22,
    "tests/destinations/test_third_party.py": 21,
    "tests/destinations/test_private_names.py": 20,
    "tests/privacy/test_secrets.py": 20,
    "tests/runtime/test_garbage.py": 20,
    "tests/sdk/test_private_names.py": 20,
    "tests/sentry/test_private_names.py": 20,
    "tests/service/test_sizes.py": 20,
    "tests/service/test_trust.py": 20,
    "tests/test_launcher.py": 20,
    "tests/service/test_registry.py": 19,
    "tests/doctor/checks/test_destinations.py": 18,
    "tests/instrumentation/test_threading.py": 18,
    "tests/sentry/test_event_size.py": 18,
    "tests/configuration/test_destinations.py": 17,
    "tests/demo/test_demo.py": 17,
    "tests/delivery/test_bounded_answers.py": 16,
    "tests/sentry/test_spotlight.py": 16,
    "tests/service/test_trace_context.py": 15,
    "tests/collector/test_gateway.py": 14,
    "tests/runtime/test_fork.py": 13,
    "tests/sentry/test_propagator.py": 13,
    "tests/configuration/test_loading.py": 12,
    "tests/configuration/test_simple_form.py": 12,
    "tests/delivery/test_ingest_faults.py": 12,
    "tests/destinations/test_sentry_otlp.py": 12,
    "tests/instrumentation/others/test_llm.py": 12,
    "tests/privacy/test_private_names.py": 12,
    "tests/service/test_differential.py": 12,
    "tests/service/test_isolation.py": 12,
    "tests/service/test_propagation.py": 12,
    "tests/instrumentation/test_metrics.py": 11,
    "tests/viewer/store/test_writer.py": 10,
}
"""Files that take long in either tier, and about how many seconds; the figures only order them."""

APART = {
    "tests/instrumentation/test_private_names.py": 8,
    "tests/privacy/test_linear_time.py": 6,
    "tests/contrib/test_suites.py": 4,
    "tests/sentry/test_private_names.py": 2,
    "tests/runtime/test_exit.py": 3,
    "tests/runtime/test_interpreter_exit.py": 3,
    "tests/doctor/checks/test_application.py": 2,
    "tests/delivery/test_faults.py": 2,
}
"""Files whose tests share nothing that takes long to start, and among how many units they are divided."""

LAST = {
    "tests/delivery/test_bounded_answers.py",
    "tests/destinations/otlp/test_destination.py",
    "tests/destinations/otlp/test_grpc_answers.py",
    "tests/destinations/test_isolation.py",
    "tests/destinations/test_otel_components.py",
    "tests/destinations/test_outage_log.py",
    "tests/destinations/test_private_names.py",
    "tests/instrumentation/jobs/test_task.py",
    "tests/instrumentation/others/test_conventions.py",
    "tests/instrumentation/others/test_grpc_calls.py",
    "tests/instrumentation/others/test_grpc_servers.py",
    "tests/instrumentation/others/test_layers.py",
    "tests/instrumentation/others/test_libraries.py",
    "tests/instrumentation/others/test_statements.py",
    "tests/privacy/test_driver_errors.py",
    "tests/privacy/test_errors.py",
    "tests/support/test_services.py",
    "tests/test_private_names.py",
}
"""Files whose tests import libraries of `INSTRUMENTED`."""

INSTRUMENTED = ("aiohttp", "asyncpg", "botocore", "grpc", "psycopg")
"""Libraries that each later set-up of the same process instruments, which takes time; tests import them late."""

imported_by_collection: list[str] = []
"""Those of `INSTRUMENTED` that some file has imported before the first test."""


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the tests by how long their files take, those of `LAST` last; a file's tests stay in their order."""
    return sorted(items, key=lambda item: _place_of(file_of(item.nodeid)))


def _place_of(file: str) -> tuple[bool, float]:
    return file in LAST, -LONGEST.get(file, 0) / APART.get(file, 1)


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


class LongestFirst(LoadFileScheduling):  # type: ignore[misc]
    """Gives a worker a file at a time, or a part of one whose tests share nothing."""

    def _split_scope(self, nodeid: str) -> str:
        file = file_of(nodeid)
        return f"{file} {zlib.crc32(nodeid.encode()) % APART.get(file, 1)}"
