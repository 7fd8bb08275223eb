r"""BLEU and chrF of translations, and whether systems differ: ``python -m rdrop_fairseq.evaluation.score``.

    python -m rdrop_fairseq.evaluation.score --reference test.de \
        --system baseline=baseline.txt --system r-drop=rdrop.txt

The scores are sacreBLEU's, and so are the signatures. Two or more systems are compared with the baseline by
paired bootstrap resampling (Koehn, EMNLP 2004, as in sacreBLEU). That test is about the choice of test
sentences only: it does not see how much a system changes from one training run to the next.
"""

import argparse
import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from rdrop_fairseq.atomic_files import atomic_output
from rdrop_fairseq.errors import UserError
from rdrop_fairseq.evaluation.command_line import parse_named_paths, quiet_libraries
from rdrop_fairseq.evaluation.generate_output import is_generate_output, parse_generate_output
from rdrop_fairseq.evaluation.text_files import read_lines, read_text, split_lines

PathLike = Union[str, Path]

DEFAULT_RESAMPLES = 1000
DEFAULT_SEED = 12345
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


def read_hypotheses(path: PathLike, expected_sentences: Optional[int] = None) -> List[str]:
    """Translations in the order of the test set, of plain text or an output of fairseq-generate.

    Raises:
        UserError: missing, empty or undecodable file; incomplete output of fairseq-generate; text that is
            still split into subwords; another number of sentences than expected.
    """
    text = read_text(path)
    if is_generate_output(text):
        lines = parse_generate_output(text, str(path), expected_sentences).hypotheses
    else:
        lines = split_lines(text)
    _check_lines(lines, path, expected_sentences)
    return lines


def score_files(
    reference: PathLike,
    systems: Mapping[str, PathLike],
    baseline: Optional[str] = None,
    source_lang: Optional[str] = None,
    target_lang: Optional[str] = None,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = DEFAULT_SEED,
) -> ScoreReport:
    """Score files of translations against a reference file.

    Args:
        reference: detokenised reference text, one sentence a line.
        systems: for each name a file of detokenised text or the output of fairseq-generate.
        baseline: with which the others are compared; the first system if None.
        source_lang: noted in the report.
        target_lang: noted in the report; zh, ja and ko choose sacreBLEU's tokeniser for that language.
        resamples: of the bootstrap.
        seed: of the bootstrap, from 1; the result is a function of the texts, ``resamples`` and ``seed``.

    Raises:
        UserError: see :func:`read_hypotheses`; an unknown baseline; a seed or number of resamples below 1.
    """
    if not systems:
        raise UserError("no system to score; give at least one --system NAME=FILE")
    names = list(systems)
    baseline = names[0] if baseline is None else baseline
    if baseline not in systems:
        raise UserError(f"unknown baseline {baseline!r}; the systems are: {', '.join(names)}")
    if resamples < 1:
        raise UserError(
            f"--resamples {resamples}: give a number of at least 1 ({DEFAULT_RESAMPLES} is usual)"
        )
    if seed < 1:  # sacreBLEU takes 0 to mean "a different seed each time"
        raise UserError(f"--seed {seed}: give a number of at least 1")

    references = read_lines(reference)
    _check_lines(references, reference, None)
    texts = {name: read_hypotheses(path, len(references)) for name, path in systems.items()}
    metrics = _metrics(references, target_lang)

    lines: Dict[str, List[str]] = {name: [] for name in names}
    scores: Dict[str, Dict[str, float]] = {}
    signatures: Dict[str, str] = {}
    for key, metric in metrics.items():
        scores[key] = {}
        for name in names:
            score = metric.corpus_score(texts[name], references=None)
            signature = metric.get_signature().format()
            signatures[score.name] = signature
            scores[key][name] = float(score.score)
            lines[name].append(score.format(width=2, signature=signature))
    statistics, bootstrap_signatures = _paired_bootstrap(texts, baseline, metrics, resamples, seed)

    return ScoreReport(
        reference=str(reference),
        sentences=len(references),
        source_lang=source_lang,
        target_lang=target_lang,
        baseline=baseline,
        systems=tuple(
            SystemResult(
                name=name,
                path=str(systems[name]),
                bleu=MetricResult(scores["bleu"][name], *statistics["bleu"][name]),
                chrf=MetricResult(scores["chrf"][name], *statistics["chrf"][name]),
                sacrebleu_lines=tuple(lines[name]),
            )
            for name in names
        ),
        signatures=signatures,
        bootstrap_signatures=bootstrap_signatures,
        resamples=resamples,
        seed=seed,
    )


