"""A published recipe from archives to scores: ``scripts/reproduce_*.sh``, whose --help says what the options do."""

from pathlib import Path
from typing import Sequence, Tuple

from rdrop_fairseq.common.command_line import Parser, positive_number, say, split_words
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.data.preparation import Preparation
from rdrop_fairseq.data.prepare import add_options
from rdrop_fairseq.data.recipes import RECIPES
from rdrop_fairseq.evaluation.score_report import format_table
from rdrop_fairseq.experiments.comparison import ScoringOptions
from rdrop_fairseq.experiments.configuration import REPOSITORY, find_configuration
from rdrop_fairseq.experiments.experiment import Experiment
from rdrop_fairseq.experiments.options import (
    add_node_options,
    add_training_options,
    check_training_options,
    training_settings,
)
from rdrop_fairseq.experiments.translation import TranslationOptions

STAGES = ("prepare", "train-baseline", "train-rdrop", "evaluate")
_OF_TRAIN = "is for scripts/train.sh alone"
_ELSEWHERE = {
    "--baseline": f"{_OF_TRAIN}; this trains the baseline and R-Drop, leave it out",
    "--dry-run": f"{_OF_TRAIN}; this trains the baseline and R-Drop, leave it out",
    "--data": f"{_OF_TRAIN}; give --data-dir",
    "--run-dir": f"{_OF_TRAIN}; give --runs-dir",
    "--source-lang": "is that of the recipe; leave it out",
    "--target-lang": "is that of the recipe; leave it out",
}


def main(words: Sequence[str]) -> int:
    """The command line: the recipe's name, then options; returns the exit status.

    Raises:
        UserError: something cannot work, or a step failed.
    """
    recipe, *words = words
    script = f"scripts/reproduce_{recipe}.sh"
    parser = Parser(prog=script, allow_abbrev=False)
    add_options(parser)
    add_training_options(parser)
    add_node_options(parser)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", default=REPOSITORY / "data" / recipe)
    parser.add_argument("--runs-dir", type=Path, metavar="DIR", default=REPOSITORY / "runs")
    parser.add_argument("--average", type=positive_number, metavar="K", help="average the last K checkpoints")
    parser.add_argument("--stage", choices=STAGES, default=STAGES[0], help="start with this stage")
    parser.add_argument("--stop-stage", choices=STAGES, default=STAGES[-1], help="end after this stage")
    own, others = split_words(words, parser)
    options = parser.parse_args(own)
    check_training_options(options)
    for word in others:
        if word.partition("=")[0] in _ELSEWHERE:
            raise UserError(f"{word} {_ELSEWHERE[word.partition('=')[0]]}")
    stages = _chosen(options.stage, options.stop_stage)

    folders = {variant: options.runs_dir.resolve() / f"{recipe}-{variant}" for variant in ("baseline", "rdrop")}
    preparation = Preparation(
        RECIPES[recipe], options.data_dir, Path(script).name, raw_dir=options.raw_dir, corpus_prefixes=options.corpus,
        table=options.table, vocabulary_size=options.vocab_size, workers=options.workers, place_option="--data-dir",
    )  # fmt: skip
    configuration, command = find_configuration(recipe), [script, *words]
    experiment = Experiment(configuration, options, training_settings(others), preparation, folders, command)
    experiment.check()
    for stage in stages:
        say(Path(script).name, f"stage {stage}")
        if stage == "prepare":
            experiment.prepare()
        elif stage == "evaluate":
            translation = TranslationOptions(average=options.average, cpu=options.cpu)
            output = folders["rdrop"] / "evaluation"
            print(format_table(experiment.compare({}, output, translation, ScoringOptions())))
        else:
            experiment.train(stage[len("train-") :])
    return 0


def _chosen(first: str, last: str) -> Tuple[str, ...]:
    start, end = STAGES.index(first), STAGES.index(last)
    if start > end:
        raise UserError(f"--stop-stage {last} comes before --stage {first}; the stages are {' '.join(STAGES)}")
    return STAGES[start : end + 1]
