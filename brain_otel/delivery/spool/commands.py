"""What ``brain-otel ship`` and ``brain-otel spool`` do."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from brain_otel.delivery.rate_limits import read_limits
from brain_otel.delivery.record import records_in
from brain_otel.delivery.spool.directory import SHIPPER_LOCK, age, locked, read_bounds, segments, targets
from brain_otel.delivery.spool.shipper import drain, prepare, ship_until_stopped

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from brain_otel.delivery.spool.directory import Bounds
    from brain_otel.delivery.target import Target


def ship(directory: Path) -> None:
    """Send what is spooled in ``directory`` until SIGTERM or SIGINT.

    Raises:
        OSError: there is no such directory, and it cannot be made.
    """
    prepare(directory)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    with ship_until_stopped(directory) as (_, ended):
        logging.getLogger(__name__).info("Sending what is spooled in %s", directory)
        ended.wait()


def show(directory: Path, *, drain_for: float | None, as_json: bool) -> int:
    """Print what waits, after sending it for up to ``drain_for`` seconds; the exit code.

    Raises:
        OSError: the directory cannot be read.
    """
    read_state(directory)
    left: dict[str, str] | None = {}
    if drain_for is not None:
        left = drain(directory, drain_for)
    state = read_state(directory)
    if as_json:
        sys.stdout.write(json.dumps({**_data(state), "left": left}, indent=2) + "\n")
    else:
        _print(state, left)
    return 1 if left or (drain_for is not None and state.records) else 0


def _data(state: State) -> dict[str, Any]:
    return {
        "directory": str(state.directory),
        "max_bytes": state.bounds.max_bytes,
        "max_age": state.bounds.max_age,
        "shipper": state.shipper,
        "targets": [
            {
                "address": each.target.address,
                "kind": each.target.kind,
                "records": dict(each.records),
                "bytes": each.bytes,
                "oldest": each.oldest,
                "refused": [{"category": category, "reason": reason} for category, reason in each.refused],
                "resting": each.resting,
                "damaged_bytes": each.damaged,
            }
            for each in state.targets
        ],
    }


def _print(state: State, left: dict[str, str] | None) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    sender = f"process {state.shipper} sends it" if state.shipper else "no process sends it"
    console.print(
        f"{state.directory}: {state.records} waiting; {sender}; "
        f"at most {_size(state.bounds.max_bytes)} and {_duration(state.bounds.max_age)}",
        soft_wrap=True,
    )
    if state.targets:
        console.print(_table(state))
    for each in state.targets:
        for category, reason in each.refused:
            console.print(f"refused by {each.target.address}: {category} ({reason})", markup=False, soft_wrap=True)
        for category, seconds in each.resting.items():
            console.print(
                f"{each.target.address} wants no {category or 'records'} for {_duration(seconds)}",
                markup=False,
                soft_wrap=True,
            )
    if left is None:
        console.print(f"Not drained: process {state.shipper} sends it already")
    for address, reason in (left or {}).items():
        console.print(f"Left for {address}: {reason}", markup=False, soft_wrap=True)


def _table(state: State) -> Table:
    from rich.table import Table

    table = Table()
    for name in ("target", "waiting", "size", "oldest", "refused", "damaged"):
        table.add_column(name, justify="left" if name in ("target", "waiting") else "right", overflow="fold")
    for each in state.targets:
        table.add_row(
            each.target.address,
            ", ".join(f"{count} {category}" for category, count in sorted(each.records.items())) or "nothing",
            _size(each.bytes),
            _duration(each.oldest) if each.oldest is not None else "",
            str(len(each.refused) or ""),
            _size(each.damaged) if each.damaged else "",
        )
    return table


def _size(count: int) -> str:
    for unit, factor in (("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _duration(seconds: float) -> str:
    for unit, factor in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= factor:
            return f"{seconds / factor:.1f} {unit}"
    return f"{seconds:.0f} s"


@dataclass(kw_only=True)
class TargetState:
    """What waits for one target."""

    target: Target
    records: Counter[str] = field(default_factory=Counter)
    """By category."""
    bytes: int = 0
    oldest: float | None = None
    """Seconds since the oldest record was made, by the clock."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """The category and the reason of each record that was set aside."""
    resting: dict[str, float] = field(default_factory=dict)
    """Seconds for which nothing of a category is sent because the target has asked for it; "" stands for all."""
    damaged: int = 0
    """Bytes that are no records."""


@dataclass(kw_only=True)
class State:
    """What lies in a directory."""

    directory: Path
    bounds: Bounds
    targets: list[TargetState]
    shipper: int | None
    """The id of the process that sends, None if none does."""

    @property
    def records(self) -> int:
        """How many wait."""
        return sum(each.records.total() for each in self.targets)


def read_state(directory: Path) -> State:
    """Look at ``directory`` without touching it.

    Raises:
        OSError: it cannot be read.
    """
    list(directory.iterdir())
    found = [_target_state(folder, target) for folder, target in targets(directory).items()]
    return State(directory=directory, bounds=read_bounds(directory), targets=found, shipper=_shipper(directory))


def _target_state(folder: Path, target: Target) -> TargetState:
    state = TargetState(target=target)
    for segment in segments(folder):
        with suppress(OSError):
            if segment.priority == "refused":
                told = json.loads(segment.path.read_bytes().partition(b"\n")[0])
                state.refused.append((str(told["category"]), str(told["reason"])))
                continue
            data = segment.path.read_bytes()[segment.acknowledged() :]
            state.bytes += len(data)
            for found in records_in(data, sealed=True):
                if found.record is None:
                    state.damaged += found.end - found.start
                elif not found.is_done:
                    state.records[found.record.category] += 1
            if data:
                state.oldest = max(state.oldest or 0.0, age(segment))
    state.resting = read_limits(folder)
    return state


def _shipper(directory: Path) -> int | None:
    path = directory / SHIPPER_LOCK
    try:
        pid = int(path.read_text())
        with locked(path, shared=True) as is_free:
            return None if is_free else pid
    except (OSError, ValueError):
        return None
