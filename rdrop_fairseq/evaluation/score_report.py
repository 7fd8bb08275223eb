"""The scores of one or more systems on a test set: the JSON file that holds them, and their tables."""

from dataclasses import asdict, dataclass
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import sacrebleu
from tabulate import tabulate

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike, write_json, write_text
from rdrop_fairseq.common.records import read_record

SIGNIFICANCE_LEVEL = 0.05
BOOTSTRAP = "bootstrap"
# The tests by the name of their flag: in words, and what their number of resamples is a number of.
_TESTS = {
    BOOTSTRAP: ("paired bootstrap test", "resamples"),
    "approximate-randomisation": ("paired approximate randomisation", "trials"),
}
SIGNIFICANCE_TESTS = tuple(_TESTS)
PAPER_BLEU_NOTE = "papers' scoring, not comparable with sacreBLEU"


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
    """BLEU of tokens, and with compounds split: see :class:`rdrop_fairseq.evaluation.paper_bleu.PaperScorer`."""

    tokenised: float
    compound_split: float


@dataclass(frozen=True)
class SystemResult:
    """The scores of one system."""

    name: str
    path: str
    metrics: Dict[str, MetricResult]
    """By the name of the metric: BLEU, chrF2, chrF2++, TER."""
    sacrebleu_lines: Tuple[str, ...]
    """What the sacrebleu command prints in text format: signature, score and, for BLEU, its parts."""
    paper_bleu: Optional[PaperBleu] = None
    """Where it was asked for."""
    origin: Optional[str] = None
    """The checkpoints and flags that made the translations, where they are known."""


@dataclass(frozen=True)
class ScoreReport:
    """Scores of one or more systems on one test set; the baseline is one of the systems.

    Raises:
        UserError: there are no systems, metrics or sentences, two systems of one name, systems of different metrics, no
            baseline among them, an unknown test, or p-values of other systems than those that are compared with it.
    """

    references: Tuple[str, ...]
    sentences: int
    source_lang: Optional[str]
    target_lang: Optional[str]
    baseline: str
    systems: Tuple[SystemResult, ...]
    signatures: Dict[str, str]
    """By metric name: that of the scores, with which a publication quotes them."""
    bootstrap_signatures: Dict[str, str]
    """By metric name: that of the confidence intervals, with number of resamples and seed."""
    test_signatures: Dict[str, str]
    """By metric name: that of the p-values, likewise."""
    significance: str
    """The test, of :data:`SIGNIFICANCE_TESTS`."""
    resamples: int
    """Or trials of approximate randomisation."""
    seed: int
    warnings: Tuple[str, ...] = ()
    """What may be wrong with the texts, in one line each."""

    def __post_init__(self) -> None:
        names = [system.name for system in self.systems]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"it has two systems named {name!r}")
        if self.baseline not in names:
            raise UserError(f"its baseline {self.baseline!r} is not one of its systems ({', '.join(names) or 'none'})")
        if self.sentences < 1 or self.resamples < 1 or not self.references:
            raise UserError("it has no references, sentences or resamples")
        if self.significance not in SIGNIFICANCE_TESTS:
            raise UserError(f"its test {self.significance!r} is none of {', '.join(SIGNIFICANCE_TESTS)}")
        metrics = list(self.signatures)
        for of_one in [self.bootstrap_signatures, self.test_signatures, *(system.metrics for system in self.systems)]:
            if list(of_one) != metrics or not metrics:
                raise UserError(f"it has signatures of {', '.join(metrics) or 'nothing'}, and of others not")
        for system in self.systems:
            for metric, result in system.metrics.items():
                p_value = result.p_value
                is_baseline = system.name == self.baseline
                if is_baseline != (p_value is None) or not 0 <= (p_value or 0) <= 1:
                    raise UserError(f"{metric} of {system.name!r} cannot have the p-value {p_value}")

    @property
    def test(self) -> str:
        """The test in words."""
        return _TESTS[self.significance][0]

    @property
    def test_size(self) -> str:
        """The number of its resamples or trials, in words."""
        return f"{self.resamples} {_TESTS[self.significance][1]}"

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
    lines = [tabulate(_rows(report), _columns(report), tablefmt="simple", disable_numparse=True)]
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
    parts = [f"Scores by sacreBLEU {sacrebleu.__version__}.", markdown_table(_columns(report), _rows(report))]
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


def _columns(report: ScoreReport) -> List[str]:
    return ["system", *(column for metric in report.signatures for column in (metric, "mean +- 95% CI", "p"))]


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
    references = ", ".join(f"{quote}{reference}{quote}" for reference in report.references)
    lines = [f"{report.sentences} sentences{languages}, reference {references}"]
    lines += [f"{system.name}: {system.origin}" for system in report.systems if system.origin]
    intervals, tests = (
        # As sacreBLEU writes a signature behind the name of its metric.
        ", ".join(f"{quote}{name}|{signature}{quote}" for name, signature in signatures.items())
        for signatures in (report.bootstrap_signatures, report.test_signatures)
    )
    several = len(report.systems) > 1
    if several:
        lines.append(
            f"p: {report.test} against {report.baseline}; below {SIGNIFICANCE_LEVEL} the difference is significant"
        )
    if "TER" in report.signatures:
        lines.append("TER counts edits: less is better")
    lines.append(f"bootstrap means, intervals{' and p' if several and tests == intervals else ''}: {intervals}")
    if several and tests != intervals:
        lines.append(f"p: {tests}")
    return lines + [f"warning: {warning}" for warning in report.warnings]
