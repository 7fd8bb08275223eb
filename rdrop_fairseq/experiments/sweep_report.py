"""What a sweep found: a table as Markdown and CSV, and the validation score over alpha."""

import csv
import io
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy

from rdrop_fairseq.common.files import atomic_output, write_text
from rdrop_fairseq.common.versions import plugin_state
from rdrop_fairseq.evaluation.plots import AlphaPoint, Figure, plot_over_alpha
from rdrop_fairseq.evaluation.score_report import ScoreReport, markdown_table
from rdrop_fairseq.evaluation.training_log import TrainingLog
from rdrop_fairseq.experiments.options import words_of
from rdrop_fairseq.experiments.sweep_file import Cell

TABLE, CSV, ALPHA_PLOT = "sweep.md", "sweep.csv", "alpha.png"
_ALPHA = "--rdrop-alpha"
# Of the table for people: a heading, the name of the value in CSV, and its form.
_COLUMNS = (
    ("setting", "setting", "{}"),
    ("seeds", "seeds", "{}"),
    ("updates", "updates", "{:.0f}"),
    ("best valid nll", "valid_nll", "{:.3f}"),
    ("best valid BLEU", "valid_bleu", "{:.2f}"),
    ("test BLEU", "test_bleu", "{:.2f}"),
    ("difference", "difference", "{:+.2f}"),
    ("p", "p_value", "{:.4f}"),
    ("s/update", "seconds_per_update", "{:.3g}"),
    ("state", "state", "{}"),
)


@dataclass(frozen=True)
class Row:
    """A cell of the sweep, and what came of it."""

    cell: Cell
    state: str
    logs: Sequence[TrainingLog]
    """One for each seed that was trained."""
    test_scores: Sequence[float] = ()
    """BLEU of each seed, where the test set was translated."""
    difference: Optional[float] = None
    """Of the mean test score from that of the baseline."""
    p_value: Optional[float] = None

    def valid(self, value: str) -> Tuple[Optional[float], Optional[float]]:
        """Mean and deviation of the best validations by ``value``; both None where a seed has no such value."""
        best = [log.best_validation(value, maximise=value == "bleu") for log in self.logs]
        return mean_and_deviation([getattr(record, value) for record in best] if all(best) else [])

    def values(self) -> Dict[str, Any]:
        """All figures: nll in bits per target token, times in seconds; a deviation is that over seeds."""
        values = {
            "setting": self.cell.name,
            "variant": self.cell.variant,
            "flags": " ".join(words_of(self.cell.settings)),
            "seeds": " ".join(map(str, self.cell.seeds)),
            "state": self.state,
            "difference": self.difference,
            "p_value": self.p_value,
        }
        values["updates"], _ = mean_and_deviation([log.updates for log in self.logs])
        seconds = [log.elapsed_seconds / max(1, log.updates) for log in self.logs]
        values["seconds_per_update"], _ = mean_and_deviation(seconds)
        spreads = (self.valid("nll_loss"), self.valid("bleu"), mean_and_deviation(self.test_scores))
        for name, spread in zip(("valid_nll", "valid_bleu", "test_bleu"), spreads):
            values[name], values[f"{name}_deviation"] = spread
        return values


def mean_and_deviation(values: Sequence[float]) -> Tuple[Optional[float], Optional[float]]:
    """Mean and standard deviation of a sample; None for what the sample is too small for."""
    mean = float(numpy.mean(values)) if len(values) else None
    return mean, float(numpy.std(values, ddof=1)) if len(values) > 1 else None


def format_rows(rows: Sequence[Row]) -> str:
    """The table as Markdown."""
    texts: List[List[str]] = []
    for values in (row.values() for row in rows):
        texts.append([])
        for _, name, form in _COLUMNS:
            numbers = [values[name], values.get(f"{name}_deviation")]
            texts[-1].append(" +- ".join(form.format(number) for number in numbers if number is not None))
    return markdown_table([heading for heading, _, _ in _COLUMNS], texts)


def write_tables(
    folder: Path, title: str, rows: Sequence[Row], scores: Optional[ScoreReport], notes: List[str]
) -> None:
    """Write sweep.csv, alpha.png where alpha was swept, and sweep.md.

    Args:
        folder: where they go.
        title: of the table.
        rows: of all cells.
        scores: those of the test set, if it was translated.
        notes: what belongs below the table, in Markdown.
    """
    stream = io.StringIO()
    table = csv.DictWriter(stream, rows[0].values(), lineterminator="\n")
    table.writeheader()
    table.writerows(row.values() for row in rows)
    write_text(folder / CSV, stream.getvalue())
    notes = [*notes, "nll: bits per target token; +-: standard deviation over seeds; s/update: validation included"]
    if scores is not None:
        notes += [
            f"difference, p: of the mean BLEU over seeds from the baseline's, by {scores.test} ({scores.test_size}), "
            "which is about the choice of sentences; what another seed changes shows behind +-",
            f"signatures: `BLEU|{scores.signatures['BLEU']}`, of p `BLEU|{scores.test_signatures['BLEU']}`",
        ]
    parts = [f"# {title}", f"Made {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC with {plugin_state()}."]
    parts += [format_rows(rows), "\n".join(f"- {note}" for note in notes)]
    figure = _over_alpha(rows)
    if figure is not None:
        with atomic_output(folder / ALPHA_PLOT) as path:
            path.write_bytes(figure.content)
        parts.append(f"![{figure.title}]({ALPHA_PLOT})")
    parts.append("Curves, commands, sample translations and versions: [report.md](report.md).")
    write_text(folder / TABLE, "\n\n".join(parts) + "\n")


def _over_alpha(rows: Sequence[Row]) -> Optional[Figure]:
    """Validation BLEU over alpha, or nll where there is no BLEU; None where alpha was not swept."""
    for value, label in (("bleu", "best validation BLEU"), ("nll_loss", "best validation nll (bits)")):
        lines: Dict[str, List[AlphaPoint]] = {}
        for row in rows:
            alphas = [float(it.value) for it in row.cell.swept if it.flag == _ALPHA]
            mean, deviation = row.valid(value)
            if alphas and mean is not None:
                line = lines.setdefault(row.cell.name_without(_ALPHA), [])
                line.append(AlphaPoint(alphas[0], mean, deviation or 0.0))
        if lines:
            baseline = next((it for it in rows if it.cell.variant == "baseline" and it.test_scores), None)
            return plot_over_alpha(ALPHA_PLOT, label, lines, baseline and baseline.valid(value)[0])
    return None
