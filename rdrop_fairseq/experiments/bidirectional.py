"""Pre-training on both directions, then fine-tuning on one: ``scripts/train_bidirectional.sh``; see its --help.

This is the strategy of Bi-SimCut (Gao et al. 2022, arXiv 2206.02368), and with R-Drop Bi-R-Drop: the pairs, and the
same pairs the other way round, train one model, whose best checkpoint is fine-tuned on the direction that is wanted. As
in the authors' code both trainings have the same flags, and the second one starts its optimiser, learning rate and
epochs anew.
"""

import argparse
import glob
import shlex
from pathlib import Path
from typing import Sequence

from rdrop_fairseq.common.command_line import Parser, positive_number, say, split_words
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.work_folder import WorkFolder
from rdrop_fairseq.data.binarised_data import fingerprint
from rdrop_fairseq.data.both_directions import check_one_vocabulary, write_both_directions
from rdrop_fairseq.experiments.configuration import Setting, find_configuration
from rdrop_fairseq.experiments.options import (
    COMMAND_LINE,
    add_run_options,
    add_training_options,
    check_training_options,
    settings_of_words,
)
from rdrop_fairseq.experiments.prerequisites import check_checkpoints_to_evaluate
from rdrop_fairseq.experiments.training import Training, check_prerequisites, plan_training, train

SCRIPT = "scripts/train_bidirectional.sh"
_PROGRAM = Path(SCRIPT).name
_START = "--finetune-from-model"


def bidirectional_parser() -> Parser:
    """The options of the script that are not fairseq-train's."""
    parser = Parser(prog=SCRIPT, allow_abbrev=False)
    add_training_options(parser)
    add_run_options(parser)
    parser.add_argument("--pretraining-updates", type=positive_number, metavar="N", help="in place of other limits")
    return parser


def main(words: Sequence[str]) -> int:
    """The command line; returns the exit status.

    Raises:
        UserError: something cannot work, or a training failed.
    """
    parser = bidirectional_parser()
    own, others = split_words(words, parser)
    options = parser.parse_args(own)
    check_training_options(options)
    command_line = settings_of_words(others, "fairseq-train")
    if any(setting.flag == _START for setting in command_line):
        raise UserError(f"{_START} is set by the script; to start from another model use scripts/train.sh")
    trainings = TwoTrainings(options, command_line)
    trainings.check()
    if options.dry_run:
        print(f"{trainings.pretraining().shell_command}\n{trainings.finetuning.shell_command}")
        return 0
    return trainings.train(shlex.join([SCRIPT, *words]))


class TwoTrainings:
    """The training on both directions, in the folder RUN-pretraining with its data, and that on one, in RUN.

    Args:
        options: those of :func:`bidirectional_parser`.
        command_line: those for fairseq-train.

    Raises:
        UserError: one of the trainings cannot work.
    """

    def __init__(self, options: argparse.Namespace, command_line: Sequence[Setting]) -> None:
        self._options, self._command_line = options, command_line
        # Where the data are, and the run unless its folder is given, is decided as for a training of its own.
        alone = self._plan()
        run = alone.folder.path
        run = run if options.run_dir else run.with_name(f"{run.name}-bidirectional")
        self._work = WorkFolder(run.with_name(f"{run.name}-pretraining"), _PROGRAM, "--run-dir")
        self._data, self._languages = Path(alone.record.data), alone.record.languages
        start = Setting(_START, str(self.pretraining().folder.best_checkpoint), COMMAND_LINE)
        self.finetuning = self._plan(start, run_dir=run)

    def pretraining(self) -> Training:
        """The first training, whose data may be yet to be made."""
        updates = self._options.pretraining_updates
        limits = [] if updates is None else [("--max-update", updates), ("--max-epoch", 0)]
        settings = [Setting(flag, str(limit), COMMAND_LINE) for flag, limit in limits]
        folders = {"data": self._work.path / "data", "run_dir": self._work.path / "run"}
        return self._plan(*settings, **folders, data_to_come=True)

    def _plan(self, *settings: Setting, **changes: object) -> Training:
        """A training with settings that win over those of the command line, and changed options."""
        options = argparse.Namespace(**{**vars(self._options), **changes})
        configuration, variant = find_configuration(options.config), "baseline" if options.baseline else "rdrop"
        return plan_training(configuration, variant, options, [*self._command_line, *settings])

    def check(self) -> None:
        """Assert what both trainings need, before the first one begins.

        Raises:
            UserError: the languages have not one vocabulary, or the first training would leave no best checkpoint.
        """
        check_checkpoints_to_evaluate(self.pretraining().values, None)
        if self._data.is_dir():
            check_one_vocabulary(self._data, self._languages)

    def train(self, typed: str) -> int:
        """Make the data and train twice; each step continues where it was.

        Args:
            typed: the command that asked for it, to be noted.

        Returns:
            The exit status, as of :func:`rdrop_fairseq.experiments.training.train`.
        """
        run = self.finetuning.folder
        updates = self._options.pretraining_updates
        settings = [f"pre-training updates {updates or 'as fine-tuning'}"]
        settings += [f"{name} {value}" for name, value in fingerprint(self._data, *self._languages).items()]
        if self._options.start_over:
            run.set_aside(typed)
        # What fine-tuning began with stays what it is.
        with self._work.opened(settings, [f"../{glob.escape(run.path.name)}/checkpoints/*.pt"]):
            if run.has_checkpoints():
                say(_PROGRAM, f"pre-training in {self._work.path}: done before")
            else:
                check_prerequisites(self.finetuning, _PROGRAM)
                status = self._pretrain(typed)
                if status != 0:
                    return status
            say(_PROGRAM, f"fine-tuning, {self.finetuning.summary}")
            return train(self.finetuning, typed, _PROGRAM)

    def _pretrain(self, typed: str) -> int:
        folder = self._work.path / "data"
        if not folder.is_dir():
            self._work.forget("data")
        title = "writing the data of both directions"
        self._work.stage("data", title, lambda: write_both_directions(self._data, self._languages, folder))
        training = self.pretraining()
        say(_PROGRAM, f"pre-training, {training.summary}")
        status = train(training, typed, _PROGRAM)
        best = training.folder.best_checkpoint
        if status == 0 and not best.is_file():
            raise UserError(f"pre-training left no {best}, as it has not validated; train it for longer")
        return status
