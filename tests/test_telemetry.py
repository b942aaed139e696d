"""Tests of what set-up costs and leaves: expressions compiled late, and the collector as it was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.process import run_python

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"SENTRY_DSN": "http://key@127.0.0.1:9/1", "SENTRY_ENVIRONMENT": "production"}


def printed(code: str, **environment: str) -> list[str]:
    done = run_python(code, ENVIRONMENT | environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_no_expression_of_ours_for_what_is_masked_is_compiled_by_setup() -> None:
    """They are when something is masked; together they take ten milliseconds."""
    code = """
import re, sys
compiled = []
compile = re.compile
def noted(*given):
    compiled.append(sys._getframe(1).f_globals["__name__"])
    return compile(*given)
re.compile = noted
import brain_otel
brain_otel.setup()
found = [name for name in compiled if name.startswith("brain_otel.")]
assert "brain_otel.configuration.document" in found
print(found.count("brain_otel.runtime.lazy_regex"), any("privacy" in name for name in found))
from brain_otel.privacy import policy
print(policy().text("password=hunter2"), compiled.count("brain_otel.runtime.lazy_regex") > 0)
"""
    assert printed(code) == ["0", "False", "password=[Filtered]", "True"]


@pytest.mark.parametrize("before", ["enable", "disable", "freeze"])
def test_the_collector_is_left_as_it_was_found(before: str) -> None:
    """Running or not, and what was frozen stays so, but for the few objects that have been let go."""
    code = f"""
import gc
gc.{before}()
frozen = gc.get_freeze_count()
import brain_otel
brain_otel.setup()
print(gc.isenabled(), frozen - 1_000 < gc.get_freeze_count() <= frozen)
"""
    assert printed(code) == [str(before != "disable"), "True"]


def test_set_up_is_not_looked_through_for_garbage() -> None:
    code = """
import gc
import brain_otel
looked_through = []
def noted(phase, info):
    if phase == "start":
        looked_through.append(len(gc.get_objects(generation=0)))
gc.callbacks.append(noted)
brain_otel.setup()
[[] for _ in range(2_000)]
kept = [[] for _ in range(2_000)]
print(len(looked_through) > 0, max(looked_through) < 5_000)
"""
    assert printed(code) == ["True", "True"]


def test_what_another_process_sends_with_is_not_imported_here(tmp_path: Path) -> None:
    """Nor the sampling's tail, where none is set."""
    code = """
import sys
import brain_otel
brain_otel.setup()
brain_otel.capture_message("spooled")
names = ("delivery.spool.writer", "delivery.http", "delivery.retry_loop", "delivery.spool.shipper", "sampling.tail")
print(*("brain_otel." + name in sys.modules for name in names))
"""
    assert printed(code, BRAIN_OTEL_SPOOL_DIR=str(tmp_path)) == ["True", *["False"] * 4]
