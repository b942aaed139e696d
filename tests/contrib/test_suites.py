"""Contrib's own tests for the four libraries, with brain_otel's code in the place of contrib's.

Each suite runs twice: as it is, which says what this machine and these versions make fail anyway, and with
`tests/contrib/set_up.py`. The tests that only the second run fails are by design, and `BY_DESIGN` says why.
"""

import pytest

from tests.contrib.suites import run_suite

KEYS = "Redis commands are sent with their keys, which contrib hides (contrib#2175)"

NAMES = "Spans are named, and operations set, as the registry wants: with the server, or without the database"
PEER = "A server has its default port, and its name is no address of the network's peer"
CLASSES = "`error.type` is the class with its module"
SYSTEM = "A cluster's spans have the system too"
EMPTY = "An empty pipeline sends nothing, so it has no span"

_CLIENTS = ("Async", "AsyncInstrumentation", "Sync", "SyncInstrumentation")

BY_DESIGN: dict[str, dict[str, tuple[str, ...]]] = {
    "fastapi": {},
    "sqlalchemy": {
        NAMES: tuple(f"TestSqlalchemyInstrumentation.test_semconv_{mode}_mode" for mode in ("database", "default")),
    },
    "httpx": {
        PEER: tuple(
            f"Test{client}Integration.test_{name}_semconv"
            for client in _CLIENTS
            for name in ("basic_both", "basic_new", "nonstandard_http_method_new")
        ),
        CLASSES: tuple(
            f"Test{client}Integration.test_requests_timeout_exception_{name}_semconv"
            for client in _CLIENTS
            for name in ("both", "new")
        ),
    },
    "redis": {
        NAMES: (
            "TestRedis.test_connection_error",
            "TestRedis.test_response_error",
            "TestRedis.test_span_properties",
            "TestRedis.test_suppress_instrumentation_pipeline",
            "TestRedisAsync.test_suppress_instrumentation_async_pipeline",
            "TestRedisInstance.test_only_client_instrumented",
        ),
        SYSTEM: (
            "TestRedis.test_connection_pool_without_connection_kwargs",
            "TestRedis.test_connection_pool_without_connection_kwargs_async",
        ),
        EMPTY: ("TestRedis.test_span_name_empty_pipeline", "TestRedisAsync.test_span_name_empty_pipeline"),
        KEYS: (
            "TestBuildSpanMetaDataForPipeline.test_async_cluster_pipeline_reads_private_command_queue",
            "TestBuildSpanMetaDataForPipeline.test_cluster_pipeline_reads_execution_strategy",
            "TestBuildSpanMetaDataForPipeline.test_legacy_pipeline_still_reads_command_stack",
            "TestRedis.test_query_sanitizer",
            "TestRedis.test_query_sanitizer_enabled",
            "TestRedis.test_watch_error_sync",
            "TestRedisAsync.test_watch_error_async",
            "TestRedisAsync.test_watch_error_async_only_client",
            "TestRedisInstance.test_watch_error_sync_only_client",
            "TestRedisSemconvConfiguration.test_async_db_statement_database_dup_mode",
            "TestRedisSemconvConfiguration.test_async_db_statement_database_stable_mode",
            "TestRedisSemconvConfiguration.test_async_db_statement_default_mode",
            "TestRedisSemconvConfiguration.test_async_pipeline_database_dup_mode",
            "TestRedisSemconvConfiguration.test_async_pipeline_database_stable_mode",
            "TestRedisSemconvConfiguration.test_async_pipeline_default_mode",
            "TestRedisSemconvConfiguration.test_db_statement_combined_database_dup_http_mode",
            "TestRedisSemconvConfiguration.test_db_statement_combined_database_http_mode",
            "TestRedisSemconvConfiguration.test_db_statement_combined_http_database_mode",
            "TestRedisSemconvConfiguration.test_db_statement_database_dup_mode",
            "TestRedisSemconvConfiguration.test_db_statement_database_stable_mode",
            "TestRedisSemconvConfiguration.test_db_statement_default_mode",
            "TestRedisSemconvConfiguration.test_db_statement_http_dup_mode",
            "TestRedisSemconvConfiguration.test_db_statement_http_stable_mode",
            "TestRedisSemconvConfiguration.test_pipeline_combined_http_database_mode",
            "TestRedisSemconvConfiguration.test_pipeline_database_dup_mode",
            "TestRedisSemconvConfiguration.test_pipeline_database_stable_mode",
            "TestRedisSemconvConfiguration.test_pipeline_default_mode",
            "TestRedisSemconvConfiguration.test_pipeline_http_stable_mode",
        ),
    },
}
"""Library -> reason -> the tests that fail for it."""

AT_LEAST = {"fastapi": 90, "sqlalchemy": 50, "httpx": 150, "redis": 60}
"""Tests that pass without brain_otel, so that an empty run fails."""


@pytest.mark.contrib
@pytest.mark.thorough
@pytest.mark.parametrize("library", BY_DESIGN)
def test_contribs_tests_pass_but_for_those_that_fail_by_design(library: str) -> None:
    """No other test fails, and each of those does."""
    plain, ours = run_suite(library, plain=True), run_suite(library, plain=False)
    assert len(plain.passed) >= AT_LEAST[library]
    assert plain.passed | plain.failed == ours.passed | ours.failed
    by_design = {test for tests in BY_DESIGN[library].values() for test in tests}
    assert sorted(ours.failed - plain.failed) == sorted(by_design)
