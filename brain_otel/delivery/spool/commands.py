"""The commands ``brain-otel ship`` and ``brain-otel spool``."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain_otel.configuration.error import masked
from brain_otel.delivery.spool.files import prepare_folder
from brain_otel.delivery.spool.shipper import drain, ship_until_stopped
from brain_otel.delivery.spool.state import State, read_state
from brain_otel.runtime.text import printable

if TYPE_CHECKING:
    from rich.table import Table


MAX_KINDS = 20
"""Kinds of discarded events that are shown."""


def ship(directory: Path) -> None:
    """Send the records in ``directory`` until SIGTERM or SIGINT.

    Raises:
        OSError: The directory does not exist and cannot be created.
    """
    prepare_folder(directory, is_shared=True)  # the shipper may start before the first application
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    with ship_until_stopped(directory) as (_, stopped):
        logging.getLogger(__name__).info("Sending the records in %s", directory)
        stopped.wait()


def show(directory: Path, *, drain_for: float | None, as_json: bool) -> int:
    """Print what is unsent, after sending for up to ``drain_for`` seconds; returns the exit code.

    Raises:
        OSError: The directory cannot be read.
    """
    read_state(directory)
    left: dict[str, str] | None = {}
    if drain_for is not None:
        left = drain(directory, drain_for)
    state = read_state(directory)
    if left:
        left = {_shown(address): _shown(reason) for address, reason in left.items()}
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
                "address": _shown(each.target.address),
                "kind": each.target.kind,
                "records": dict(each.records),
                "bytes": each.bytes,
                "oldest": each.oldest,
                "rejected": [
                    {"category": _shown(category), "reason": _shown(reason)} for category, reason in each.rejected
                ],
                "rate_limits": {_shown(category): seconds for category, seconds in each.limits.items()},
                "discarded": [
                    {"category": _shown(category), "reason": _shown(reason), "quantity": quantity}
                    for (category, reason), quantity in each.discarded.most_common()
                ],
                "damaged_bytes": each.damaged,
            }
            for each in state.targets
        ],
        "unreadable": {name: _shown(reason) for name, reason in state.unreadable.items()},
    }


def _shown(text: str) -> str:
    """``text`` from a file or an answer, without secrets and without control characters."""
    return printable(masked(text))


def _print(state: State, left: dict[str, str] | None) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    sender = "no process sends them" if state.shipper is None else f"{_process(state.shipper)} sends them"
    console.print(
        f"{state.directory}: {state.records} queued; {sender}; "
        f"at most {_size(state.bounds.max_bytes)} and {_duration(state.bounds.max_age)}",
        markup=False,
        soft_wrap=True,
    )
    if state.targets:
        console.print(_table(state))
    for line in _lines(state, left):
        console.print(line, markup=False, soft_wrap=True)


def _process(pid: int | None) -> str:
    return f"process {pid}" if pid else "a process"


def _lines(state: State, left: dict[str, str] | None) -> list[str]:
    lines = []
    for each in state.targets:
        address = _shown(each.target.address)
        lines += [
            f"rejected by {address}: {_shown(category)} ({_shown(reason)})" for category, reason in each.rejected
        ]
        if each.discarded:
            counts = ", ".join(
                f"{count} {kind} ({why})" for (kind, why), count in each.discarded.most_common(MAX_KINDS)
            )
            lines.append(f"discarded in the last day, for {address}: {_shown(counts)}")
        lines += [
            f"{address} accepts no {_shown(category) or 'records'} for {_duration(seconds)}"
            for category, seconds in each.limits.items()
        ]
    lines += [f"{name}: its records are left alone ({_shown(reason)})" for name, reason in state.unreadable.items()]
    if left is None:
        return [*lines, f"Not drained: {_process(state.shipper)} sends already"]
    return [*lines, *(f"Left for {address}: {reason}" for address, reason in left.items())]


def _table(state: State) -> Table:
    from rich.table import Table

    table = Table()
    for name in ("target", "queued", "size", "oldest", "rejected", "damaged"):
        table.add_column(name, justify="left" if name in ("target", "queued") else "right", overflow="fold")
    for each in state.targets:
        table.add_row(
            _shown(each.target.address),
            ", ".join(f"{count} {category}" for category, count in sorted(each.records.items())) or "nothing",
            _size(each.bytes),
            _duration(each.oldest) if each.oldest is not None else "",
            str(len(each.rejected) or ""),
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
