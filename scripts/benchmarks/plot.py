"""A figure from the CSV files of the other benchmarks: time and memory of every variant, relative to a baseline.

    python scripts/benchmarks/plot.py loss_layer.csv training_update.csv --output cost.png

Each benchmark gives a row of two panels, whether its rows are in one file or in several. Bars are medians; the thin
lines reach from the 10% to the 90% quantile.
"""

import argparse
import csv
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from rdrop_fairseq.common.command_line import quiet_libraries  # noqa: E402
from rdrop_fairseq.common.errors import UserError  # noqa: E402
from rdrop_fairseq.common.files import atomic_output  # noqa: E402

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
_RATIO = "times_"
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
    if not rows or not {"variant", "median_seconds", "extra_MiB"} <= set(rows[0]) or not _ratio_column(rows[0]):
        raise UserError(f"{path} has no times; give a CSV of loss_layer.py or training_update.py")
    return rows


def _ratio_column(row: Dict[str, str]) -> str:
    """The column with the median of the ratios to the baseline, whose name it holds; empty if there is none."""
    return next((name for name in row if name.startswith(_RATIO)), "")


def setting_of(row: Dict[str, str]) -> str:
    """What was measured, in a few words."""
    names = {"tokens": "N", "vocabulary": "V", "features": "D"}
    return ", ".join(f"{names[key]}={row[key]}" if key in names else row[key] for key in SETTINGS if row.get(key))


def draw_times(axis: pyplot.Axes, rows: List[Dict[str, str]]) -> None:
    """Bars with the times of every setting and variant, as multiples of the baseline.

    A multiple is the median of the ratios round by round, as in the CSV; the quantiles of the time are drawn about it.
    """

    def heights(row: Dict[str, str], _: Dict[str, str]) -> Tuple[float, float, float]:
        unit = float(row["median_seconds"]) / float(row[_ratio_column(row)])
        return tuple(float(row[f"{name}_seconds"]) / unit for name in ("quantile_10", "median", "quantile_90"))

    _draw(axis, rows, "time", heights)


def draw_memory(axis: pyplot.Axes, rows: List[Dict[str, str]]) -> None:
    """The same of the extra memory, which was measured once."""

    def heights(row: Dict[str, str], base: Dict[str, str]) -> Optional[Tuple[float, float, float]]:
        unit = float(base["extra_MiB"] or 0)
        if not row["extra_MiB"] or not unit:  # memory that ran out, or too little to be seen
            return None
        return (float(row["extra_MiB"]) / unit,) * 3

    _draw(axis, rows, "extra memory", heights)


def _draw(axis: pyplot.Axes, rows: List[Dict[str, str]], label: str, heights: Callable[..., Optional[tuple]]) -> None:
    """A bar for every setting and variant; ``heights`` gives its lower end, itself and its upper end."""
    settings = list(dict.fromkeys(map(setting_of, rows)))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    baseline = _ratio_column(rows[0])[len(_RATIO) :]
    by_place = {(setting_of(row), row["variant"]): row for row in rows}
    width = 0.8 / len(variants)
    for number, variant in enumerate(variants):
        for place, setting in enumerate(settings):
            row = by_place.get((setting, variant))
            bar = row and heights(row, by_place[setting, baseline])
            if not bar:
                continue
            low, middle, high = bar
            axis.bar(
                place + (number - (len(variants) - 1) / 2) * width,
                middle,
                width,
                color=COLOURS.get(variant),
                label=variant if place == 0 else None,
                yerr=[[max(0.0, middle - low)], [max(0.0, high - middle)]] if low != high else None,
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
    # What was measured by the same program goes into one row of the figure.
    groups: Dict[Tuple[str, ...], List[Dict[str, str]]] = {}
    for path in options.files:
        rows = read_rows(path)
        groups.setdefault(tuple(rows[0]), []).extend(rows)
    figure, axes = pyplot.subplots(len(groups), 2, figsize=(11, 3.6 * len(groups)), squeeze=False, layout="constrained")
    for rows, (left, right) in zip(groups.values(), axes):
        draw_times(left, rows)
        draw_memory(right, rows)
        place = rows[0]["GPU"] if rows[0]["device"] == "cuda" else f"{rows[0]['CPU']}, {rows[0]['threads']} threads"
        left.set_title(f"{place}, {rows[0]['dtype']}", fontsize=9, loc="left", pad=22)
        left.legend(fontsize=8, frameon=False, ncol=5, loc="lower left", bbox_to_anchor=(0, 0.98), borderaxespad=0)
    with atomic_output(options.output) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
