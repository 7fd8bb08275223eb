"""The scores of one or more systems on a test set: the JSON file that holds them, and their tables."""

from dataclasses import asdict, dataclass
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import sacrebleu
from tabulate import tabulate

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike, write_json, write_text
from rdrop_fairseq.common.records import read_record

SIGNIFICANCE_LEVEL = 0.05
PAPER_BLEU_NOTE = "papers' scoring, not comparable with sacreBLEU"
_COLUMNS = ("system", "BLEU", "mean +- 95% CI", "p", "chrF2", "mean +- 95% CI", "p")


@dataclass(frozen=True)
class MetricResult:
    """One metric of one system.

    ``mean`` and ``confidence`` are of the bootstrap: the 95% confidence interval is mean +- confidence.
    ``p_value`` is for the difference to the baseline; None for the baseline itself.
    """

    score: float
    mean: float
    confidence: float
    p_value: Optional[float]


class PaperBleu(NamedTuple):
    """BLEU of tokens, and the same with compounds split: see :class:`rdrop_fairseq.evaluation.score.PaperScorer`."""

    tokenised: float
    compound_split: float


@dataclass(frozen=True)
class SystemResult:
    """The scores of one system."""

    name: str
    path: str
    bleu: MetricResult
    chrf: MetricResult
    sacrebleu_lines: Tuple[str, ...]
    """What the sacrebleu command prints in text format: signature, score and, for BLEU, its parts."""
    paper_bleu: Optional[PaperBleu] = None
    """Where it was asked for."""
    origin: Optional[str] = None
    """The checkpoints and flags that made the translations, where they are known."""

    @property
    def metrics(self) -> Dict[str, MetricResult]:
        """The results by the name of the metric."""
        return {"BLEU": self.bleu, "chrF2": self.chrf}


@dataclass(frozen=True)
class ScoreReport:
    """Scores of one or more systems on one test set; the baseline is one of the systems.

    Raises:
        UserError: there are no systems or sentences, two systems of one name, no baseline among them, or p-values of
            other systems than those that are compared with it.
    """

    reference: str
    sentences: int
    source_lang: Optional[str]
    target_lang: Optional[str]
    baseline: str
    systems: Tuple[SystemResult, ...]
    signatures: Dict[str, str]
    """By metric name (BLEU, chrF2): that of the scores, with which a publication quotes them."""
    bootstrap_signatures: Dict[str, str]
    """By metric name: that of the confidence intervals and p-values, with number of resamples and seed."""
    resamples: int
    seed: int

    def __post_init__(self) -> None:
        names = [system.name for system in self.systems]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"it has two systems named {name!r}")
        if self.baseline not in names:
            raise UserError(f"its baseline {self.baseline!r} is not one of its systems ({', '.join(names) or 'none'})")
        if self.sentences < 1 or self.resamples < 1:
            raise UserError("it has no sentences or resamples")
        for system in self.systems:
            for metric, result in system.metrics.items():
                p_value = result.p_value
                is_baseline = system.name == self.baseline
                if is_baseline != (p_value is None) or not 0 <= (p_value or 0) <= 1:
                    raise UserError(f"{metric} of {system.name!r} cannot have the p-value {p_value}")

    def system(self, name: str) -> SystemResult:
        """The system of this name."""
        return next(system for system in self.systems if system.name == name)


def write_scores(report: ScoreReport, path: PathLike) -> None:
    """Write a report as JSON; :func:`read_scores` reads it again."""
    write_json(path, asdict(report))


def read_scores(path: PathLike) -> ScoreReport:
    """Read what :func:`write_scores` wrote.

    Raises:
        UserError: the file is missing or something else.
    """
    return read_record(path, ScoreReport, "rdrop_fairseq.evaluation.score --json")


def format_table(report: ScoreReport) -> str:
    """The scores as text for a terminal, with the lines that the sacrebleu command prints."""
    lines = [tabulate(_rows(report), _COLUMNS, tablefmt="simple", disable_numparse=True)]
    lines += [f"{system.name}: {line}" for system in report.systems for line in system.sacrebleu_lines]
    for system in report.systems:
        scores = system.paper_bleu
        if scores is not None:
            lines.append(
                f"{system.name}: tokenised BLEU = {scores.tokenised:.2f}, "
                f"compound-split BLEU = {scores.compound_split:.2f} ({PAPER_BLEU_NOTE})"
            )
    return "\n".join(lines + _explanations(report))


def write_markdown(report: ScoreReport, path: PathLike) -> None:
    """Write the scores as a Markdown file, with the signatures below the table."""
    parts = [f"Scores by sacreBLEU {sacrebleu.__version__}.", markdown_table(_COLUMNS, _rows(report))]
    paper_rows = [
        [system.name, *(f"{score:.2f}" for score in system.paper_bleu)]
        for system in report.systems
        if system.paper_bleu
    ]
    if paper_rows:
        parts.append(f"{PAPER_BLEU_NOTE[0].upper()}{PAPER_BLEU_NOTE[1:]}:")
        parts.append(markdown_table(["system", "tokenised BLEU", "compound-split BLEU"], paper_rows))
    parts.append("\n".join(f"- {note}" for note in score_notes(report)))
    write_text(path, "\n\n".join(parts) + "\n")


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], alignment: str = "right") -> str:
    """A Markdown table; ``alignment`` ("left", "right") is of all columns but the first, which stands to the left."""
    alignments = ["left"] + [alignment] * (len(headers) - 1)
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True, colalign=alignments)


def score_notes(report: ScoreReport) -> List[str]:
    """What belongs below a table of the scores, in Markdown: the signatures, and what was scored and how."""
    signatures = [f"{name} signature: `{signature}`" for name, signature in report.signatures.items()]
    return signatures + _explanations(report, quote="`")


def _rows(report: ScoreReport) -> List[List[str]]:
    rows = []
    for system in report.systems:
        rows.append([system.name])
        for result in system.metrics.values():
            p_value = "" if result.p_value is None else f"{result.p_value:.4f}"
            rows[-1] += [f"{result.score:.2f}", f"{result.mean:.2f} +- {result.confidence:.2f}", p_value]
    return rows


def _explanations(report: ScoreReport, quote: str = "") -> List[str]:
    languages = ""
    if report.source_lang and report.target_lang:
        languages = f", {report.source_lang}-{report.target_lang}"
    lines = [f"{report.sentences} sentences{languages}, reference {quote}{report.reference}{quote}"]
    lines += [f"{system.name}: {system.origin}" for system in report.systems if system.origin]
    several = len(report.systems) > 1
    if several:
        lines.append(
            f"p: paired bootstrap test against {report.baseline}; "
            f"below {SIGNIFICANCE_LEVEL} the difference is significant"
        )
    # As sacreBLEU writes a signature behind the name of its metric.
    signatures = ", ".join(
        f"{quote}{name}|{signature}{quote}" for name, signature in report.bootstrap_signatures.items()
    )
    return [*lines, f"bootstrap means, intervals{' and p' if several else ''}: {signatures}"]
