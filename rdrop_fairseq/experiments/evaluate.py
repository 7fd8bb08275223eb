"""Evaluate runs of scripts/train.sh: scripts/evaluate.sh, whose --help says what the options do.

For each run: the average of its last checkpoints (or its best one), translations of the test set by fairseq-generate,
and scores against the raw reference, all in RUN/evaluation. What was made before is made again only if it came from
other checkpoints, data or flags, and is replaced when the new translations are complete.
"""

import argparse
import contextlib
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from rdrop_fairseq.common.command_line import Parser, positive_number, quiet_libraries, say, split_words
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.text import read_lines
from rdrop_fairseq.evaluation.score import (
    DEFAULT_RESAMPLES,
    DEFAULT_SEED,
    read_hypotheses,
    score_files,
    write_markdown,
)
from rdrop_fairseq.evaluation.score_report import ScoreReport, write_scores
from rdrop_fairseq.evaluation.score_tables import format_table
from rdrop_fairseq.experiments.evaluated_run import EvaluatedRun

PROGRAM = "evaluate.sh"


def main(argv: Optional[Sequence[str]] = None) -> None:
    """The command line.

    Raises:
        UserError: a run cannot be evaluated, or a program failed.
    """
    options, generation = _parse(sys.argv[1:] if argv is None else argv)
    quiet_libraries()
    runs = [EvaluatedRun(path, options, generation) for path in options.run]
    _check_comparable(runs)
    with contextlib.ExitStack() as locks:
        for run in runs:
            locks.enter_context(run.lock())
        report = _evaluate(runs, options)
    print(format_table(report))


def _evaluate(runs: Sequence[EvaluatedRun], options: argparse.Namespace) -> ScoreReport:
    """Translate and score, and write all results; returns those of the comparison, if there are several runs."""
    are_translated = [run.has_translations() for run in runs]
    for run, is_translated in zip(runs, are_translated):
        if not is_translated:
            run.check()
    for run, is_translated in zip(runs, are_translated):
        if not run.is_trained:
            _say(f"{run.path}: its training has not come to its end; these are the checkpoints so far")
        if is_translated:
            _say(f"{run.path}: translated before")
        else:
            had_others = run.translations.exists()
            _translate(run)
            if had_others and len(runs) == 1:
                # Its own comparison is gone with them. One in the folder of another run is not known here.
                _say(f"{run.path}: comparisons of its earlier translations with other runs, if any, are out of date")
        # Before other runs: a failure there leaves these scores behind.
        report = _score([run], options)
        write_scores(report, run.folder / "scores.json")
        write_markdown(report, run.folder / "scores.md")
        _say(f"{run.path}: scores are in {run.folder}/scores.json and scores.md")
    if len(runs) > 1:
        report = _score(runs, options)
        folder = options.output or runs[-1].folder
        write_scores(report, folder / "comparison.json")
        write_markdown(report, folder / "comparison.md")
        _say(f"the comparison is in {folder}/comparison.json and comparison.md")
    return report


def _translate(run: EvaluatedRun) -> None:
    """Have translations of the test set by the checkpoint that the run is to be judged by."""
    if run.averages:
        _say(f"{run.path}: averaging {len(run.checkpoints)} checkpoints, the last {run.checkpoints[-1].name}")
    run.begin_translations()
    command = run.generation_command(partial=True)
    _say(f"{run.path}: translating the test set; the output goes to {run.partial_translations}")
    # Ended when this process is killed: it would go on writing into the file that the next one begins.
    worker = [sys.executable, "-m", "rdrop_fairseq.common.processes", *command]
    with open(run.partial_translations, "wb") as output:
        status = subprocess.run(worker, stdout=output, stderr=subprocess.STDOUT).returncode
    if status != 0:
        raise UserError(
            f"{shlex.join(command[:1])} failed with status {status}: {_last_line(run.partial_translations)}; "
            f"the whole message is in {run.partial_translations}"
        )
    # Before they get their name: what cannot be scored is refused here, with earlier results untouched.
    read_hypotheses(run.partial_translations, len(read_lines(run.reference)))
    run.keep_translations()
    if not run.has_translations():
        _say(f"{run.path}: its checkpoints have changed meanwhile; evaluate again for scores of the new ones")


def _score(runs: Sequence[EvaluatedRun], options: argparse.Namespace) -> ScoreReport:
    first = runs[0]
    baseline = next((run.name for run in runs if run.variant == "baseline"), first.name)
    return score_files(
        first.reference,
        {run.name: run.translations for run in runs},
        baseline=baseline,
        source_lang=first.languages[0],
        target_lang=first.languages[1],
        resamples=options.resamples,
        seed=options.seed,
        lowercase=first.lowercase,
        paper_bleu=True,
        origins={run.name: run.description for run in runs},
    )


def _check_comparable(runs: Sequence[EvaluatedRun]) -> None:
    """Refuse runs that are the same, or that translate other test sets."""
    names: Dict[str, Path] = {}
    for run in runs:
        if run.name in names:
            raise UserError(f"{run.path} and {names[run.name]} have one name; rename one of the folders")
        names[run.name] = run.path
        if run.languages != runs[0].languages or read_lines(run.reference) != read_lines(runs[0].reference):
            raise UserError(f"{run.path} and {runs[0].path} have different test sets; evaluate them one by one")


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it printed nothing"


def _parse(words: Sequence[str]) -> Tuple[argparse.Namespace, List[str]]:
    """The options, and those that go to fairseq-generate."""
    parser = Parser(prog=f"scripts/{PROGRAM}", allow_abbrev=False)
    parser.add_argument("run", nargs="*", type=Path, metavar="RUN", help="folders that scripts/train.sh made")
    parser.add_argument("--average", type=positive_number, metavar="K", help="average the last K checkpoints")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="translate with this checkpoint")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="binarised data, where they are no longer in their place"
    )
    parser.add_argument("--reference", type=Path, metavar="FILE", help="raw reference text of the test set")
    parser.add_argument("--cpu", action="store_true", help="translate on the CPU")
    parser.add_argument("--resamples", type=positive_number, default=DEFAULT_RESAMPLES, help="of the bootstrap")
    parser.add_argument("--seed", type=positive_number, default=DEFAULT_SEED, help="of the bootstrap")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where a comparison goes")
    own, generation = split_words(words, parser)
    options = parser.parse_args(own)
    if not options.run:
        parser.error("give a RUN that scripts/train.sh made, or translations with --system NAME=FILE")
    if options.average is not None and options.checkpoint is not None:
        raise UserError("--average and --checkpoint exclude each other; give one")
    if options.checkpoint is not None and len(options.run) > 1:
        raise UserError("--checkpoint belongs to one run; give one RUN")
    return options, generation


def _say(message: str) -> None:
    say(PROGRAM, message)


if __name__ == "__main__":
    main()
