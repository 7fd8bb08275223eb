"""Scores of one or more systems on a test set, and the JSON file that holds them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Tuple, Union

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.text import read_text
from rdrop_fairseq.evaluation.paper_bleu import PaperBleu

PathLike = Union[str, Path]

SIGNIFICANCE_LEVEL = 0.05


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


@dataclass(frozen=True)
class SystemResult:
    name: str
    path: str
    bleu: MetricResult
    chrf: MetricResult
    sacrebleu_lines: Tuple[str, ...]
    """What the sacrebleu command prints in text format: signature, score and, for BLEU, its parts."""
    paper_bleu: Optional[PaperBleu] = None
    """Where it was asked for: see :mod:`rdrop_fairseq.evaluation.paper_bleu`."""
    origin: Optional[str] = None
    """What the translations were made with, checkpoints and flags, where it is known."""


@dataclass(frozen=True)
class ScoreReport:
    """Scores of one or more systems on one test set; the baseline is one of the systems."""

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

    def system(self, name: str) -> SystemResult:
        return next(system for system in self.systems if system.name == name)


def write_scores(report: ScoreReport, path: PathLike) -> None:
    """Write a report as JSON; :func:`read_scores` reads it again."""
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_scores(path: PathLike) -> ScoreReport:
    """Read what :func:`write_scores` wrote.

    Raises:
        UserError: the file is missing or something else.
    """
    try:
        content = json.loads(read_text(path))
        systems = tuple(_system_from(system) for system in content.pop("systems"))
        return ScoreReport(systems=systems, **content)
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not what rdrop_fairseq.evaluation.score writes with --json; make it anew"
        ) from error


def _system_from(content: Dict[str, Any]) -> SystemResult:
    return SystemResult(
        name=content["name"],
        path=content["path"],
        bleu=MetricResult(**content["bleu"]),
        chrf=MetricResult(**content["chrf"]),
        sacrebleu_lines=tuple(content["sacrebleu_lines"]),
        paper_bleu=PaperBleu(*content["paper_bleu"]) if content.get("paper_bleu") else None,
        origin=content.get("origin"),
    )
