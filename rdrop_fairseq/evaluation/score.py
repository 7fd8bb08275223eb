r"""BLEU, chrF and TER of translations, and whether systems differ: ``python -m rdrop_fairseq.evaluation.score``.

    python -m rdrop_fairseq.evaluation.score --reference test.de \
        --system baseline=baseline.txt --system r-drop=rdrop.txt

The scores are sacreBLEU's, and so are the signatures. Two or more systems are compared with the baseline by one of the
tests of :mod:`rdrop_fairseq.evaluation.significance`.
"""

from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

import numpy
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.metrics.base import Score
from sacrebleu.significance import estimate_ci

from rdrop_fairseq.common.bleu import sacrebleu_tokeniser
from rdrop_fairseq.common.command_line import Parser, parse_named_paths, positive_number, quiet_libraries
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import PathLike
from rdrop_fairseq.common.text import read_lines
from rdrop_fairseq.data.moses import make_detokenise
from rdrop_fairseq.data.test_sets import files_of_test_set
from rdrop_fairseq.evaluation.generate_output import read_translations
from rdrop_fairseq.evaluation.paper_bleu import PaperScorer
from rdrop_fairseq.evaluation.score_report import (
    BOOTSTRAP,
    SIGNIFICANCE_TESTS,
    MetricResult,
    PaperBleu,
    ScoreReport,
    SystemResult,
    format_table,
    write_markdown,
    write_scores,
)
from rdrop_fairseq.evaluation.significance import (
    Statistics,
    bootstrap_p_value,
    bootstrap_scores,
    randomisation_p_value,
)
from rdrop_fairseq.evaluation.text_checks import check_text

METRICS = ("bleu", "chrf", "chrf++", "ter")
DEFAULT_METRICS = ("bleu", "chrf")
DEFAULT_RESAMPLES = 1000
DEFAULT_SEED = 12345
_MOST_RESAMPLES = 1_000_000


class _Measured(NamedTuple):
    """One metric of one system."""

    statistics: Statistics
    score: Score
    resampled: numpy.ndarray  # (resamples,)


class _System(NamedTuple):
    path: PathLike
    origin: Optional[str]
    measured: List[_Measured]  # in the order of the metrics
    paper_bleu: Optional[PaperBleu]
    warnings: List[str]


