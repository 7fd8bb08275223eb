"""Baseline and R-Drop on one text, from sub-words to a report: ``scripts/quickstart.sh``; see its --help."""

import argparse
import hashlib
import json
import shlex
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from rdrop_fairseq.common.command_line import Parser, positive_number, say, some_text, split_words
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import sha256_of, write_text
from rdrop_fairseq.common.work_folder import WorkFolder
from rdrop_fairseq.data.parallel_text import find_splits
from rdrop_fairseq.data.preparation import Preparation
from rdrop_fairseq.data.recipes import text_recipe
from rdrop_fairseq.evaluation.score_report import format_table, write_scores
from rdrop_fairseq.experiments import earlier_quickstart
from rdrop_fairseq.experiments.configuration import REPOSITORY, Configuration, find_configuration
from rdrop_fairseq.experiments.experiment import ORDER, Experiment
from rdrop_fairseq.experiments.options import (
    add_training_options,
    check_training_options,
    refuse_options_of_train,
    settings_of_words,
)

SCRIPT = "scripts/quickstart.sh"
_PROGRAM = Path(SCRIPT).name
_NAMES = {"baseline": "baseline", "rdrop": "R-Drop"}
_SAMPLE_WORDS, _TEXT_WORDS = 2000, 6000  # sub-words of the sample corpus, and of somebody's text


def main(words: Sequence[str]) -> int:
    """The command line; returns the exit status.

    Raises:
        UserError: something cannot work, or a step failed.
    """
    options, others = _parse(words)
    configuration = find_configuration("quickstart")
    key = _key(words, configuration.path, options.data)
    folder = WorkFolder(options.run_dir, _PROGRAM, "--run-dir")
    scores, report, mark = (folder.path / name for name in ("scores.txt", "report.md", ".done/report"))
    if _holds(mark, key) and scores.is_file() and report.is_file():
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
    recipe = text_recipe(*languages, data, options.vocab_size, options.test_set)
    # The text may be corrected until something was trained on it.
    lasting = ["../*/checkpoints/*.pt"]
    preparation = Preparation(recipe, folder.path / "data", _PROGRAM, place_option="--run-dir", lasting=lasting)
    folders = {variant: folder.path / variant for variant in ORDER}
    options.texts = find_splits(data, *languages, options.test_set) if data else {}
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
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of raw text")
    parser.add_argument(
        "--source-lang", type=some_text, default="en", metavar="LANG", help="the language to translate from"
    )
    parser.add_argument(
        "--target-lang", type=some_text, default="de", metavar="LANG", help="the language to translate into"
    )
    parser.add_argument("--test-set", metavar="NAME", help="which test set, where there are several")
    parser.add_argument("--vocab-size", type=positive_number, metavar="N", help="joined BPE sub-words")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="where everything goes")
    return parser


def _parse(words: Sequence[str]) -> Tuple[argparse.Namespace, List[str]]:
    """The options, complete, and those that go to fairseq-train."""
    parser = quickstart_parser()
    own, others = split_words(words, parser)
    options = parser.parse_args(own)
    check_training_options(options)
    refuse_options_of_train(others, of_recipe=False)
    pair = f"{options.source_lang}-{options.target_lang}"
    if options.data is not None:
        if not options.data.is_dir():
            raise UserError(
                f"no folder {options.data}; give --data the folder that holds train.{options.source_lang} and so on"
            )
        options.data = options.data.resolve()
    options.vocab_size = options.vocab_size or (_TEXT_WORDS if options.data else _SAMPLE_WORDS)
    name = f"{options.data.name}-{pair}" if options.data else "quickstart"
    options.run_dir = options.run_dir or REPOSITORY / "runs" / name
    # Both trainings are small: of one process, unless more are asked for, and so of as many tokens everywhere.
    options.default_gpus = 1
    if options.max_tokens and not options.tokens_per_update:
        options.tokens_per_update = options.max_tokens * (options.gpus or options.processes or 1)
    return options, others


def _holds(mark: Path, key: str) -> bool:
    """Whether a mark is there, and of this key."""
    try:
        return mark.read_text(encoding="utf-8") == key
    except (OSError, UnicodeDecodeError):
        return False


def _key(words: Sequence[str], configuration: Path, data: Optional[Path]) -> str:
    """What tells a call whose report is there already from one that has to do something."""
    files = sorted(path for path in data.iterdir() if path.is_file()) if data else []
    identities = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    content = json.dumps([list(words), sha256_of(configuration), identities])
    return hashlib.sha256(content.encode("utf-8")).hexdigest() + "\n"
