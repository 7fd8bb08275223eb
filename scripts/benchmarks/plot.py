"""A figure from the CSV files of the other benchmarks: time and memory of every variant, relative to a baseline.

    python scripts/benchmarks/plot.py loss_layer.csv training_update.csv --output cost.png

Each file gives a row of two panels. Bars are medians; the thin lines reach from the 10% to the 90% quantile.
"""

import argparse
import csv
from pathlib import Path
from typing import Dict, List

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from rdrop_fairseq.atomic_files import atomic_output  # noqa: E402
from rdrop_fairseq.errors import UserError  # noqa: E402
from rdrop_fairseq.evaluation.command_line import quiet_libraries  # noqa: E402

# Okabe and Ito's, which people with any colour vision can tell apart.
COLOURS = {
    "plain": "#999999",
    "plain_chunked": "#56B4E9",
    "products": "#000000",
    "fairseq": "#D55E00",
    "reference": "#E69F00",
    "rdrop": "#009E73",
    "fused": "#009E73",
    "triton": "#0072B2",
}
SETTINGS = ("preset", "tokens", "vocabulary", "features")


def read_rows(path: Path) -> List[Dict[str, str]]:
    """The rows of a benchmark's CSV.

    Raises:
        UserError: the file is missing, or has not the columns of a benchmark of times.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give the CSV of a benchmark") from error
    if not rows or not {"variant", "median_seconds", "extra_MiB"} <= set(rows[0]):
        raise UserError(f"{path} has no times; give a CSV of loss_layer.py or training_update.py")
    return rows


def setting_of(row: Dict[str, str]) -> str:
    """What was measured, in a few words."""
    names = {"tokens": "N", "vocabulary": "V", "features": "D"}
    return ", ".join(f"{names[key]}={row[key]}" if key in names else row[key] for key in SETTINGS if row.get(key))


def draw(axis: pyplot.Axes, rows: List[Dict[str, str]], column: str, label: str, with_quantiles: bool) -> None:
    """Bars for every setting and variant of ``rows``, as multiples of the baseline, the first variant."""
    settings = list(dict.fromkeys(map(setting_of, rows)))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    baseline = variants[0]
    by_place = {(setting_of(row), row["variant"]): row for row in rows}
    width = 0.8 / len(variants)
    for number, variant in enumerate(variants):
        for place, setting in enumerate(settings):
            row, base = by_place.get((setting, variant)), by_place[setting, baseline]
            unit = float(base[column] or 0)
            if row is None or not row[column] or not unit:  # memory that ran out, or too little to be seen
                continue
            low, middle, high = (
                float(row[name]) / unit
                for name in (("quantile_10_seconds", column, "quantile_90_seconds") if with_quantiles else [column] * 3)
            )
            axis.bar(
                place + (number - (len(variants) - 1) / 2) * width,
                middle,
                width,
                color=COLOURS[variant],
                label=variant if place == 0 else None,
                yerr=[[max(0.0, middle - low)], [max(0.0, high - middle)]] if with_quantiles else None,
                error_kw={"elinewidth": 0.8},
            )
    axis.axhline(1, color="#999999", linewidth=0.8, zorder=0)
    slanted = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(settings) > 4 else {}
    axis.set_xticks(range(len(settings)), settings, fontsize=8, **slanted)
    axis.set_ylabel(f"{label}\n(multiples of {baseline})")
    axis.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="CSV files of loss_layer.py or training_update.py")
    parser.add_argument("--output", type=Path, required=True, help="PNG file to write")
    options = parser.parse_args()
    quiet_libraries()
    files = [read_rows(path) for path in options.files]
    figure, axes = pyplot.subplots(len(files), 2, figsize=(11, 3.6 * len(files)), squeeze=False, layout="constrained")
    for rows, (left, right) in zip(files, axes):
        draw(left, rows, "median_seconds", "time", with_quantiles=True)
        draw(right, rows, "extra_MiB", "extra memory", with_quantiles=False)
        place = rows[0]["GPU"] if rows[0]["device"] == "cuda" else f"{rows[0]['CPU']}, {rows[0]['threads']} threads"
        left.set_title(f"{place}, {rows[0]['dtype']}", fontsize=9, loc="left", pad=22)
        left.legend(fontsize=8, frameon=False, ncol=5, loc="lower left", bbox_to_anchor=(0, 0.98), borderaxespad=0)
    with atomic_output(options.output) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
