"""The translation of a run's test set: by which checkpoint, of which text, and whether it is there already."""

import argparse
import contextlib
import json
import shlex
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import torch

from rdrop_fairseq.common.command_line import name_of_path
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.files import write_json, write_text
from rdrop_fairseq.common.processes import run_quietly
from rdrop_fairseq.common.text import read_lines
from rdrop_fairseq.compat import load_checkpoint
from rdrop_fairseq.data.binarised_data import (
    PreparationRecord,
    check_path,
    dictionary_digests,
    dictionary_path,
    read_preparation,
    sentence_lengths,
)
from rdrop_fairseq.evaluation.average import last_checkpoints, write_average
from rdrop_fairseq.evaluation.generate_output import read_generate_output, read_translations
from rdrop_fairseq.evaluation.text_checks import SUBWORD_MARKS
from rdrop_fairseq.experiments.configuration import PACKAGE
from rdrop_fairseq.experiments.fairseq_parsers import check_flags
from rdrop_fairseq.experiments.options import joins_subwords, settings_of_words, task_words
from rdrop_fairseq.experiments.prerequisites import lengths_taken, longest_beyond, position_limits
from rdrop_fairseq.experiments.resuming import Checkpoint
from rdrop_fairseq.experiments.run_folder import RunFolder

SENTENCES_PER_BATCH = 64
_ELSEWHERE = "score translations with --reference FILE --system NAME=FILE"


