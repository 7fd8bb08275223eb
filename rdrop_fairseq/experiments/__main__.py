"""The engine behind the scripts: ``python -m rdrop_fairseq.experiments COMMAND ...``, of :data:`COMMANDS`."""

import shlex
import sys
from pathlib import Path
from typing import List, Optional, Sequence

from rdrop_fairseq.common.command_line import Parser, positive_number, quiet_libraries, say, split_words
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.evaluation import score
from rdrop_fairseq.evaluation.score import DEFAULT_RESAMPLES, DEFAULT_SEED
from rdrop_fairseq.evaluation.score_report import format_table
from rdrop_fairseq.experiments import bidirectional, quickstart, reproduction, sweep
from rdrop_fairseq.experiments.comparison import compare
from rdrop_fairseq.experiments.configuration import find_configuration
from rdrop_fairseq.experiments.options import (
    add_node_options,
    add_run_options,
    add_training_options,
    check_training_options,
    settings_of_words,
)
from rdrop_fairseq.experiments.training import plan_training, train
from rdrop_fairseq.experiments.translation import Translation


def train_parser() -> Parser:
    """The options of ``scripts/train.sh`` that are not fairseq-train's."""
    parser = Parser(prog="scripts/train.sh", allow_abbrev=False)
    add_training_options(parser)
    add_node_options(parser)
    add_run_options(parser)
    return parser


def train_command(words: Sequence[str]) -> int:
    """``scripts/train.sh``: one training; returns its exit status."""
    parser = train_parser()
    own, others = split_words(words, parser)
    options = parser.parse_args(own)
    check_training_options(options)
    command_line = settings_of_words(others, "fairseq-train")
    variant = "baseline" if options.baseline else "rdrop"
    training = plan_training(find_configuration(options.config), variant, options, command_line)
    say("train.sh", training.summary)
    if options.dry_run:
        print(training.shell_command)
        return 0
    return train(training, shlex.join([parser.prog, *words]), "train.sh")


def evaluate_command(words: Sequence[str]) -> int:
    """``scripts/evaluate.sh``: translations and scores of runs, or scores of translations from elsewhere."""
    parser = Parser(prog="scripts/evaluate.sh", allow_abbrev=False)
    parser.add_argument("run", nargs="*", type=Path, metavar="RUN", help="folders that scripts/train.sh made")
    parser.add_argument("--average", type=positive_number, metavar="K", help="average the last K checkpoints")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="translate with this checkpoint")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data, where they are no longer in their place")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="raw reference text of the test set")
    parser.add_argument("--cpu", action="store_true", help="translate on the CPU")
    parser.add_argument("--resamples", type=positive_number, default=DEFAULT_RESAMPLES, help="of the bootstrap")
    parser.add_argument("--seed", type=positive_number, default=DEFAULT_SEED, help="of the bootstrap")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where a comparison goes")
    own, generation = split_words(words, parser)
    options = parser.parse_args(own)
    if any(word.partition("=")[0] == "--system" for word in generation):
        if options.run:
            raise UserError("RUN and --system NAME=FILE exclude each other; give runs, or translations from elsewhere")
        score.main(["--paper-bleu", *words])
        return 0
    if not options.run:
        parser.error("give a RUN that scripts/train.sh made, or translations with --system NAME=FILE")
    if options.average is not None and options.checkpoint is not None:
        raise UserError("--average and --checkpoint exclude each other; give one")
    if options.checkpoint is not None and len(options.run) > 1:
        raise UserError("--checkpoint belongs to one run; give one RUN")
    runs = [
        Translation(
            path, generation, average=options.average, checkpoint=options.checkpoint, data=options.data,
            reference=options.reference, cpu=options.cpu,
        )
        for path in options.run
    ]  # fmt: skip
    print(format_table(compare(runs, "evaluate.sh", options.output, options.resamples, options.seed)))
    return 0


COMMANDS = {
    "quickstart": quickstart.main,
    "train": train_command,
    "bidirectional": bidirectional.main,
    "evaluate": evaluate_command,
    "reproduce": reproduction.main,
    "sweep": sweep.main,
}


def main(argv: Optional[List[str]] = None) -> int:
    """The command line; returns the exit status.

    Raises:
        UserError: something cannot work, or a program failed.
    """
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] not in COMMANDS:
        raise UserError(f"give one of {', '.join(COMMANDS)}; scripts/train.sh --help and its like say what they take")
    quiet_libraries()
    return COMMANDS[words[0]](words[1:])


if __name__ == "__main__":
    sys.exit(main())
