r"""BLEU and chrF of translations, and whether systems differ: ``python -m rdrop_fairseq.evaluation.score``.

    python -m rdrop_fairseq.evaluation.score --reference test.de \
        --system baseline=baseline.txt --system r-drop=rdrop.txt

The scores are sacreBLEU's, and so are the signatures. Two or more systems are compared with the baseline by
paired bootstrap resampling (Koehn, EMNLP 2004, as in sacreBLEU). That test is about the choice of test
sentences only: it does not see how much a system changes from one training run to the next.
"""

import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import estimate_ci

from rdrop_fairseq.common.bleu import sacrebleu_tokeniser
from rdrop_fairseq.common.command_line import Parser, parse_named_paths, positive_number, quiet_libraries
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike
from rdrop_fairseq.common.text import read_lines
from rdrop_fairseq.data.moses import make_detokenise, make_tokenise
from rdrop_fairseq.data.test_sets import files_of_test_set
from rdrop_fairseq.evaluation.generate_output import check_sentences, read_hypotheses
from rdrop_fairseq.evaluation.score_report import (
    MetricResult,
    PaperBleu,
    ScoreReport,
    SystemResult,
    format_table,
    write_markdown,
    write_scores,
)

DEFAULT_RESAMPLES = 1000
DEFAULT_SEED = 12345
_MOST_RESAMPLES = 1_000_000
_COMPOUND = re.compile(r"(\S)-(\S)")


def score_files(
    reference: PathLike,
    systems: Mapping[str, PathLike],
    baseline: Optional[str] = None,
    source_lang: Optional[str] = None,
    target_lang: Optional[str] = None,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = DEFAULT_SEED,
    lowercase: bool = False,
    paper_bleu: bool = False,
    origins: Optional[Mapping[str, str]] = None,
    detokenise: bool = False,
) -> ScoreReport:
    """Score files of translations against a reference file.

    Args:
        reference: detokenised reference text, one sentence a line.
        systems: one or more; for each name a file of detokenised text or the output of fairseq-generate.
        baseline: with which the others are compared; the first system if None.
        source_lang: noted in the report.
        target_lang: noted in the report; Chinese, Japanese and Korean have tokenisers of their own in BLEU.
        resamples: of the bootstrap, from 1 to a million.
        seed: of the bootstrap; the result is a function of the texts, ``resamples`` and ``seed``.
        lowercase: both sides, for BLEU and chrF; the signatures say so.
        paper_bleu: also the scores of :class:`PaperScorer`, which need ``target_lang``.
        origins: for each name what the translations were made with, noted in the report.
        detokenise: the translations, not the reference, are tokens of Moses; needs ``target_lang``.

    Raises:
        UserError: see :func:`rdrop_fairseq.evaluation.generate_output.read_hypotheses`; an unknown baseline; a
            number of resamples out of range; no language where one is needed.
    """
    baseline = next(iter(systems)) if baseline is None else baseline
    if baseline not in systems:
        raise UserError(f"unknown baseline {baseline!r}; the systems are: {', '.join(systems)}")
    if not 1 <= resamples <= _MOST_RESAMPLES:
        raise UserError(
            f"--resamples {resamples}: give a number from 1 to {_MOST_RESAMPLES} ({DEFAULT_RESAMPLES} is usual)"
        )
    for wanted, what in ((paper_bleu, "BLEU on tokens"), (detokenise, "--detokenise")):
        if wanted and not target_lang:
            raise UserError(f"{what} needs the language of the tokens; give --target-lang")

    references = read_lines(reference)
    check_sentences(references, reference)
    texts = {name: read_hypotheses(path, len(references)) for name, path in systems.items()}
    if detokenise:
        join = make_detokenise(target_lang)
        texts = {name: [join(line) for line in lines] for name, lines in texts.items()}
    paper_scorer = PaperScorer(references, target_lang, lowercase) if paper_bleu else None

    results: Dict[str, List[MetricResult]] = {name: [] for name in texts}
    lines: Dict[str, List[str]] = {name: [] for name in texts}
    signatures, bootstrap_signatures = {}, {}
    for metric in _metrics(references, target_lang, lowercase):
        # What sacreBLEU's public functions do, but each sentence is counted and each resample scored only once.
        statistics = {name: metric._extract_corpus_statistics(text, None) for name, text in texts.items()}
        scores = {name: metric._aggregate_and_compute(counts) for name, counts in statistics.items()}
        resampled = {name: _resampled_scores(metric, counts, resamples, seed) for name, counts in statistics.items()}
        label, signature = scores[baseline].name, metric.get_signature()
        signatures[label] = signature.format()
        for name, score in scores.items():
            p_value = None
            if name != baseline:
                p_value = _p_value(resampled[name], resampled[baseline], abs(score.score - scores[baseline].score))
            mean, confidence = map(float, estimate_ci(resampled[name]))
            results[name].append(MetricResult(float(score.score), mean, confidence, p_value))
            lines[name].append(score.format(width=2, signature=signatures[label]))
        signature.update("seed", str(seed))
        signature.update("bs", resamples)
        bootstrap_signatures[label] = signature.format()

    return ScoreReport(
        reference=str(reference),
        sentences=len(references),
        source_lang=source_lang,
        target_lang=target_lang,
        baseline=baseline,
        systems=tuple(
            SystemResult(
                name,
                str(path),
                *results[name],
                sacrebleu_lines=tuple(lines[name]),
                paper_bleu=paper_scorer.score(texts[name]) if paper_scorer else None,
                origin=(origins or {}).get(name),
            )
            for name, path in systems.items()
        ),
        signatures=signatures,
        bootstrap_signatures=bootstrap_signatures,
        resamples=resamples,
        seed=seed,
    )


