"""What a Redis pipeline is about to send."""

from types import SimpleNamespace
from typing import Any

import pytest
from redis.cluster import PipelineStrategy, TransactionStrategy

from brain_otel.instrumentation.redis.pipelines import Batch, batch_of


def pipeline(*commands: str, **flags: Any) -> Any:
    return SimpleNamespace(command_stack=[((command, "key"), {}) for command in commands], **flags)


@pytest.mark.parametrize(
    ("commands", "flags", "operation"),
    [
        (("SET", "SET"), {"transaction": True}, "MULTI SET"),
        (("SET", "SET"), {"transaction": False}, "PIPELINE SET"),
        (("SET", "GET"), {"transaction": False}, "PIPELINE"),
        (("SET", "GET"), {"is_transaction": True}, "MULTI"),
        (("SET", "GET"), {"transaction": False, "explicit_transaction": True}, "MULTI"),
        (("SET",), {"transaction": True}, "SET"),
    ],
)
def test_a_batch_is_named_by_its_commands(commands: tuple[str, ...], flags: Any, operation: str) -> None:
    """If all are the same; one alone is no batch: https://opentelemetry.io/docs/specs/semconv/database/redis/."""
    batch = batch_of(pipeline(*commands, **flags))
    assert batch is not None
    assert (batch.operation, batch.size) == (operation, len(commands))


def test_an_empty_pipeline_is_nothing() -> None:
    """It sends nothing."""
    assert batch_of(pipeline(transaction=True)) is None


@pytest.mark.parametrize(("strategy", "word"), [(PipelineStrategy, "PIPELINE"), (TransactionStrategy, "MULTI")])
def test_a_clusters_transaction_is_told_by_its_strategy(strategy: Any, word: str) -> None:
    """`ClusterPipeline` has no flag for it."""
    chosen = strategy.__new__(strategy)
    chosen._command_queue = [SimpleNamespace(args=("SET", "a")), SimpleNamespace(args=("SET", "b"))]
    assert batch_of(SimpleNamespace(_execution_strategy=chosen)) == Batch(f"{word} SET", "SET ?\nSET ?", 2)