class Translation:
    """What is made of the folder RUN in RUN/evaluation.

    Args:
        path: RUN.
        generation: flags of fairseq-generate that win over the configuration's.
        name: in tables; that of the folder unless given.
        average: how many of the last checkpoints to average, in place of what the configuration says.
        checkpoint: translate with this one.
        data: in place of the folder that the run was trained on.
        reference: raw text, in place of that beside the data.
        cpu: translate on the CPU even where there is a GPU.

    Raises:
        UserError: ``path`` is no run, or has no checkpoints, data or reference.
    """

    def __init__(
        self,
        path: Path,
        generation: Sequence[str] = (),
        name: Optional[str] = None,
        *,
        average: Optional[int] = None,
        checkpoint: Optional[Path] = None,
        data: Optional[Path] = None,
        reference: Optional[Path] = None,
        cpu: bool = False,
    ) -> None:
        self.path, run = path, RunFolder(path)
        record = run.read_record(f"train again, or {_ELSEWHERE}")
        if record is None:
            raise UserError(f"{path} has no run.json; give a folder that scripts/train.sh made, or {_ELSEWHERE}")
        self.record, self.languages = record, record.languages
        self.name = name or name_of_path(path) or record.variant
        self.is_trained = run.read_exit_status() == 0
        self.data = (data or Path(record.data)).resolve()
        if not self.data.is_dir():
            raise UserError(f"{path} was trained on {self.data}, which is gone; give --data its new place")
        self.preparation: Optional[PreparationRecord] = read_preparation(self.data)
        self.lowercase = bool(self.preparation and self.preparation.lowercase)
        self.reference = reference or self.data / f"reference.{self.languages[1]}"
        if not self.reference.is_file():
            raise UserError(f"no raw reference {self.reference}; give the detokenised test text with --reference")
        count = average or record.average
        self.averages = checkpoint is None and count is not None
        if self.averages:
            remedy = "train on, or give --average K or --checkpoint FILE"
            self.checkpoints = last_checkpoints(path, run.checkpoints, count, remedy)
        else:
            self.checkpoints = [checkpoint or run.best_checkpoint]
        if not self.checkpoints[0].is_file():
            raise UserError(f"no checkpoint {self.checkpoints[0]}; train first, or give --checkpoint FILE")
        self.on_cpu = cpu or not torch.cuda.is_available()
        self.generation = [*record.generation, *generation]
        self.folder = path / "evaluation"
        self.translations = self.folder / "translations.txt"
        self.partial_translations = self.folder / "translations.partial"
        self._average = self.folder / "average.pt"
        self._partial_average = self.folder / "average.partial.pt"
        self._origin = self.folder / "translations.json"
        self._overrides: List[str] = []

    def has_translations(self) -> bool:
        """Whether the translations that are there are whole, and those of these checkpoints, data and flags."""
        try:
            if json.loads(self._origin.read_text(encoding="utf-8")) != self._origin_of_translations():
                return False
            read_generate_output(self.translations, len(read_lines(self.reference)))
        except (OSError, ValueError, RecursionError):  # a UserError is a ValueError
            return False
        return True

    def check(self) -> None:
        """Assert that the test set can be translated: all that can be known before, so that nothing is begun in vain.

        Raises:
            UserError: options that fairseq-generate does not take or that are set here, a test set that is missing or
                not that of the reference, a vocabulary that is not that of the checkpoints, or text that would stay
                split into sub-words.
        """
        for path in (self.data, self.folder if self.averages else self.checkpoints[0]):
            check_path(path)
        told = settings_of_words(self._told(), "fairseq-generate")
        values, _ = check_flags(told, "fairseq-generate", self.data)
        self._check_test_set()
        with self._explaining_removal():
            checkpoint = Checkpoint(self.checkpoints[-1], load_checkpoint(self.checkpoints[-1]))
            self._check_vocabulary(checkpoint)
        self._check_lengths(checkpoint, values)
        if self.preparation is None and not joins_subwords(self.generation):
            self._check_whole_words()

    def _check_test_set(self) -> None:
        references = len(read_lines(self.reference))
        for language in self.languages:
            if not dictionary_path(self.data, language).is_file():
                raise UserError(f"{self.data} has no dict.{language}.txt; give --data a folder of fairseq-preprocess")
        sentences = len(sentence_lengths(self.data, "test", *self.languages)[0])
        if sentences == 0:
            raise UserError(
                f"no test data for {'-'.join(self.languages)} in {self.data}; give another folder with --data"
            )
        if sentences != references:
            raise UserError(
                f"{self.reference} has {references} lines, but the test set in {self.data} has {sentences} sentences; "
                "give its text with --reference"
            )

    def _check_lengths(self, checkpoint: Checkpoint, values: argparse.Namespace) -> None:
        """Refuse sentences that the model does not take, and have it take those that it is told to take.

        A model that computes its positions can take longer sentences than it was trained for; one that has learnt a
        table of them cannot.
        """
        limits, of_model = position_limits(values), checkpoint.positions
        if checkpoint.has_table_of_positions:
            limits = (min(limits[0], of_model[0]), min(limits[1], of_model[1]))
        lengths = lengths_taken(self.data, "test", self.languages, values)
        found = longest_beyond(lengths, limits)
        if found:
            remedies = [] if checkpoint.has_table_of_positions else [f"give {found.flag} {found.length}"]
            remedies += ["give --truncate-source"] if found.side == 0 else []
            text = self.reference if found.side else f"the source in {self.data}"
            raise UserError(
                f"line {found.line} of {text} has {found.length} sub-words and the model takes {found.limit}; "
                f"{', or '.join(remedies) or 'give --data a test set without it'}"
            )
        # fairseq-generate takes the lower one of the model's limit and that of its own flags.
        if longest_beyond(lengths, of_model) and not checkpoint.has_table_of_positions:
            names = ("max_source_positions", "max_target_positions")
            self._overrides = ["--model-overrides", str(dict(zip(names, limits)))]

    def _check_vocabulary(self, checkpoint: Checkpoint) -> None:
        """By the number of symbols, and where the training noted the dictionaries by their contents."""
        path = checkpoint.path
        checkpoint.check_vocabulary(self.data, *self.languages)
        # A checkpoint that was given may be of another run.
        record = RunFolder(path.resolve().parent.parent).read_record("copy the checkpoint out of that folder")
        trained_with = record.settings if record else {}
        for name, digest in dictionary_digests(self.data, self.languages).items():
            if trained_with.get(name, digest) != digest:
                raise UserError(
                    f"{path} is of another vocabulary: the {name} was {trained_with[name]} in training "
                    f"and is {digest} in {self.data}; give the data it was trained on with --data"
                )

    def _check_whole_words(self) -> None:
        """Refuse data that are split into sub-words, as far as the dictionary tells, if nothing joins them again."""
        lines = dictionary_path(self.data, self.languages[1]).read_text(encoding="utf-8").splitlines()
        for mark, name in SUBWORD_MARKS:
            if 10 * sum(mark in line for line in lines) > len(lines):
                raise UserError(
                    f"the text in {self.data} is split into sub-words, and no preparation.json there says how; give "
                    f"--post-process {name}, or scores would be those of sub-words"
                )

    def translate(self) -> None:
        """Translate the test set, and keep the translations if they can be scored; earlier ones stay until then.

        Raises:
            UserError: a checkpoint is gone or cannot be read or averaged, fairseq-generate failed, or its output is
                refused.
        """
        # A training that goes on may replace and remove checkpoints from here on. What is noted before any is read
        # differs from a checkpoint that is replaced, and the next evaluation translates with that.
        with self._explaining_removal():
            origin = self._origin_of_translations()
            if self.averages:
                write_average(self.checkpoints, self._partial_average)
        run_quietly(self.generation_command(partial=True), self.partial_translations)
        # Before they get their name: what cannot be scored is refused here, with earlier results untouched.
        read_translations(self.partial_translations, {self.reference: read_lines(self.reference)})
        self._keep(origin)

    @contextlib.contextmanager
    def _explaining_removal(self) -> Iterator[None]:
        """Say so if a checkpoint cannot be read because a training has removed it since it was chosen."""
        try:
            yield
        except (OSError, UserError) as error:
            removed = next((path for path in self.checkpoints if not path.exists()), None)
            if removed is None:
                raise
            raise UserError(f"{removed} was removed meanwhile, by a training that goes on; evaluate again") from error

    @property
    def description(self) -> str:
        """What the translations were made with, for reports."""
        first, last = self.checkpoints[0].name, self.checkpoints[-1].name
        count = len(self.checkpoints)
        checkpoints = f"average of {count} checkpoints, {first} to {last}" if self.averages else first
        return "; ".join(filter(None, [checkpoints, shlex.join(self.generation)]))

    def generation_command(self, partial: bool = False) -> List[str]:
        """The command that translates the test set; if ``partial`` with the average that has not got its name yet."""
        average = self._partial_average if partial else self._average
        source, target = self.languages
        command = [
            "fairseq-generate", str(self.data), "--user-dir", str(PACKAGE), "--task", "translation",
            "--source-lang", source, "--target-lang", target, "--gen-subset", "test",
            "--path", str(average if self.averages else self.checkpoints[0]),
            # By default recent fairseq leaves out a last batch whose size is no multiple of 8.
            "--batch-size", str(SENTENCES_PER_BATCH), "--required-batch-size-multiple", "1",
        ]  # fmt: skip
        if self.preparation:
            command += self.preparation.text_flags(self.data)
        if self.on_cpu:
            command.append("--cpu")
        elif self.record.precision != "fp32":
            command.append(f"--{self.record.precision}")
        return command + self._overrides + self._told()

    def _told(self) -> List[str]:
        """How the model reads text, as in its training, and the flags that were given; the last of equal ones wins."""
        return [*task_words(self.record.settings), *self.generation]

    def _keep(self, origin: Dict[str, Any]) -> None:
        """Put the new translations, with their average, in the place of earlier ones, and remove what is of those.

        What the new ones were made from is written last: killed before that, evaluation makes them again.
        """
        names = ("scores.json", "scores.md", "comparison.json", "comparison.md")
        for path in (self._origin, self._average, *(self.folder / name for name in names)):
            # An average that was given as --checkpoint stays.
            if path.exists() and path.resolve() != self.checkpoints[0].resolve():
                path.unlink()
        if self.averages:
            self._partial_average.replace(self._average)
        elif self._partial_average.exists():
            self._partial_average.unlink()
        self.partial_translations.replace(self.translations)
        write_json(self._origin, origin)
        write_text(self.folder / "command.txt", shlex.join(self.generation_command()) + "\n")

    def _origin_of_translations(self) -> Dict[str, Any]:
        test = sorted(self.data.glob(f"test.{'-'.join(self.languages)}.*"))
        return {
            "checkpoints": list(map(_identity, self.checkpoints)),
            "averaged": self.averages,
            "test set": list(map(_identity, test)),
            "dictionaries": dictionary_digests(self.data, self.languages),
            "reference": _identity(self.reference),
            "flags": self._told(),
            "preparation": self.preparation.text_flags(self.data) if self.preparation else [],
            "device": "CPU" if self.on_cpu else "GPU",
        }


def _identity(path: Path) -> List[Any]:
    """What tells a file from an earlier one of its name, without reading gigabytes."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]
