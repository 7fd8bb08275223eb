"""What the benchmarks share: variants that alternate within every round, medians, and a CSV that says on what."""

import argparse
import csv
import statistics
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, Dict, List, Optional

import torch

from rdrop_fairseq.common.command_line import positive_number
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.versions import hardware, package_versions, plugin_state

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MEBIBYTE = 1024 * 1024
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError", "can't allocate memory")


def benchmark_parser(description: str, rounds: Optional[int]) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; ``--rounds`` only with a default for it."""
    parser = argparse.ArgumentParser(description=description)
    if rounds is not None:
        parser.add_argument("--rounds", type=positive_number, default=rounds, help="default: %(default)s")
    threads = torch.get_num_threads()
    parser.add_argument("--threads", type=positive_number, default=threads, help="default: %(default)s")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="CSV file to write")
    return parser


def check_device(options: argparse.Namespace) -> None:
    """Set the threads; end in one line where the device or the dtype cannot be had."""
    torch.set_num_threads(options.threads)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda, but torch sees no CUDA device; leave it out to measure the CPU")
    if options.device == "cpu" and options.dtype != "float32":
        raise UserError(f"--dtype {options.dtype} needs --device cuda; CPUs are measured in float32")


def time_in_rounds(
    variants: Dict[str, Callable[[], None]], rounds: int, device: str, warm_up: int = 2, steps: int = 1
) -> Dict[str, List[float]]:
    """Seconds of each variant in each round, after ``warm_up`` calls that do not count; of one of a call's ``steps``.

    In every round each variant runs once, in an order that rotates, so that what else the machine does falls on all.
    On a CUDA device a measurement ends when the device has finished.
    """
    for variant in variants.values():
        for _ in range(warm_up):
            variant()
    seconds: Dict[str, List[float]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            _wait_for(device)
            start = time.perf_counter()
            variants[name]()
            _wait_for(device)
            seconds[name].append((time.perf_counter() - start) / steps)
    return seconds


def _wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def summary(seconds: Dict[str, List[float]], baseline: str) -> List[Dict[str, object]]:
    """A row for each variant: quantiles of its times, and the median of its ratios to ``baseline`` round by round."""
    rows = []
    for name, times in seconds.items():
        ratios = [own / other for own, other in zip(times, seconds[baseline])]
        tenths = statistics.quantiles(times, n=10, method="inclusive") if len(times) > 1 else times * 9
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


def run_apart(program: str, arguments: List[str]) -> Optional[float]:
    """The number that ``program`` prints last, run with ``arguments`` in a process of its own.

    The largest memory of a process never shrinks, so each measurement needs a new one. None if it ran out of memory.

    Raises:
        RuntimeError: the process failed for another reason.
    """
    result = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)
    if result.returncode == 0:
        return float(result.stdout.split()[-1])
    # A process that asked for too much ends by an exception of Python or torch, or by the system's SIGKILL.
    if result.returncode == -9 or any(sign in result.stderr for sign in _OUT_OF_MEMORY):
        return None
    raise RuntimeError(f"{program} {' '.join(arguments)} failed:\n{result.stderr[-2000:]}")


def print_extra_memory(variant: Callable[[], None], device: str, miniature: Callable[[], None]) -> None:
    """Run ``variant`` and print by how many MiB it raised the memory in use by this process at most.

    ``miniature``, the same on very little data, runs before: it loads what is loaded once, and leaves nothing in
    malloc's hands that the variant could use.
    """
    miniature()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    else:
        # The largest set so far may be larger than what is in use: Linux forgets it when asked.
        Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory(device)
    variant()
    print(round(peak_memory(device) - before, 1))


def peak_memory(device: str) -> float:
    """The largest memory so far in MiB: of a CUDA device what torch allocated, else the resident set (Linux)."""
    if device == "cuda":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / MEBIBYTE
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def write_rows(rows: List[Dict[str, object]], output: Optional[Path]) -> None:
    """Print the rows as a table, and write them with versions and hardware to a CSV if ``output`` is given."""
    columns = list(rows[0])
    widths = [max(len(str(column)), *(len(str(row[column])) for row in rows)) for column in columns]
    for line in (dict(zip(columns, columns)), *rows):
        print("  ".join(str(line[column]).ljust(width) for column, width in zip(columns, widths)).rstrip())
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
