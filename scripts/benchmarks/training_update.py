"""A whole training update through fairseq's trainer, plain and with R-Drop, on the same model and batches.

    python scripts/benchmarks/training_update.py --preset d128 --output training_update.csv

Batches are of random sentences, or of the data (made by fairseq-preprocess) that ``--data`` names; then their
dictionary gives the vocabulary. A time is the mean over an update on each of a few batches, of short sentences and of
long ones. The variants are described in update_setups.py.
"""

import tempfile
from pathlib import Path
from typing import Dict, List

from measuring import (
    benchmark_parser,
    check_device,
    print_extra_memory,
    run_apart,
    summary,
    time_in_rounds,
    write_rows,
)
from update_setups import BATCHES, PRESETS, available_variants, check_data, make_updates, variant, write_dictionaries


def main() -> None:
    """The command line."""
    parser = benchmark_parser(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--preset", choices=PRESETS, nargs="+", default=["d128"])
    parser.add_argument(
        "--variant",
        type=variant,
        nargs="+",
        default=available_variants(),
        help="%(default)s, or NAME=FLAGS, R-Drop with these flags: 'cheap=--rdrop-fraction 0.5'; with --rdrop-interval "
        "give an even number of rounds",
    )
    parser.add_argument("--data", type=Path, help="folder of fairseq-preprocess, en-de (default: random sentences)")
    parser.add_argument(
        "--memory-of",
        type=variant,
        help="only print the extra memory of the updates of this variant in MiB, for the first preset",
    )
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
            if options.memory_of:
                miniature = make_updates(options.memory_of, "tiny", *setup[1:], batches=1)
                print_extra_memory(make_updates(options.memory_of, *setup), options.device, miniature)
                return
            updates = {name: make_updates(name, *setup) for name in options.variant}
            seconds = time_in_rounds(updates, options.rounds, options.device, warm_up=1, steps=BATCHES)
            del updates
        setting = {"preset": preset, "device": options.device, "dtype": options.dtype}
        for row in summary(seconds, options.variant[0]):
            arguments = ["--memory-of", str(row["variant"]), "--threads", str(options.threads)]
            arguments += [word for name, value in setting.items() for word in (f"--{name}", value)]
            if options.data:
                arguments += ["--data", str(options.data)]
            rows.append({**setting, **row, "extra_MiB": run_apart(__file__, arguments)})
    write_rows(rows, options.output)


if __name__ == "__main__":
    main()
