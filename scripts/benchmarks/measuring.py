"""What the benchmarks share: variants that alternate within every round, medians, and a CSV that says on what."""

import argparse
import csv
import statistics
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, Dict, List

import torch

from rdrop_fairseq.atomic_files import atomic_output
from rdrop_fairseq.evaluation.environment import hardware, package_versions, plugin_state


def benchmark_parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="CSV file to write")
    return parser


def time_in_rounds(variants: Dict[str, Callable[[], None]], rounds: int) -> Dict[str, List[float]]:
    """Seconds of each variant in each round, after one call that does not count.

    In every round each variant runs once, in an order that rotates, so that what else the machine does falls on all.
    """
    for variant in variants.values():
        variant()
    seconds: Dict[str, List[float]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            variants[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(seconds: Dict[str, List[float]], baseline: str) -> List[Dict[str, object]]:
    """A row for each variant: quantiles of its times, and the median of its ratios to ``baseline`` round by round."""
    rows = []
    for name, times in seconds.items():
        ratios = [own / other for own, other in zip(times, seconds[baseline])]
        tenths = statistics.quantiles(times, n=10) if len(times) > 1 else times * 9
        rows.append(
            {
                "variant": name,
                "median_seconds": _rounded(statistics.median(times)),
                "quantile_10_seconds": _rounded(tenths[0]),
                "quantile_90_seconds": _rounded(tenths[-1]),
                f"times_{baseline}": _rounded(statistics.median(ratios)),
                "rounds": len(times),
            }
        )
    return rows


def _rounded(number: float) -> float:
    """To four significant digits."""
    return float(f"{number:.4g}")


def extra_memory(program: str, arguments: List[str]) -> float:
    """Growth in MiB of the largest resident set of a process while it runs one variant once.

    A process of its own, because a largest set never shrinks. ``program`` is called with ``arguments``, and prints
    the growth; see :func:`print_extra_memory`.
    """
    result = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True, check=True)
    return float(result.stdout.split()[-1])


def print_extra_memory(variant: Callable[[], None]) -> None:
    """Run ``variant`` and print by how many MiB it raised the largest resident set of this process (Linux)."""
    before = _high_water_mark()
    variant()
    print(round((_high_water_mark() - before) / 1024, 1))


def _high_water_mark() -> int:
    """The largest resident set so far, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def write_rows(rows: List[Dict[str, object]], output: "Path | None") -> None:
    """Print the rows as a table, and write them with versions and hardware to a CSV if ``output`` is given."""
    columns = list(rows[0])
    widths = [max(len(str(column)), *(len(str(row[column])) for row in rows)) for column in columns]
    for line in (dict(zip(columns, columns)), *rows):
        print("  ".join(str(line[column]).ljust(width) for column, width in zip(columns, widths)))
    if output is None:
        return
    circumstances = {
        "threads": torch.get_num_threads(),
        "commit": plugin_state(),
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M}",
        **package_versions(),
        **hardware(),
    }
    with atomic_output(output) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*columns, *circumstances])
        writer.writeheader()
        writer.writerows({**row, **circumstances} for row in rows)
    print(f"wrote {output}")
