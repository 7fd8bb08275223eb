"""A whole experiment: data, the trainings of baseline and R-Drop with equal settings, translations, scores."""

import argparse
import hashlib
import json
import shlex
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from rdrop_fairseq.common.bleu import sacrebleu_tokeniser
from rdrop_fairseq.common.command_line import positive_number, say, some_text
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import sha256_of
from rdrop_fairseq.data.parallel_text import find_splits
from rdrop_fairseq.data.preparation import Preparation
from rdrop_fairseq.data.recipes import text_recipe
from rdrop_fairseq.evaluation.score_report import ScoreReport
from rdrop_fairseq.experiments.comparison import compare
from rdrop_fairseq.experiments.configuration import Configuration, Setting
from rdrop_fairseq.experiments.options import for_variant
from rdrop_fairseq.experiments.prerequisites import check_checkpoints_to_evaluate
from rdrop_fairseq.experiments.training import Training, plan_training, train
from rdrop_fairseq.experiments.translation import Translation

# In the order in which they are trained: the one that a reader knows comes first.
ORDER = ("baseline", "rdrop")
SAMPLE_WORDS, TEXT_WORDS = 2000, 6000  # sub-words of the sample corpus, and of somebody's text


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """What the text of an experiment is, and where everything goes."""
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of raw text")
    parser.add_argument("--source-lang", type=some_text, metavar="LANG", help="the language to translate from")
    parser.add_argument("--target-lang", type=some_text, metavar="LANG", help="the language to translate into")
    parser.add_argument("--test-set", metavar="NAME", help="which test set, where there are several")
    parser.add_argument("--vocab-size", type=positive_number, metavar="N", help="joined BPE sub-words")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="where everything goes")


def find_data(options: argparse.Namespace) -> None:
    """Replace ``options.data``, where it is given, by its full path; raises a UserError if it is no folder."""
    if options.data is not None:
        if not options.data.is_dir():
            raise UserError(
                f"no folder {options.data}; give --data the folder that holds train.{options.source_lang} and so on"
            )
        options.data = options.data.resolve()


def key_of_report(words: Sequence[str], data: Optional[Path], *files: Path) -> str:
    """What tells a call whose report is there already from one that has to do something.

    Args:
        words: the command line.
        data: the folder of text, if any.
        files: all that the call reads beside it.
    """
    texts = sorted(path for path in data.iterdir() if path.is_file()) if data else []
    identities = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in texts]
    content = json.dumps([list(words), *map(sha256_of, files), identities])
    return hashlib.sha256(content.encode("utf-8")).hexdigest() + "\n"


def holds_key(mark: Path, key: str) -> bool:
    """Whether a mark is there, and of this key."""
    try:
        return mark.read_text(encoding="utf-8") == key
    except (OSError, UnicodeDecodeError):
        return False


def check_evaluation(trainings: Sequence[Training], average: Optional[int] = None) -> None:
    """Assert, before they begin, that trainings can be evaluated.

    Args:
        trainings: into one language.
        average: how many checkpoints to average, in place of what the configuration says.

    Raises:
        UserError: a tokeniser is not installed, or a training leaves too few checkpoints.
    """
    sacrebleu_tokeniser(trainings[0].record.target_language)  # that of Japanese, say, is a package of its own
    for training in trainings:
        count, best = average or training.record.average, training.folder.best_checkpoint
        if count is not None or training.options.start_over or not best.exists():
            check_checkpoints_to_evaluate(training.values, count)


def text_preparation(options: argparse.Namespace, folder: Path, program: str, lasting: Sequence[str]) -> Preparation:
    """What makes the data of a folder of raw text, or of the sample corpus where ``options.data`` is None.

    Args:
        options: those of :func:`add_text_options`; the files of the text are noted in them, to be named in messages.
        folder: of the data.
        program: the name of the script, for what it says.
        lasting: patterns of files, relative to ``folder``, from which on the text may not change any more.

    Raises:
        UserError: a file is missing, or the sample corpus is in other languages.
    """
    data, languages = options.data, (options.source_lang, options.target_lang)
    options.vocab_size = options.vocab_size or (TEXT_WORDS if data else SAMPLE_WORDS)
    recipe = text_recipe(*languages, data, options.vocab_size, options.test_set)
    options.texts = find_splits(data, *languages, options.test_set) if data else {}
    return Preparation(recipe, folder, program, place_option="--run-dir", lasting=lasting)


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
        check_evaluation(trainings, average)
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
