"""Sentry's sampled profiles become call trees: https://develop.sentry.dev/sdk/telemetry/profiles/sample-format-v1/."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from brain_otel.viewer.grouping import is_in_app
from brain_otel.viewer.ingest.sentry_fields import read_id, required_id
from brain_otel.viewer.rows import Batch, Json, Profile, clip, microseconds, object_at

MAX_DEPTH = 128
"""Frames of a stack, sentry-sdk's own bound; what is called further in belongs to the innermost one kept."""

MAX_NODES = 10_000
"""Nodes of the trees of one profile; further calls belong to their callers."""

MAX_THREADS = 20
"""Threads of a profile that are kept: the one that ran the transaction, and those with the most samples."""

_LAST = 10_000_000
"""Nanoseconds of a sample that no other follows, if it is the only one."""


@dataclass(slots=True)
class _Node:
    total: int = 0
    own: int = 0
    children: dict[int, _Node] = field(default_factory=dict)


def read_profile(item: Json, header: Json, batch: Batch) -> None:
    """Add a profile with a tree for each thread.

    Raises:
        ValueError: it is no profile of version 1, or its samples name what is not there.
    """
    transactions = item.get("transactions")
    transaction = transactions[0] if isinstance(transactions, list) and transactions else item["transaction"]
    profile = item["profile"]
    samples = _samples(profile)
    active = str(transaction.get("active_thread_id"))
    names = object_at(profile, "thread_metadata")
    threads = sorted(samples, key=lambda each: (each == active, len(samples[each])), reverse=True)[:MAX_THREADS]
    trees = _Trees(profile["frames"], profile["stacks"])
    found: list[Json] = [
        {
            "id": clip(thread, 100),
            "name": clip(names.get(thread, {}).get("name"), 200),
            "is_active": thread == active,
            "samples": len(samples[thread]),
            "nodes": trees.of(samples[thread]),
        }
        for thread in threads
    ]
    runtime = str(item.get("platform") or "unknown")
    batch.profiles.append(
        Profile(
            event_id=read_id(item.get("event_id") or header.get("event_id")),
            trace=required_id(transaction.get("trace_id")),
            at=microseconds(item.get("timestamp") or header.get("sent_at")),
            duration=max((each["nodes"][0][2] for each in found), default=0),
            platform=clip(runtime, 100),
            environment=clip(item.get("environment") or "production", 200),
            release=clip(item.get("release"), 200),
            name=clip(transaction.get("name")),
            body={"frames": trees.frames, "threads": found},
        )
    )
    batch.accept("profile")


def _samples(profile: Json) -> dict[str, list[tuple[int, int]]]:
    """The moment, in nanoseconds, and the stack of each sample, by thread."""
    found: dict[str, list[tuple[int, int]]] = {}
    for each in profile["samples"]:
        moment, stack = int(each["elapsed_since_start_ns"]), each["stack_id"]
        if not 0 <= moment < 1 << 53 or type(stack) is not int or not 0 <= stack < len(profile["stacks"]):
            raise ValueError("a sample has no time or no stack")
        found.setdefault(str(each.get("thread_id")), []).append((moment, stack))
    if not found:
        raise ValueError("no samples")
    for thread in found.values():
        thread.sort()
    return found


class _Trees:
    """Makes trees of samples; keeps the frames that they name."""

    def __init__(self, frames: list[Json], stacks: list[list[int]]) -> None:
        self._given = frames
        self._stacks = stacks
        self._numbers: dict[tuple[str, str, int, bool], int] = {}
        self._left = MAX_NODES

    @property
    def frames(self) -> list[tuple[str, str, int, bool]]:
        """The function, file, line and whose code it is, of each frame that a tree names."""
        return list(self._numbers)

    def of(self, samples: list[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
        """Depth, frame, and microseconds with and without callees, of each node; callers first, the root is -1."""
        weights: Counter[int] = Counter()
        gap = _LAST
        for (moment, stack), (following, _) in zip(samples, [*samples[1:], (-1, 0)], strict=True):
            gap = following - moment if following >= 0 else gap
            weights[stack] += gap
        root = _Node()
        for stack, weight in weights.items():
            self._add(root, self._stacks[stack], weight // 1_000)
        return _flat(root)

    def _add(self, root: _Node, stack: list[int], weight: int) -> None:
        node = root
        node.total += weight
        for index in stack[::-1][:MAX_DEPTH]:  # the innermost is the first
            number = self._number(index)
            child = node.children.get(number)
            if child is None:
                if not self._left:
                    break
                self._left -= 1
                child = node.children[number] = _Node()
            child.total += weight
            node = child
        node.own += weight

    def _number(self, index: int) -> int:
        if type(index) is not int or not 0 <= index < len(self._given):
            raise ValueError("a stack names a frame that is not there")
        frame = self._given[index]
        line = frame.get("lineno")
        file = frame.get("filename") or frame.get("abs_path") or frame.get("module")
        name = (clip(frame.get("function") or "?", 300), clip(file or "?", 300))
        key = (*name, line if type(line) is int and 0 <= line < 1 << 31 else 0, is_in_app(frame))
        return self._numbers.setdefault(key, len(self._numbers))


def _flat(root: _Node) -> list[tuple[int, int, int, int]]:
    """The nodes, callers before callees, the longest callee first."""
    nodes = []
    waiting = [(0, -1, root)]
    while waiting:
        depth, number, node = waiting.pop()
        nodes.append((depth, number, node.total, node.own))
        children = sorted(node.children.items(), key=lambda each: each[1].total)
        waiting += [(depth + 1, frame, child) for frame, child in children]
    return nodes
