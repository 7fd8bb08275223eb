"""The scores of one or more runs: translate what is not translated yet, score, and test whether they differ."""

import contextlib
from pathlib import Path
from typing import Dict, Optional, Sequence

from rdrop_fairseq.common.command_line import say
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.locks import locked_folder
from rdrop_fairseq.common.text import read_lines
from rdrop_fairseq.evaluation.score import DEFAULT_RESAMPLES, DEFAULT_SEED, Scorer
from rdrop_fairseq.evaluation.score_report import ScoreReport, write_markdown, write_scores
from rdrop_fairseq.experiments.translation import Translation


def compare(
    runs: Sequence[Translation],
    program: str,
    output: Optional[Path] = None,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = DEFAULT_SEED,
    paper_bleu: bool = True,
    scorer: Optional[Scorer] = None,
) -> ScoreReport:
    """Translate and score runs, and write all results.

    Each run gets RUN/evaluation/scores.json and scores.md. Nothing is translated again that was made from the same
    checkpoints, data and flags.

    Args:
        runs: of the same test set.
        program: the name of the script, for what it says.
        output: where the comparison of several runs goes; the evaluation folder of the last unless given.
        resamples: of the bootstrap test.
        seed: of the bootstrap test.
        paper_bleu: score as papers do, too.
        scorer: of :func:`make_scorer`, for a caller that asks it for more; it has what concerns the scores.

    Returns:
        The scores of all runs together.

    Raises:
        UserError: runs are the same or of different test sets, one cannot be translated, or another process is there.
    """
    _check_comparable(runs)
    scorer = scorer or make_scorer(runs[0], resamples, seed, paper_bleu)

    def write_report(runs: Sequence[Translation], folder: Path, name: str) -> ScoreReport:
        names = [run.name for run in runs]
        baseline = next((run.name for run in runs if run.record.variant == "baseline"), names[0])
        report = scorer.report(baseline, names)
        write_scores(report, folder / f"{name}.json")
        write_markdown(report, folder / f"{name}.md")
        return report

    with contextlib.ExitStack() as locks:
        for run in runs:
            locks.enter_context(locked_folder(run.folder, program, f"evaluate a copy of {run.path}"))
        are_translated = [run.has_translations() for run in runs]
        for run, is_translated in zip(runs, are_translated):
            if not is_translated:
                run.check()
        for run, is_translated in zip(runs, are_translated):
            if not run.is_trained:
                say(program, f"{run.path}: its training has not come to its end; these are the checkpoints so far")
            if is_translated:
                say(program, f"{run.path}: translated before")
            else:
                _translate(run, program, is_alone=len(runs) == 1)
            # Before other runs: a failure there leaves these scores behind.
            scorer.add(run.name, run.translations, run.description)
            report = write_report([run], run.folder, "scores")
            say(program, f"{run.path}: scores are in {run.folder}/scores.json and scores.md")
        if len(runs) > 1:
            folder = output or runs[-1].folder
            report = write_report(runs, folder, "comparison")
            say(program, f"the comparison is in {folder}/comparison.json and comparison.md")
    return report


def make_scorer(
    run: Translation, resamples: int = DEFAULT_RESAMPLES, seed: int = DEFAULT_SEED, paper_bleu: bool = True
) -> Scorer:
    """For the test set of a run; the arguments are those of :func:`compare`."""
    return Scorer(
        [run.reference], *run.languages, resamples=resamples, seed=seed, lowercase=run.lowercase, paper_bleu=paper_bleu
    )


def _translate(run: Translation, program: str, is_alone: bool) -> None:
    if run.averages:
        last = run.checkpoints[-1].name
        say(program, f"{run.path}: averaging {len(run.checkpoints)} checkpoints, the last {last}")
    say(program, f"{run.path}: translating the test set; the output goes to {run.partial_translations}")
    had_others = run.translations.exists()
    run.translate()
    if not run.has_translations():
        say(program, f"{run.path}: its checkpoints have changed meanwhile; evaluate again for scores of the new ones")
    if had_others and is_alone:
        # Its own comparison is gone with them. One in the folder of another run is not known here.
        say(program, f"{run.path}: comparisons of its earlier translations with other runs, if any, are out of date")


def _check_comparable(runs: Sequence[Translation]) -> None:
    """Refuse runs that are the same, or that translate other test sets."""
    names: Dict[str, Path] = {}
    for run in runs:
        if run.name in names:
            raise UserError(f"{run.path} and {names[run.name]} have one name; rename one of the folders")
        names[run.name] = run.path
        if run.lowercase != runs[0].lowercase:
            raise UserError(f"of {run.path} and {runs[0].path} one is scored lowercased; evaluate them one by one")
        if run.languages != runs[0].languages or read_lines(run.reference) != read_lines(runs[0].reference):
            raise UserError(f"{run.path} and {runs[0].path} have different test sets; evaluate them one by one")
