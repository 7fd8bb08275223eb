"""A whole experiment: data, the trainings of baseline and R-Drop with equal settings, translations, scores."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from rdrop_fairseq.common.bleu import sacrebleu_tokeniser
from rdrop_fairseq.common.command_line import say
from rdrop_fairseq.data.preparation import Preparation
from rdrop_fairseq.evaluation.score_report import ScoreReport
from rdrop_fairseq.experiments.comparison import compare
from rdrop_fairseq.experiments.configuration import Configuration, Setting
from rdrop_fairseq.experiments.options import for_variant
from rdrop_fairseq.experiments.prerequisites import check_checkpoints_to_evaluate
from rdrop_fairseq.experiments.training import Training, plan_training, train
from rdrop_fairseq.experiments.translation import Translation

# In the order in which they are trained: the one that a reader knows comes first.
ORDER = ("baseline", "rdrop")


class Experiment:
    """What scripts/quickstart.sh and scripts/reproduce_*.sh do, step by step; each step continues where it was.

    Args:
        configuration: its hyper-parameters.
        options: of the trainings (see :mod:`.options`).
        command_line: flags of fairseq-train that win over the configuration's; those of R-Drop are for R-Drop alone.
        preparation: makes the data.
        folders: the run folders of ``"baseline"`` and ``"rdrop"``.
        command: the command that asked for it, to be noted: the path of the script, and its words.
    """

    def __init__(
        self,
        configuration: Configuration,
        options: argparse.Namespace,
        command_line: Sequence[Setting],
        preparation: Preparation,
        folders: Dict[str, Path],
        command: Sequence[str],
    ) -> None:
        self._configuration, self._options, self._command_line = configuration, options, command_line
        self._preparation, self._folders, self._command = preparation, folders, command
        self._program = Path(command[0]).name

    def check(self, average: Optional[int] = None, is_evaluated: bool = True) -> List[Training]:
        """Assert, before the first expensive step, all that later ones need.

        Args:
            average: how many checkpoints to average, in place of what the configuration says.
            is_evaluated: whether the trainings are followed by translations and scores.

        Returns:
            The trainings, whose data may be yet to be made.

        Raises:
            UserError: something cannot work; the message says what, and what to do.
        """
        say(self._program, "checking the options of both trainings")
        self._preparation.check()
        trainings = [self.plan(variant, data_to_come=True) for variant in ORDER]
        if not is_evaluated:
            return trainings
        sacrebleu_tokeniser(trainings[0].record.target_language)  # that of Japanese, say, is a package of its own
        for training in trainings:
            count, best = average or training.record.average, training.folder.best_checkpoint
            if count is not None or self._options.start_over or not best.exists():
                check_checkpoints_to_evaluate(training.values, count)
        return trainings

    def train(self, variant: str) -> None:
        """Train ``"baseline"`` or ``"rdrop"``; ends the process where a signal ended the training."""
        training = self.plan(variant)
        say(self._program, training.summary)
        status = train(training, shlex.join(self._command), self._program)
        if status != 0:
            sys.exit(status)

    def compare(
        self,
        output: Path,
        names: Optional[Dict[str, str]] = None,
        average: Optional[int] = None,
        paper_bleu: bool = True,
    ) -> ScoreReport:
        """Translate the test set with both, and test whether they differ.

        Args:
            output: the folder of comparison.json and comparison.md.
            names: of the variants in tables; those of their folders unless given.
            average: how many checkpoints to average, in place of what the configuration says.
            paper_bleu: score as papers do, too.
        """
        names = names or {}
        runs = [
            Translation(self._folders[variant], name=names.get(variant), average=average, cpu=self._options.cpu)
            for variant in ORDER
        ]
        return compare(runs, self._program, output, paper_bleu=paper_bleu)

    def plan(self, variant: str, data_to_come: bool = False) -> Training:
        """The training of a variant; ``data_to_come`` allows for data that are yet to be made."""
        options = argparse.Namespace(**vars(self._options))
        options.run_dir, options.data = self._folders[variant], self._preparation.bin
        options.data_to_come = data_to_come
        return plan_training(self._configuration, variant, options, for_variant(self._command_line, variant))