def write_scores(report: ScoreReport, path: PathLike) -> None:
    """Write a report as JSON; :func:`read_scores` reads it again."""
    with atomic_output(path) as temporary:
        temporary.write_text(
            json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )


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


def format_table(report: ScoreReport) -> str:
    """The scores as text for a terminal, with the lines that the sacrebleu command prints."""
    header = ["system", "BLEU", "mean +- 95% CI", "p", "chrF2", "mean +- 95% CI", "p"]
    rows = [header] + [[system.name] + _cells(system.bleu) + _cells(system.chrf) for system in report.systems]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    table.insert(1, "-" * max(map(len, table)))
    table += [f"{system.name}: {line}" for system in report.systems for line in system.sacrebleu_lines]
    table += _explanations(report)
    return "\n".join(table)


def format_markdown(report: ScoreReport) -> str:
    """The scores as a Markdown table with the signatures below."""
    rows = [
        "| system | BLEU | mean +- 95% CI | p | chrF2 | mean +- 95% CI | p |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for system in report.systems:
        rows.append("| " + " | ".join([system.name] + _cells(system.bleu) + _cells(system.chrf)) + " |")
    rows.append("")
    rows += [f"- {name}: `{signature}`" for name, signature in report.signatures.items()]
    rows += [f"- {line}" for line in _explanations(report)]
    return "\n".join(rows) + "\n"


def _cells(result: MetricResult) -> List[str]:
    p_value = "" if result.p_value is None else f"{result.p_value:.4f}"
    return [f"{result.score:.2f}", f"{result.mean:.2f} +- {result.confidence:.2f}", p_value]


def _explanations(report: ScoreReport) -> List[str]:
    pair = ""
    if report.source_lang and report.target_lang:
        pair = f", {report.source_lang}-{report.target_lang}"
    lines = [f"{report.sentences} sentences{pair}, reference {report.reference}"]
    if len(report.systems) > 1:
        lines.append(
            f"p: paired bootstrap test against {report.baseline}; "
            f"below {SIGNIFICANCE_LEVEL} the difference is significant"
        )
    signatures = ", ".join(f"{name}|{signature}" for name, signature in report.bootstrap_signatures.items())
    lines.append(f"bootstrap means, intervals{' and p' if len(report.systems) > 1 else ''}: {signatures}")
    return lines


def _metrics(references: Sequence[str], target_lang: Optional[str]) -> Dict[str, Any]:
    try:
        return {
            "bleu": BLEU(references=[references], trg_lang=target_lang or ""),
            "chrf": CHRF(references=[references]),
        }
    except (
        ImportError,
        RuntimeError,
    ) as error:  # the Japanese and Korean tokenisers are packages of their own
        raise UserError(
            f"sacreBLEU's tokeniser for {target_lang} is not installed; "
            f"pip install 'sacrebleu[{target_lang}]'"
        ) from error


def _paired_bootstrap(
    texts: Mapping[str, Sequence[str]], baseline: str, metrics: Mapping[str, Any], resamples: int, seed: int
) -> Tuple[Dict[str, Dict[str, Tuple[float, float, Optional[float]]]], Dict[str, str]]:
    """For each metric and system (mean, half the 95% interval, p-value or None), and the signatures."""
    ordered = [(baseline, texts[baseline])] + [
        (name, text) for name, text in texts.items() if name != baseline
    ]
    with _sacrebleu_seed(seed):
        test = PairedTest(ordered, metrics, references=None, test_type="bs", n_samples=resamples)
        signatures, results = test()
    statistics: Dict[str, Dict[str, Tuple[float, float, Optional[float]]]] = {}
    for key, metric_name in zip(metrics, signatures):
        statistics[key] = {}
        for (name, text), result in zip(ordered, results[metric_name]):
            p_value = result.p_value
            if name != baseline and list(text) == list(texts[baseline]):
                # sacreBLEU counts differences larger than the real one: none among zeros, hence its smallest
                # p.
                p_value = 1.0
            statistics[key][name] = (float(result.mean), float(result.ci), p_value)
    return statistics, {name: signature.format() for name, signature in signatures.items()}


@contextlib.contextmanager
def _sacrebleu_seed(seed: int) -> Iterator[None]:
    """sacreBLEU takes the seed of its bootstrap from the environment, and from nowhere else."""
    previous = os.environ.get("SACREBLEU_SEED")
    os.environ["SACREBLEU_SEED"] = str(seed)
    try:
        yield
    finally:
        if previous is None:
            del os.environ["SACREBLEU_SEED"]
        else:
            os.environ["SACREBLEU_SEED"] = previous


def _check_lines(lines: Sequence[str], path: PathLike, expected_sentences: Optional[int]) -> None:
    if expected_sentences is not None and len(lines) != expected_sentences:
        raise UserError(
            f"{path} has {len(lines)} lines and the reference has {expected_sentences}; "
            "score files of the same sentences"
        )
    with_text = [line for line in lines if line.strip()]
    if not with_text:
        raise UserError(f"{path} has only empty lines; give a file that has text in it")
    for mark, flag in (("\u2581", "sentencepiece"), ("@@ ", "subword_nmt")):
        if 2 * sum(mark in line for line in with_text) > len(with_text):
            raise UserError(
                f"{path} is still split into subwords ({mark.strip()}); generate with --post-process {flag}, "
                "or join them, before scoring"
            )


def _system_from(content: Dict[str, Any]) -> SystemResult:
    return SystemResult(
        name=content["name"],
        path=content["path"],
        bleu=MetricResult(**content["bleu"]),
        chrf=MetricResult(**content["chrf"]),
        sacrebleu_lines=tuple(content["sacrebleu_lines"]),
    )


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rdrop_fairseq.evaluation.score",
        description="Score translations with sacreBLEU and test whether systems differ (paired bootstrap).",
    )
    parser.add_argument(
        "--reference", required=True, metavar="FILE", help="detokenised reference, a sentence a line"
    )
    parser.add_argument(
        "--system",
        action="append",
        required=True,
        metavar="NAME=FILE",
        help="a system's detokenised translations or output of fairseq-generate; one --system for each",
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help="with which the others are compared (default: the first)"
    )
    parser.add_argument("--source-lang", metavar="LANG", help="noted in the report")
    parser.add_argument(
        "--target-lang", metavar="LANG", help="noted, and chooses the tokeniser for zh, ja and ko"
    )
    parser.add_argument("--resamples", type=int, default=DEFAULT_RESAMPLES, help="default: %(default)s")
    parser.add_argument(
        "--seed", type=int, default=DEFAULT_SEED, help="of the bootstrap (default: %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the scores there, for the report")
    parser.add_argument("--markdown", metavar="FILE", help="also write a Markdown table there")
    arguments = parser.parse_args(argv)
    quiet_libraries()

    report = score_files(
        arguments.reference,
        parse_named_paths(arguments.system, "--system"),
        baseline=arguments.baseline,
        source_lang=arguments.source_lang,
        target_lang=arguments.target_lang,
        resamples=arguments.resamples,
        seed=arguments.seed,
    )
    if arguments.json:
        write_scores(report, arguments.json)
    if arguments.markdown:
        with atomic_output(arguments.markdown) as temporary:
            temporary.write_text(
                f"Scores by sacreBLEU {sacrebleu.__version__}.\n\n{format_markdown(report)}", encoding="utf-8"
            )
    print(format_table(report))


if __name__ == "__main__":
    main()
