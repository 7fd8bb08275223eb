"""A published recipe from archives to scores: ``scripts/reproduce_*.sh``, whose --help says what the options do."""

from pathlib import Path
from typing import Sequence

from rdrop_fairseq.common.command_line import Parser, positive_number, say, split_words
from rdrop_fairseq.common.work_folder import stage_range
from rdrop_fairseq.data.preparation import Preparation
from rdrop_fairseq.data.prepare import add_options
from rdrop_fairseq.data.recipes import RECIPES
from rdrop_fairseq.evaluation.score_report import format_table
from rdrop_fairseq.experiments.configuration import REPOSITORY, find_configuration
from rdrop_fairseq.experiments.experiment import Experiment
from rdrop_fairseq.experiments.options import (
    add_node_options,
    add_training_options,
    check_training_options,
    refuse_options_of_train,
    settings_of_words,
)

STAGES = ("prepare", "train-baseline", "train-rdrop", "evaluate")


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
    options.place_option = "--runs-dir"
    check_training_options(options)
    refuse_options_of_train(others, of_recipe=True)
    first, last = stage_range(STAGES, options.stage, options.stop_stage)
    folders = {variant: options.runs_dir.resolve() / f"{recipe}-{variant}" for variant in ("baseline", "rdrop")}
    preparation = Preparation(
        RECIPES[recipe], options.data_dir, Path(script).name, raw_dir=options.raw_dir, corpus_prefixes=options.corpus,
        table=options.table, vocabulary_size=options.vocab_size, workers=options.workers, place_option="--data-dir",
    )  # fmt: skip
    experiment = Experiment(
        find_configuration(recipe), options, settings_of_words(others, "fairseq-train"), preparation, folders,
        [script, *words],
    )  # fmt: skip
    experiment.check(options.average, is_evaluated=last == len(STAGES) - 1)
    for stage in STAGES[first : last + 1]:
        say(Path(script).name, f"stage {stage}")
        if stage == "prepare":
            preparation.run()
        elif stage == "evaluate":
            print(format_table(experiment.compare(folders["rdrop"] / "evaluation", average=options.average)))
        else:
            experiment.train(stage[len("train-") :])
    return 0
