"""The largest --max-tokens with which a training update fits into a given amount of memory.

    python scripts/benchmarks/largest_batch.py --preset d256 --memory 2048 --output largest_batch.csv

Each trial is a process of its own that makes two updates on random sentences; its memory is that of the whole
process, on a CUDA device what torch allocated there. The search ends when it knows the number to within ``--step``.
"""

import tempfile
from pathlib import Path
from typing import Callable, Dict, List, Optional

from measuring import benchmark_parser, check_device, peak_memory, run_apart, write_rows
from update_setups import LONGEST, PRESETS, available_variants, make_updates, write_dictionaries

from rdrop_fairseq.common.command_line import positive_number

UPDATES = 2  # the first one makes the optimiser's state


def print_memory(variant: str, preset: str, device: str, dtype: str, max_tokens: int) -> None:
    """Make the updates in this process and print the largest memory in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        write_dictionaries(Path(folder), PRESETS[preset][1])
        update = make_updates(variant, preset, Path(folder), device, dtype, max_tokens, batches=1)
        for _ in range(UPDATES):
            update()
    print(round(peak_memory(device), 1))


def largest(needs: Callable[[int], Optional[float]], memory: float, step: int) -> Dict[str, object]:
    """The largest multiple of ``step`` tokens that needs at most ``memory`` MiB, and what it needs.

    ``needs`` gives MiB, or None where memory ran out; it is taken to grow with the tokens.
    """
    fits, fits_with = 0, 0.0
    # The first power of two that does not fit, then halves of what is in between.
    too_large = None
    while too_large is None or too_large - fits > 1:
        trial = (fits * 2 or 1) if too_large is None else (fits + too_large) // 2
        needed = needs(trial * step)
        if needed is not None and needed <= memory:
            fits, fits_with = trial, needed
        else:
            too_large = trial
    return {"max_tokens": fits * step, "needs_MiB": fits_with}


def main() -> None:
    """The command line."""
    parser = benchmark_parser(__doc__.splitlines()[0], rounds=None)
    parser.add_argument("--preset", choices=PRESETS, default="d256")
    parser.add_argument("--variant", choices=available_variants(), nargs="+", default=["plain", "rdrop", "fairseq"])
    parser.add_argument("--memory", type=float, required=True, help="in MiB")
    parser.add_argument("--step", type=positive_number, default=256, help="tokens (default: %(default)s)")
    parser.add_argument(
        "--memory-with", type=positive_number, help="only print the memory in MiB with this --max-tokens"
    )
    options = parser.parse_args()
    if options.step < LONGEST:
        parser.error(f"argument --step: {options.step} is less than a sentence has; give at least {LONGEST}")
    check_device(options)
    setting = {"preset": options.preset, "device": options.device, "dtype": options.dtype}
    if options.memory_with:
        print_memory(options.variant[0], *setting.values(), options.memory_with)
        return
    rows: List[Dict[str, object]] = []
    for variant in options.variant:
        flags = {**setting, "variant": variant, "memory": options.memory, "threads": options.threads}
        arguments = [word for name, value in flags.items() for word in (f"--{name}", str(value))]

        def needs(max_tokens: int, arguments: List[str] = arguments) -> Optional[float]:
            return run_apart(__file__, [*arguments, "--memory-with", str(max_tokens)])

        found = largest(needs, options.memory, options.step)
        rows.append({**setting, "memory_MiB": options.memory, "variant": variant, **found})
    write_rows(rows, options.output)


if __name__ == "__main__":
    main()