class Scorer:
    """Scores systems on one test set, each once, and reports on any of them together.

    Args:
        references: files of detokenised reference text, one sentence a line; several for as many references of each.
        source_lang: noted in the report.
        target_lang: noted in the report; Chinese, Japanese and Korean have tokenisers of their own in BLEU.
        metrics: of :data:`METRICS`.
        significance: the test, of :data:`rdrop_fairseq.evaluation.score_report.SIGNIFICANCE_TESTS`.
        resamples: of the bootstrap, or trials of approximate randomisation; from 1 to a million.
        seed: of the bootstrap and the test; the result is a function of the texts, ``resamples`` and ``seed``.
        lowercase: both sides, for all metrics; the signatures say so. (TER is lowercased by default, as in sacreBLEU.)
        paper_bleu: also the scores of :class:`rdrop_fairseq.evaluation.paper_bleu.PaperScorer`; needs ``target_lang``.
        detokenise: the translations, not the reference, are tokens of Moses; needs ``target_lang``.

    Raises:
        UserError: a reference is missing or no text, or they are of other sentences; a number of resamples out of
            range; no language where one is needed; a tokeniser is not installed.
    """

    def __init__(
        self,
        references: Sequence[PathLike],
        source_lang: Optional[str] = None,
        target_lang: Optional[str] = None,
        metrics: Sequence[str] = DEFAULT_METRICS,
        significance: str = BOOTSTRAP,
        resamples: int = DEFAULT_RESAMPLES,
        seed: int = DEFAULT_SEED,
        lowercase: bool = False,
        paper_bleu: bool = False,
        detokenise: bool = False,
    ) -> None:
        if not 1 <= resamples <= _MOST_RESAMPLES:
            raise UserError(
                f"--resamples {resamples}: give a number from 1 to {_MOST_RESAMPLES} ({DEFAULT_RESAMPLES} is usual)"
            )
        for wanted, what in ((paper_bleu, "BLEU on tokens"), (detokenise, "--detokenise")):
            if wanted and not target_lang:
                raise UserError(f"{what} needs the language of the tokens; give --target-lang")
        self._languages = source_lang, target_lang
        self._significance, self._resamples, self._seed = significance, resamples, seed
        self._references: Dict[PathLike, List[str]] = {}
        self._warnings: List[str] = []
        for path in references:
            if Path(path).resolve() in {Path(earlier).resolve() for earlier in self._references}:
                raise UserError(f"the reference {path} is given twice; give each once")
            self._references[path] = lines = read_lines(path)
            self._warnings += check_text(lines, path)
            if len(lines) != self.sentences:
                raise UserError(
                    f"{path} has {len(lines)} lines and {references[0]} has {self.sentences}; "
                    "give references of the same sentences"
                )
        texts = list(self._references.values())
        self._metrics = [_make_metric(name, texts, target_lang, lowercase) for name in dict.fromkeys(metrics)]
        self._paper_scorer = PaperScorer(texts, target_lang, lowercase) if paper_bleu else None
        self._detokenise = make_detokenise(target_lang) if detokenise else None
        self._systems: Dict[str, _System] = {}

    @property
    def sentences(self) -> int:
        """The number of sentences in the test set."""
        return len(next(iter(self._references.values())))

    def add(self, name: str, path: PathLike, origin: Optional[str] = None) -> None:
        """Score a system: a file of detokenised text, or the output of fairseq-generate.

        Args:
            name: in tables.
            path: the file.
            origin: what the translations were made with, noted in the report.

        Raises:
            UserError: see :func:`rdrop_fairseq.evaluation.generate_output.read_translations`.
        """
        lines, warnings = read_translations(path, self._references, self._detokenise)
        measured = []
        for metric in self._metrics:
            # What sacreBLEU's public functions do, but each sentence is counted and each resample scored only once.
            statistics = metric._extract_corpus_statistics(lines, None)
            score = metric._aggregate_and_compute(statistics)
            measured.append(
                _Measured(statistics, score, bootstrap_scores(metric, statistics, self._resamples, self._seed))
            )
        paper_bleu = self._paper_scorer.score(lines) if self._paper_scorer else None
        self._systems[name] = _System(path, origin, measured, paper_bleu, warnings)

    def report(self, baseline: Optional[str] = None, names: Optional[Sequence[str]] = None) -> ScoreReport:
        """The scores of systems that were added.

        Args:
            baseline: with which the others are compared; the first system if None.
            names: of the systems; all if None.

        Raises:
            UserError: an unknown baseline.
        """
        systems = {name: self._systems[name] for name in names or self._systems}
        baseline = next(iter(systems)) if baseline is None else baseline
        if baseline not in systems:
            raise UserError(f"unknown baseline {baseline!r}; the systems are: {', '.join(systems)}")
        labels = [measured.score.name for measured in systems[baseline].measured]
        results = {
            name: [self._result(number, system, systems[baseline]) for number in range(len(labels))]
            for name, system in systems.items()
        }
        signatures = [self._signature(metric) for metric in self._metrics]
        bootstrap = [self._signature(metric, "bs") for metric in self._metrics]
        trials = [self._signature(metric, "ar") for metric in self._metrics]
        source_lang, target_lang = self._languages
        return ScoreReport(
            references=tuple(map(str, self._references)),
            sentences=self.sentences,
            source_lang=source_lang,
            target_lang=target_lang,
            baseline=baseline,
            systems=tuple(
                SystemResult(
                    name,
                    str(system.path),
                    dict(zip(labels, results[name])),
                    sacrebleu_lines=tuple(
                        measured.score.format(width=2, signature=signature)
                        for measured, signature in zip(system.measured, signatures)
                    ),
                    paper_bleu=system.paper_bleu,
                    origin=system.origin,
                )
                for name, system in systems.items()
            ),
            signatures=dict(zip(labels, signatures)),
            bootstrap_signatures=dict(zip(labels, bootstrap)),
            test_signatures=dict(zip(labels, bootstrap if self._significance == BOOTSTRAP else trials)),
            significance=self._significance,
            resamples=self._resamples,
            seed=self._seed,
            warnings=tuple(self._warnings + [line for system in systems.values() for line in system.warnings]),
        )

    def p_value_of_means(self, names: Sequence[str], baseline: Sequence[str], metric: str = "BLEU") -> float:
        """Whether the mean scores of two groups of systems differ, such as two settings trained with several seeds.

        It is the paired bootstrap on the mean scores: each resample scores every system of both groups. Like that of
        two systems it is about the choice of sentences; how much seeds differ it does not see.
        """
        groups = [[self._measured(name, metric) for name in group] for group in (names, baseline)]
        # (resamples,)
        scores, baseline_scores = (numpy.mean([it.resampled for it in group], axis=0) for group in groups)
        mean, baseline_mean = (numpy.mean([it.score.score for it in group]) for group in groups)
        return bootstrap_p_value(scores, baseline_scores, abs(mean - baseline_mean))

    def _measured(self, name: str, metric: str) -> _Measured:
        return next(it for it in self._systems[name].measured if it.score.name == metric)

    def _result(self, number: int, system: _System, baseline: _System) -> MetricResult:
        """Of the metric of this number."""
        statistics, score, resampled = system.measured[number]
        other = baseline.measured[number]
        difference = abs(score.score - other.score.score)
        if system is baseline:
            p_value = None
        elif self._significance == BOOTSTRAP:
            p_value = bootstrap_p_value(resampled, other.resampled, difference)
        else:
            p_value = randomisation_p_value(
                self._metrics[number], statistics, other.statistics, self._resamples, self._seed, difference
            )
        mean, confidence = map(float, estimate_ci(resampled))
        return MetricResult(float(score.score), mean, confidence, p_value)

    def _signature(self, metric: Any, test: Optional[str] = None) -> str:
        """sacreBLEU's signature of a metric, or of resampling ("bs": bootstrap, "ar": approximate randomisation)."""
        signature = metric.get_signature()
        if test is not None:
            signature.update("seed", str(self._seed))
            signature.update(test, self._resamples)
        return signature.format()