def _metrics(references: Sequence[str], target_lang: Optional[str], lowercase: bool) -> List[Any]:
    tokeniser = sacrebleu_tokeniser(target_lang)
    return [
        BLEU(references=[references], tokenize=tokeniser, lowercase=lowercase),
        CHRF(references=[references], lowercase=lowercase),
    ]


def _resampled_scores(metric: Any, statistics: Sequence[Sequence[float]], resamples: int, seed: int) -> numpy.ndarray:
    """The corpus scores of as many sentences drawn with replacement, (resamples,).

    The same seed draws the same sentences of every system, so that the scores of two systems are pairs.
    """
    generator = numpy.random.default_rng(seed)
    counts = numpy.array(statistics, dtype="float32")  # (sentences, counts), of sacreBLEU's type
    draws = (generator.choice(len(counts), size=len(counts), replace=True) for _ in range(resamples))
    return numpy.array([metric._compute_score_from_stats(counts[draw].sum(0)).score for draw in draws])


def _p_value(scores: numpy.ndarray, baseline_scores: numpy.ndarray, difference: float) -> float:
    """How often chance gives a larger difference than the real one. As in sacreBLEU 1 is added to both counts.

    Where no resample differs sacreBLEU's result would be its smallest p-value; it is 1.
    """
    differences = numpy.abs(scores - baseline_scores)
    if not differences.any():
        return 1.0
    larger = int((differences - differences.mean() > difference).sum())
    return (larger + 1) / (len(differences) + 1)


class PaperScorer:
    """BLEU as papers on WMT14 report it: on tokens, and with compounds split. Not comparable with sacreBLEU's.

    Both are made from detokenised text by one tokenisation, Moses' without splitting dashes, of hypothesis and
    reference alike. So they do not depend on how a system writes its output. Compounds are split as in Vaswani et al.
    2017 and Ott et al. 2018, which turns one word into three that are easily matched, and so raises the score. There
    is no smoothing, as in Moses' multi-bleu.

    Args:
        references: detokenised, one a sentence.
        language: of the text, for the tokeniser.
        lowercase: both sides.
    """

    def __init__(self, references: Sequence[str], language: str, lowercase: bool = False) -> None:
        self._tokenise = make_tokenise(language, dash_splits=False, escape=False, lowercase=lowercase)
        tokens = [self._tokenise(line) for line in references]
        # The text is tokenised on purpose, which "force" tells sacreBLEU.
        options = {"tokenize": "none", "smooth_method": "none", "force": True}
        self._metric = BLEU(references=[tokens], **options)
        self._split_metric = BLEU(references=[[split_compounds(line) for line in tokens]], **options)

    def score(self, hypotheses: Sequence[str]) -> PaperBleu:
        """Corpus BLEU of the hypotheses, detokenised and as many as there are references."""
        tokens = [self._tokenise(line) for line in hypotheses]
        return PaperBleu(
            float(self._metric.corpus_score(tokens, None).score),
            float(self._split_metric.corpus_score([split_compounds(line) for line in tokens], None).score),
        )


