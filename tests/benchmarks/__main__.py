"""The benchmark's command: measures, prints the tables, writes them to files, draws."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks.curves import COMPARED, measure_curves
from tests.benchmarks.extras import start_extras
from tests.benchmarks.figures import least, medians
from tests.benchmarks.memory import grow
from tests.benchmarks.plot import draw
from tests.benchmarks.report import write_report
from tests.benchmarks.serving import serve_all
from tests.benchmarks.shipping import EXTERNAL
from tests.benchmarks.surroundings import Surroundings, surroundings
from tests.benchmarks.tables import tables
from tests.benchmarks.tail import measure_tail
from tests.benchmarks.turns import KINDS, start_all, take_turns
from tests.benchmarks.variants import BARE, FLOOR, VARIANTS, Variant
from tests.benchmarks.viewer import measure_viewer
from tests.support import ROOT

SECTIONS = {
    "cpu": ("rounds", "requests"),
    "load": ("rounds", "rate", "seconds"),
    "start": ("rounds",),
    "curves": ("rounds", "requests"),
    "memory": ("spans",),
    "tail": ("rounds", "requests", "served"),
    "viewer": ("spans", "seconds"),
}
"""The parts of the benchmark, each with its options."""

PAGE, DRAWING = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.svg"

console = Console(width=max(Console().width, 120), highlight=False)


def main() -> None:
    """Measure the chosen sections."""
    options = _options()
    results = json.loads(options.resume.read_text())["runs"] if options.resume else {}
    chosen = [each for each in VARIANTS if not options.only or each.name in (BARE, FLOOR, *options.only)]
    missing = [each.name for each in chosen if not each.is_installed()]
    if missing and options.sections:
        console.print(f"Not installed, and so not measured (the group peers): {', '.join(missing)}")
    if options.sections:
        _measure_all(options, [each for each in chosen if each.is_installed()], results)
    _show(options, results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    add = parser.add_argument
    add("--sections", type=_sections, help=f"of {','.join(SECTIONS)}; all of them if --from is not given")
    add("--rounds", type=int, default=5, help="runs of each variant, one beside the other")
    add("--requests", type=int, default=500, help="requests a run")
    add("--rate", type=float, default=40, help="requests a second at which latency is measured")
    add("--seconds", type=float, default=5, help="how long, at that rate and then at most")
    add("--served", type=int, default=1500, help="requests a run in the open loop of the section tail")
    add("--spans", type=int, default=1_000_000, help="spans that the sections memory and viewer record")
    add("--kind", default="request", choices=list(KINDS))
    names = [each.name for each in VARIANTS]
    add("--only", action="append", choices=names, metavar="NAME", help="bare and floor are always measured")
    add("--json", type=Path, help="write the figures and all runs to this file, section by section")
    add("--from", dest="resume", type=Path, help="begin with what --json has written")
    add("--plot", type=Path, nargs="?", const=DRAWING, help=f"draw the CPU, in {DRAWING.relative_to(ROOT)}")
    add("--report", type=Path, nargs="?", const=PAGE, help=f"write the tables into {PAGE.relative_to(ROOT)}")
    if resume := parser.parse_known_args()[0].resume:
        parser.set_defaults(**json.loads(resume.read_text())["runs"]["about"])
    options = parser.parse_args()
    if options.sections is None:
        options.sections = [] if options.resume else list(SECTIONS)
    return options


def _sections(text: str) -> list[str]:
    given = text.split(",")
    if unknown := [each for each in given if each not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    return given


def _about(options: argparse.Namespace) -> dict[str, Any]:
    kept = ("rounds", "requests", "served", "rate", "seconds", "spans", "kind")
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    return {**{name: getattr(options, name) for name in kept}, **machine}


def _measure_all(options: argparse.Namespace, chosen: Sequence[Variant], results: dict[str, Any]) -> None:
    """Add the figures of each section to the results, and write the results after each section."""
    measured = results.get("about", {}).get("measured", {})
    results["about"] = {**_about(options), "measured": measured}
    with surroundings([*chosen, *(each for each in (*COMPARED, EXTERNAL) if each not in chosen)]) as around:
        for section in options.sections:
            results[section] = _measure(section, options, chosen, around)
            given = {name: getattr(options, name) for name in SECTIONS[section]}
            measured[section] = {"day": datetime.now(UTC).date().isoformat(), **given}
            if options.json:
                options.json.write_text(json.dumps(_summed(results), indent=1))


def _measure(section: str, options: argparse.Namespace, chosen: Sequence[Variant], around: Surroundings) -> Any:
    if section == "memory":
        return grow(options.spans)
    if section == "viewer":
        return measure_viewer(options.spans, options.seconds)
    rounds: dict[str, Callable[[Sequence[Variant], int], Mapping[str, Any]]] = {
        "cpu": lambda order, _: take_turns(order, around, KINDS[options.kind], options.requests),
        "load": lambda order, _: serve_all(order, around, options.rate, options.seconds),
        "start": lambda order, number: {**start_all(order, around), **start_extras(around, number)},
        "curves": lambda *_: measure_curves(around, options.requests),
        "tail": lambda _, number: measure_tail(chosen, around, options.requests, options.served, number),
    }
    found: dict[str, Any] = {each.name: [] for each in chosen} if section not in ("curves", "tail") else {}
    for number in range(options.rounds):
        order = chosen if number % 2 == 0 else chosen[::-1]
        _append(found, rounds[section](order, number))
    return found


def _append(found: dict[str, Any], measured: Mapping[str, Any]) -> None:
    """Append the figures of a run to the lists in the nested results."""
    for key, value in measured.items():
        if _is_run(value):
            found.setdefault(key, []).append(value)
        else:
            _append(found.setdefault(key, {}), value)


def _is_run(value: Mapping[str, Any]) -> bool:
    return not all(isinstance(each, Mapping) for each in value.values())


def _summed(results: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: _each(results, summary) for name, summary in (("medians", medians), ("least", least))}
    return {**made, "runs": results}


def _each(results: Mapping[str, Any], summary: Callable[[Any], Any]) -> dict[str, Any]:
    """Replace each list of runs in the results by its summary; drop everything else."""
    found = {}
    for key, value in results.items():
        if isinstance(value, Mapping):
            found[key] = _each(value, summary)
        elif isinstance(value, list) and isinstance(value[0], Mapping):
            found[key] = summary(value)
    return found


def _show(options: argparse.Namespace, results: Mapping[str, Any]) -> None:
    grids = tables(results)
    for grid in chain.from_iterable(grids.values()):
        console.print(grid.table(), "")
    if options.plot:
        if "cpu" not in results:
            raise SystemExit("--plot draws what the section cpu has measured")
        options.plot.write_text(draw(results["cpu"], results["about"]["kind"]))
    if options.report:
        write_report(options.report, results, grids)


if __name__ == "__main__":
    main()