def score_files(
    references: Union[PathLike, Sequence[PathLike]],
    systems: Mapping[str, PathLike],
    baseline: Optional[str] = None,
    **options: Any,
) -> ScoreReport:
    """Score files of translations against one file of references or more.

    Args:
        references: see :class:`Scorer`, which has the ``options`` too.
        systems: one or more; for each name a file of detokenised text or the output of fairseq-generate.
        baseline: with which the others are compared; the first system if None.

    Raises:
        UserError: see :class:`Scorer`.
    """
    if baseline is not None and baseline not in systems:
        raise UserError(f"unknown baseline {baseline!r}; the systems are: {', '.join(systems)}")
    scorer = Scorer([references] if isinstance(references, (str, Path)) else references, **options)
    for name, path in systems.items():
        scorer.add(name, path)
    return scorer.report(baseline)


def _make_metric(
    name: str, references: Sequence[Sequence[str]], target_lang: Optional[str], lowercase: bool
) -> Union[BLEU, CHRF, TER]:
    tokeniser = sacrebleu_tokeniser(target_lang)
    if name == "bleu":
        return BLEU(references=references, tokenize=tokeniser, lowercase=lowercase)
    if name == "ter":
        # Text without blanks has words only for the tokeniser that Tercom has for it.
        splits_characters = tokeniser in ("zh", "ja-mecab")
        return TER(references=references, normalized=splits_characters, asian_support=splits_characters)
    return CHRF(references=references, word_order=2 if name == "chrf++" else 0, lowercase=lowercase)


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
        description="Score translations with sacreBLEU and test whether systems differ.",
    )
    reference = parser.add_mutually_exclusive_group(required=True)
    reference.add_argument(
        "--reference",
        action="append",
        dest="references",
        metavar="FILE",
        help="detokenised reference, a sentence a line; one --reference for each, where there are several",
    )
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
    parser.add_argument("--target-lang", metavar="LANG", help="noted, and chooses the tokeniser: zh, ja, ko")
    parser.add_argument(
        "--metrics", nargs="+", choices=METRICS, default=DEFAULT_METRICS, help="default: bleu chrf", metavar="METRIC"
    )
    parser.add_argument(
        "--significance", choices=SIGNIFICANCE_TESTS, default=BOOTSTRAP, help="the paired test (default: %(default)s)"
    )
    parser.add_argument(
        "--resamples",
        type=positive_number,
        default=DEFAULT_RESAMPLES,
        help="of the bootstrap, or trials of approximate randomisation (default: %(default)s)",
    )
    parser.add_argument("--seed", type=positive_number, default=DEFAULT_SEED, help="of the test (default: %(default)s)")
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
        _, reference = files_of_test_set(test_set, options["source_lang"], options["target_lang"])
        options["references"] = [reference]
    systems = parse_named_paths(options.pop("system"), "--system")
    _check_outputs([*options["references"], *systems.values()], json_path, markdown_path)
    report = score_files(systems=systems, **options)
    if json_path:
        write_scores(report, json_path)
    if markdown_path:
        write_markdown(report, markdown_path)
    print(format_table(report))


if __name__ == "__main__":
    main()
