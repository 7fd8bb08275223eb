"""Where the time of a training update goes, plain and with R-Drop: seconds by kind of operation.

    python scripts/benchmarks/update_profile.py --preset d128 d256 --output update_profile.csv

Times are those of torch's profiler, of each operation without those that it calls. Models, batches and variants are
those of training_update.py.
"""

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Callable, Dict, List

import torch
from measuring import benchmark_parser, check_device, write_rows
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile
from update_setups import BATCHES, PRESETS, available_variants, check_data, make_updates, write_dictionaries

# The first pattern that matches the name of an operation.
KINDS = {
    "matrix products": r"(add)?b?mm_?|baddbmm|.*scaled_dot_product.*",
    "dropout masks": r"bernoulli_?|native_dropout.*",
    "exponentials and logarithms": r"_?(log_)?softmax.*|_(log_)?softmax_backward_data|exp_?|log_?",
    "copies, fills and look-ups": r"(copy|fill|zero|masked_fill)_?|cat|index.*|gather|scatter.*|.*embedding.*",
    "layer normalisation": r"native_layer_norm.*",
    "sums and maxima": r"sum|mean|amax|argmax|max|any|nonzero|linalg_vector_norm|.*_norm",
    "element-wise arithmetic": r"(add|sub|mul|div|addcmul|neg|reciprocal|threshold|relu|clamp|eq|ne)(_|$).*",
}
OPTIMISER, REST = "optimiser", "rest"


def main() -> None:
    """The command line."""
    parser = benchmark_parser(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--preset", choices=PRESETS, nargs="+", default=["d128"])
    parser.add_argument("--variant", choices=available_variants(), nargs="+", default=["plain", "rdrop"])
    parser.add_argument("--data", type=Path, help="folder of fairseq-preprocess, en-de (default: random sentences)")
    options = parser.parse_args()
    check_device(options)
    check_data(options.data)
    rows: List[Dict[str, object]] = []
    for preset in options.preset:
        with tempfile.TemporaryDirectory() as folder:
            data = options.data or Path(folder)
            if not options.data:
                write_dictionaries(data, PRESETS[preset][1])
            setup = (preset, data, options.device, options.dtype)
            seconds = {it: seconds_by_kind(make_updates(it, *setup), options.rounds) for it in options.variant}
        whole = sum(seconds[options.variant[0]].values())
        for variant, kinds in seconds.items():
            for kind in (*KINDS, OPTIMISER, REST):
                row = {"preset": preset, "device": options.device, "dtype": options.dtype, "variant": variant}
                row.update(kind=kind, seconds=round(kinds[kind], 5))
                row[f"times_{options.variant[0]}"] = round(kinds[kind] / whole, 3)
                rows.append(row)
    write_rows(rows, options.output)


def seconds_by_kind(updates: Callable[[], None], rounds: int) -> Counter:
    """The mean seconds of one update by kind of operation, after a round that does not count."""
    updates()
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(rounds):
            updates()
    seconds: Counter = Counter()
    for event in profiler.events():
        microseconds = event.self_device_time_total if torch.cuda.is_available() else event.self_cpu_time_total
        seconds[kind_of(event)] += microseconds / 1e6 / rounds / BATCHES
    return seconds


def kind_of(event: FunctionEvent) -> str:
    """The kind of an operation: that of its name, but the optimiser's whatever it does there."""
    caller = event
    while caller is not None:
        if caller.name == "optimizer":  # the range that fairseq's trainer marks
            return OPTIMISER
        caller = caller.cpu_parent
    name = event.name.rpartition("::")[2]
    return next((kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, name)), REST)


if __name__ == "__main__":
    main()
