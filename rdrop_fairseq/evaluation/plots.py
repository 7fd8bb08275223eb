"""Training curves of one or more runs, and a score over alpha, as PNG images."""

import io
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation.training_log import Record, TrainingLog

# Okabe and Ito's colours, which people with any colour vision can tell apart (without their yellow, too pale
# for a line). Line style and marker differ as well, so the runs can be told apart in greyscale.
_COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LINE_STYLES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MOST_MARKERS = 25
_LARGEST = 1e30  # above, matplotlib's own arithmetic overflows

Points = List[Tuple[int, float, float]]  # (update, seconds, value)


class AlphaPoint(NamedTuple):
    """A score, its mean over seeds, at one alpha."""

    alpha: float
    score: float
    deviation: float
    """Its standard deviation over seeds, 0 where there is one."""


class _Curve(NamedTuple):
    """A value over updates and over time."""

    name: str
    title: str
    label: str
    records: Callable[[TrainingLog], Sequence[Record]]
    value: str


_CURVES = (
    _Curve(
        "valid_nll.png",
        "Validation negative log-likelihood",
        "nll (bits per target token)",
        lambda log: log.validation,
        "nll_loss",
    ),
    _Curve("valid_bleu.png", "Validation BLEU (--eval-bleu)", "BLEU", lambda log: log.validation, "bleu"),
    _Curve(
        "kl.png",
        "R-Drop: divergence between the passes, in training",
        "KL (bits per target token)",
        TrainingLog.kl_records,
        "rdrop_kl_loss",
    ),
)
FIGURE_NAMES = tuple(curve.name for curve in _CURVES)
"""The names of all figures that there can be."""


@dataclass(frozen=True)
class Figure:
    """A PNG image."""

    name: str
    title: str
    missing: Tuple[str, ...]
    """Runs whose log has no such value, and which are therefore not in the figure."""
    content: bytes


def plot_training_curves(logs: Mapping[str, TrainingLog]) -> List[Figure]:
    """Draw validation nll, validation BLEU and R-Drop's KL over updates and over time, all runs together.

    A value that no run has logged (BLEU without ``--eval-bleu``, KL without R-Drop) gives no figure.

    Args:
        logs: the runs by the names for the legend.

    Raises:
        UserError: matplotlib is not installed.
    """
    figures = []
    for curve in _CURVES:
        points = {name: _points(curve, log) for name, log in logs.items()}
        if any(points.values()):
            missing = tuple(name for name, of_run in points.items() if not of_run)
            figures.append(Figure(curve.name, curve.title, missing, _draw(curve, points)))
    return figures


def _points(curve: _Curve, log: TrainingLog) -> Points:
    points = []
    for record in curve.records(log):
        value = getattr(record, curve.value)
        if value is not None and abs(value) < _LARGEST and record.elapsed_seconds < _LARGEST:  # and so no NaN
            points.append((record.update, record.elapsed_seconds, value))
    return points


def plot_over_alpha(
    name: str, label: str, lines: Mapping[str, Sequence[AlphaPoint]], baseline: Optional[float]
) -> Figure:
    """Draw a score over the weight of R-Drop's divergence, with its spread where there is one.

    Args:
        name: of the file.
        label: of the score.
        lines: the points of each by the name for the legend.
        baseline: the score of the baseline, if it is known.

    Raises:
        UserError: matplotlib is not installed.
    """
    title = f"{label} over --rdrop-alpha"
    figure = new_figure((7, 4.4), title)
    axes = figure.subplots()
    if baseline is not None:
        axes.axhline(baseline, color="grey", linestyle=":", label="baseline")
    for number, (line, points) in enumerate(lines.items()):
        alphas, values, deviations = zip(*sorted(points))
        axes.errorbar(alphas, values, deviations, capsize=3, **line_style(number, line))
    ticks = sorted({point.alpha for points in lines.values() for point in points})
    if ticks[0] > 0:
        axes.set_xscale("log")  # the best alpha of corpora lies between 0.1 and 10
        axes.minorticks_off()
    axes.set_xticks(ticks, [f"{alpha:g}" for alpha in ticks])
    axes.set_xlabel("alpha")
    axes.set_ylabel(label)
    axes.grid(True, linewidth=0.5, alpha=0.4)
    axes.legend()
    return Figure(name, title, (), png_of(figure))


def _draw(curve: _Curve, points: Mapping[str, Points]) -> bytes:
    figure = new_figure((11, 4.4), curve.title)
    over_updates, over_time = figure.subplots(1, 2, sharey=True)
    unit, seconds_per_unit = _time_unit(max(seconds for of_run in points.values() for _, seconds, _ in of_run))

    for number, (name, of_run) in enumerate(points.items()):
        if not of_run:
            continue
        updates, seconds, values = zip(*of_run)
        style = {**line_style(number, name), "markevery": max(1, len(of_run) // _MOST_MARKERS)}
        over_updates.plot(updates, values, **style)
        over_time.plot([second / seconds_per_unit for second in seconds], values, **style)

    over_updates.set_xlabel("updates")
    over_time.set_xlabel(f"training time ({unit})")
    over_updates.set_ylabel(curve.label)
    for axes in (over_updates, over_time):
        axes.set_xlim(left=0)
        axes.grid(True, linewidth=0.5, alpha=0.4)
        axes.tick_params(labelleft=True)
        axes.legend()
    return png_of(figure)


def new_figure(size: Tuple[float, float], title: str) -> Any:
    """A matplotlib figure of a size in inches, without pyplot: no global state, no display, nothing to close.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as MatplotlibFigure
    except ImportError as error:
        raise UserError(
            "plots need matplotlib; pip install 'rdrop_fairseq[plot]', or pip install matplotlib"
        ) from error
    figure = MatplotlibFigure(figsize=size, dpi=120, layout="constrained")
    figure.suptitle(title)
    return figure


def line_style(number: int, name: str) -> Dict[str, Any]:
    """How the line of the run of this number is drawn in every figure, with its name for the legend."""
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "linestyle": _LINE_STYLES[number % len(_LINE_STYLES)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "markersize": 4,
        "linewidth": 1.4,
        "label": name.replace("$", r"\$"),
    }


def png_of(figure: Any) -> bytes:
    """A matplotlib figure as PNG, without dates or versions inside: equal figures give equal files."""
    image = io.BytesIO()
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def _time_unit(longest_seconds: float) -> Tuple[str, float]:
    if longest_seconds < 300:
        return "seconds", 1.0
    if longest_seconds < 3 * 3600:
        return "minutes", 60.0
    return "hours", 3600.0
