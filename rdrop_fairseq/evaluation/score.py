r"""BLEU and chrF of translations, and whether systems differ: ``python -m rdrop_fairseq.evaluation.score``.

    python -m rdrop_fairseq.evaluation.score --reference test.de \
        --system baseline=baseline.txt --system r-drop=rdrop.txt

The scores are sacreBLEU's, and so are the signatures. Two or more systems are compared with the baseline by
paired bootstrap resampling (Koehn, EMNLP 2004, as in sacreBLEU). That test is about the choice of test
sentences only: it does not see how much a system changes from one training run to the next.
"""

import contextlib
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from rdrop_fairseq.common.command_line import Parser, parse_named_paths, quiet_libraries
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import atomic_output
from rdrop_fairseq.common.text import read_lines, read_text, split_lines
from rdrop_fairseq.data.moses import make_detokenise
from rdrop_fairseq.data.test_sets import files_of_test_set
from rdrop_fairseq.evaluation.generate_output import is_generate_output, parse_generate_output
from rdrop_fairseq.evaluation.paper_bleu import PaperScorer
from rdrop_fairseq.evaluation.score_report import MetricResult, ScoreReport, SystemResult, write_scores
from rdrop_fairseq.evaluation.score_tables import format_markdown, format_table

# How words are marked that were split into sub-words, and the --post-process that joins them.
SUBWORD_MARKS = (("\u2581", "sentencepiece"), ("@@ ", "subword_nmt"))
PathLike = Union[str, Path]

DEFAULT_RESAMPLES = 1000
DEFAULT_SEED = 12345


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
    lowercase: bool = False,
    paper_bleu: bool = False,
    origins: Optional[Mapping[str, str]] = None,
    detokenise: bool = False,
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
        lowercase: both sides, for BLEU and chrF; the signatures say so.
        paper_bleu: also the scores of :mod:`rdrop_fairseq.evaluation.paper_bleu`, which need ``target_lang``.
        origins: for each name what the translations were made with, noted in the report.
        detokenise: the translations, not the reference, are tokens of Moses; needs ``target_lang``.

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
        raise UserError(f"--resamples {resamples}: give a number of at least 1 ({DEFAULT_RESAMPLES} is usual)")
    if seed < 1:  # sacreBLEU takes 0 to mean "a different seed each time"
        raise UserError(f"--seed {seed}: give a number of at least 1")
    if paper_bleu and not target_lang:
        raise UserError("BLEU on tokens needs the language for its tokeniser; give --target-lang")
    if detokenise and not target_lang:
        raise UserError("--detokenise needs the language of the tokens; give --target-lang")

    references = read_lines(reference)
    _check_lines(references, reference, None)
    texts = {name: read_hypotheses(path, len(references)) for name, path in systems.items()}
    if detokenise:
        join = make_detokenise(target_lang)
        texts = {name: [join(line) for line in lines] for name, lines in texts.items()}
    metrics = _metrics(references, target_lang, lowercase)
    paper_scorer = PaperScorer(references, target_lang, lowercase) if paper_bleu else None

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
                paper_bleu=paper_scorer.score(texts[name]) if paper_scorer else None,
                origin=(origins or {}).get(name),
            )
            for name in names
        ),
        signatures=signatures,
        bootstrap_signatures=bootstrap_signatures,
        resamples=resamples,
        seed=seed,
    )


def _metrics(references: Sequence[str], target_lang: Optional[str], lowercase: bool) -> Dict[str, Any]:
    try:
        return {
            "bleu": BLEU(references=[references], trg_lang=target_lang or "", lowercase=lowercase),
            "chrf": CHRF(references=[references], lowercase=lowercase),
        }
    except (ImportError, RuntimeError) as error:  # the Japanese and Korean tokenisers are packages of their own
        raise UserError(
            f"sacreBLEU's tokeniser for {target_lang} is not installed; pip install 'sacrebleu[{target_lang}]'"
        ) from error


def _paired_bootstrap(
    texts: Mapping[str, Sequence[str]], baseline: str, metrics: Mapping[str, Any], resamples: int, seed: int
) -> Tuple[Dict[str, Dict[str, Tuple[float, float, Optional[float]]]], Dict[str, str]]:
    """For each metric and system (mean, half the 95% interval, p-value or None), and the signatures."""
    ordered = [(baseline, texts[baseline])] + [(name, text) for name, text in texts.items() if name != baseline]
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
    for mark, flag in SUBWORD_MARKS:
        if 2 * sum(mark in line for line in with_text) > len(with_text):
            raise UserError(
                f"{path} is still split into subwords ({mark.strip()}); generate with --post-process {flag}, "
                "or join them, before scoring"
            )


def write_markdown(report: ScoreReport, path: PathLike) -> None:
    """Write the tables as a Markdown file."""
    with atomic_output(path) as temporary:
        temporary.write_text(
            f"Scores by sacreBLEU {sacrebleu.__version__}.\n\n{format_markdown(report)}", encoding="utf-8"
        )


def _check_outputs(inputs: Sequence[PathLike], *outputs: Optional[str]) -> None:
    """Refuse an output that would take the place of an input or of the other output."""
    taken = {Path(path).resolve() for path in inputs}
    for output in filter(None, outputs):
        if Path(output).resolve() in taken:
            raise UserError(f"{output} is read here, or written twice; give --json and --markdown other names")
        taken.add(Path(output).resolve())


def main(argv: Optional[Sequence[str]] = None) -> None:
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
    parser.add_argument("--resamples", type=int, default=DEFAULT_RESAMPLES, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--lowercase", action="store_true", help="both sides; the signatures say so")
    parser.add_argument(
        "--paper-bleu", action="store_true", help="also BLEU on tokens and with compounds split, as papers report it"
    )
    parser.add_argument(
        "--detokenise", action="store_true", help="the translations are tokens of Moses: join them before scoring"
    )
    parser.add_argument("--json", metavar="FILE", help="also write the scores there, for the report")
    parser.add_argument("--markdown", metavar="FILE", help="also write a Markdown table there")
    arguments = parser.parse_args(argv)
    quiet_libraries()

    reference = arguments.reference
    if arguments.test_set:
        if not (arguments.source_lang and arguments.target_lang):
            raise UserError("--test-set needs the language pair; give --source-lang and --target-lang")
        _, reference = files_of_test_set(arguments.test_set, arguments.source_lang, arguments.target_lang)
    systems = parse_named_paths(arguments.system, "--system")
    _check_outputs([reference, *systems.values()], arguments.json, arguments.markdown)
    report = score_files(
        reference,
        systems,
        baseline=arguments.baseline,
        source_lang=arguments.source_lang,
        target_lang=arguments.target_lang,
        resamples=arguments.resamples,
        seed=arguments.seed,
        lowercase=arguments.lowercase,
        paper_bleu=arguments.paper_bleu,
        detokenise=arguments.detokenise,
    )
    if arguments.json:
        write_scores(report, arguments.json)
    if arguments.markdown:
        write_markdown(report, arguments.markdown)
    print(format_table(report))


if __name__ == "__main__":
    main()