def split_compounds(tokens: str) -> str:
    """``x-y`` between characters that are no white space to ``x ##AT##-##AT## y``, from left to right.

    Of ``x-y-z`` with a y of one letter the first dash alone is split, as in the papers' scripts.
    """
    return _COMPOUND.sub(r"\1 ##AT##-##AT## \2", tokens)


def _check_outputs(inputs: Sequence[PathLike], *outputs: Optional[str]) -> None:
    """Refuse an output that would take the place of an input or of the other output."""
    taken = {Path(path).resolve() for path in inputs}
    for output in filter(None, outputs):
        if Path(output).resolve() in taken:
            raise UserError(f"{output} is read here, or written twice; give --json and --markdown other names")
        taken.add(Path(output).resolve())


def main(argv: Optional[Sequence[str]] = None) -> None:
    """The command line."""
    parser = Parser(
        prog="python -m rdrop_fairseq.evaluation.score",
        description="Score translations with sacreBLEU and test whether systems differ (paired bootstrap).",
    )
    reference = parser.add_mutually_exclusive_group(required=True)
    reference.add_argument("--reference", metavar="FILE", help="detokenised reference, a sentence a line")
    reference.add_argument("--test-set", metavar="NAME", help="a test set that sacreBLEU has, such as wmt14/full")
    parser.add_argument(
        "--system",
        action="append",
        required=True,
        metavar="NAME=FILE",
        help="a system's detokenised translations or output of fairseq-generate; one --system for each",
    )
    parser.add_argument("--baseline", metavar="NAME", help="with which the others are compared (default: the first)")
    parser.add_argument("--source-lang", metavar="LANG", help="noted in the report")
    parser.add_argument("--target-lang", metavar="LANG", help="noted, and chooses the tokeniser for zh, ja and ko")
    parser.add_argument("--resamples", type=positive_number, default=DEFAULT_RESAMPLES, help="default: %(default)s")
    parser.add_argument(
        "--seed", type=positive_number, default=DEFAULT_SEED, help="of the bootstrap (default: %(default)s)"
    )
    parser.add_argument("--lowercase", action="store_true", help="both sides; the signatures say so")
    parser.add_argument(
        "--paper-bleu", action="store_true", help="also BLEU on tokens and with compounds split, as papers report it"
    )
    parser.add_argument(
        "--detokenise", action="store_true", help="the translations are tokens of Moses: join them before scoring"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the scores there, for the report")
    parser.add_argument("--markdown", metavar="FILE", help="also write a Markdown table there")
    options = vars(parser.parse_args(argv))
    quiet_libraries()

    json_path, markdown_path, test_set = (options.pop(name) for name in ("json", "markdown", "test_set"))
    if test_set:
        if not (options["source_lang"] and options["target_lang"]):
            raise UserError("--test-set needs the language pair; give --source-lang and --target-lang")
        _, options["reference"] = files_of_test_set(test_set, options["source_lang"], options["target_lang"])
    systems = parse_named_paths(options.pop("system"), "--system")
    _check_outputs([options["reference"], *systems.values()], json_path, markdown_path)
    report = score_files(systems=systems, **options)
    if json_path:
        write_scores(report, json_path)
    if markdown_path:
        write_markdown(report, markdown_path)
    print(format_table(report))


if __name__ == "__main__":
    main()
