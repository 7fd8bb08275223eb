"""Baseline and R-Drop on one text, from sub-words to a report: ``scripts/quickstart.sh``; see its --help."""

import argparse
import shlex
from pathlib import Path
from typing import List, Sequence, Tuple

from rdrop_fairseq.common.command_line import Parser, say, split_words
from rdrop_fairseq.common.files import write_text
from rdrop_fairseq.common.work_folder import WorkFolder
from rdrop_fairseq.evaluation.score_report import format_table, write_scores
from rdrop_fairseq.experiments import earlier_quickstart
from rdrop_fairseq.experiments.configuration import REPOSITORY, Configuration, find_configuration
from rdrop_fairseq.experiments.experiment import (
    ORDER,
    Experiment,
    add_text_options,
    find_data,
    holds_key,
    key_of_report,
    text_preparation,
)
from rdrop_fairseq.experiments.options import (
    add_training_options,
    check_training_options,
    refuse_options_of_train,
    settings_of_words,
)

SCRIPT = "scripts/quickstart.sh"
_PROGRAM = Path(SCRIPT).name
_NAMES = {"baseline": "baseline", "rdrop": "R-Drop"}


def main(words: Sequence[str]) -> int:
    """The command line; returns the exit status.

    Raises:
        UserError: something cannot work, or a step failed.
    """
    options, others = _parse(words)
    configuration = find_configuration("quickstart")
    key = key_of_report(words, options.data, configuration.path)
    folder = WorkFolder(options.run_dir, _PROGRAM, "--run-dir")
    scores, report, mark = (folder.path / name for name in ("scores.txt", "report.md", ".done/report"))
    if holds_key(mark, key) and scores.is_file() and report.is_file():
        say(_PROGRAM, f"{options.run_dir}: done before")
    else:
        _run(configuration, options, others, words, folder)
        write_text(mark, key)
    print(scores.read_text(encoding="utf-8"), end="")
    print(f"report: {report}")
    return 0


def _run(
    configuration: Configuration,
    options: argparse.Namespace,
    others: List[str],
    words: Sequence[str],
    folder: WorkFolder,
) -> None:
    """All steps, each of which does nothing again that is done."""
    from rdrop_fairseq.evaluation.report import write_report  # matplotlib takes a second

    languages, data = (options.source_lang, options.target_lang), options.data
    # The text may be corrected until something was trained on it.
    preparation = text_preparation(options, folder.path / "data", _PROGRAM, lasting=["../*/checkpoints/*.pt"])
    folders = {variant: folder.path / variant for variant in ORDER}
    command_line, command = settings_of_words(others, "fairseq-train"), [SCRIPT, *words]
    experiment = Experiment(configuration, options, command_line, preparation, folders, command)
    trainings, is_earlier = experiment.check(), earlier_quickstart.is_earlier(folder.path)
    if is_earlier:
        earlier_quickstart.check_settings(folder.path, words, trainings)
    settings = [f"languages {'-'.join(languages)}", f"text {data or 'sample corpus'}"]
    with folder.opened(settings, lasting=["*/checkpoints/*.pt"]):
        preparation.run()
        if is_earlier:
            trainings = [experiment.plan(variant) for variant in ORDER]
            earlier_quickstart.take_over(folder.path, trainings, shlex.join(command))
        for variant in ORDER:
            experiment.train(variant)
        scores = experiment.compare(folder.path, _NAMES, paper_bleu=False)
        write_scores(scores, folder.path / "scores.json")
        write_text(folder.path / "scores.txt", format_table(scores) + "\n")
        say(_PROGRAM, "writing the report")
        text = f"text of {data}" if data else "the sample corpus: text that a program generated, not people"
        write_report(
            {_NAMES[variant]: folders[variant] for variant in ORDER},
            folder.path / "scores.json",
            folder.path,
            source=preparation.bin / f"source.{languages[0]}",
            data=f"{text}, {options.vocab_size} sub-words",
        )


def quickstart_parser() -> Parser:
    """The options of the script that are not fairseq-train's."""
    parser = Parser(prog=SCRIPT, allow_abbrev=False)
    add_training_options(parser)
    add_text_options(parser)
    parser.set_defaults(source_lang="en", target_lang="de")
    return parser


def _parse(words: Sequence[str]) -> Tuple[argparse.Namespace, List[str]]:
    """The options, complete, and those that go to fairseq-train."""
    parser = quickstart_parser()
    own, others = split_words(words, parser)
    options = parser.parse_args(own)
    check_training_options(options)
    refuse_options_of_train(others, of_recipe=False)
    pair = f"{options.source_lang}-{options.target_lang}"
    find_data(options)
    name = f"{options.data.name}-{pair}" if options.data else "quickstart"
    options.run_dir = options.run_dir or REPOSITORY / "runs" / name
    # Both trainings are small: of one process, unless more are asked for, and so of as many tokens everywhere.
    options.default_gpus = 1
    if options.max_tokens and not options.tokens_per_update:
        options.tokens_per_update = options.max_tokens * (options.gpus or options.processes or 1)
    return options, others
