"""A run of scripts/train.sh as evaluation sees it: its checkpoints, its test set, and what was made of them."""

import argparse
import fcntl
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch

from rdrop_fairseq.atomic_files import atomic_output
from rdrop_fairseq.data.preparation import Preparation, read_preparation
from rdrop_fairseq.errors import UserError
from rdrop_fairseq.evaluation.average import select_checkpoints, write_average
from rdrop_fairseq.recipes.resuming import read_last_checkpoint
from rdrop_fairseq.recipes.run_folder import RunFolder

PACKAGE = Path(__file__).resolve().parents[1]
SENTENCES_PER_BATCH = 64


class EvaluatedRun:
    """The folder RUN and RUN/evaluation.

    Args:
        path: RUN.
        options: of the command line: average, checkpoint, data, reference, cpu.
        generation: flags of fairseq-generate that win over the recipe's.

    Raises:
        UserError: ``path`` is no run, or has no checkpoints, data or reference.
    """

    def __init__(self, path: Path, options: argparse.Namespace, generation: Sequence[str]) -> None:
        self.path, run = path, RunFolder(path)
        record = run.read_record()
        if record is None:
            raise UserError(
                f"{path} has no run.json; give a folder that scripts/train.sh made, or score translations with "
                "--reference FILE --system NAME=FILE"
            )
        self.record, self.variant = record, record["variant"]
        self.languages = (record["source_language"], record["target_language"])
        # Names stand in tables: see rdrop_fairseq.evaluation.command_line.
        self.name = re.sub(r"[^\w .,+()-]", "_", path.resolve().name).lstrip("_ .,+()-") or self.variant
        self.is_trained = run.read_exit_status() == 0
        self.data = (options.data or Path(record["data"])).resolve()
        if not self.data.is_dir():
            raise UserError(f"{path} was trained on {self.data}, which is gone; give --data its new place")
        self.preparation: Optional[Preparation] = read_preparation(self.data)
        self.lowercase = bool(self.preparation and self.preparation.lowercase)
        self.reference = options.reference or self.data / f"reference.{self.languages[1]}"
        if not self.reference.is_file():
            raise UserError(f"no raw reference {self.reference}; give the detokenised test text with --reference")
        self.averages = False
        self.checkpoints = self._choose(run.checkpoints, options)
        self.on_cpu = options.cpu or not torch.cuda.is_available()
        self.generation = [*record["generation"], *generation]
        self.folder = path / "evaluation"
        self.translations = self.folder / "translations.txt"
        self.partial_translations = self.folder / "translations.partial"
        self._average = self.folder / "average.pt"
        self._origin = self.folder / "translations.json"

    def _choose(self, folder: Path, options: argparse.Namespace) -> List[Path]:
        """The checkpoints to average, or the one to translate with."""
        count = options.average or (self.record["average"] if self.record["checkpoint"] == "average" else None)
        if options.checkpoint is None and count:
            self.averages = True
            # Those after so many updates, where there are any, are equally far apart whatever the size of an epoch.
            kind = "update" if any(folder.glob("checkpoint_[0-9]*_[0-9]*.pt")) else "epoch"
            try:
                return select_checkpoints(folder, kind, count)
            except UserError as error:
                found = len([path for path in folder.glob("checkpoint*[0-9].pt") if "best" not in path.name])
                raise UserError(
                    f"{self.path} has {found} checkpoints of the {count} to average; train on, or give --average K or "
                    "--checkpoint FILE"
                ) from error
        path = options.checkpoint or folder / "checkpoint_best.pt"
        if not path.is_file():
            raise UserError(f"no checkpoint {path}; train first, or give --checkpoint FILE")
        return [path]

    def lock(self) -> None:
        """Keep other processes from RUN/evaluation until this one ends; raises a UserError if one is there already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.folder / ".lock", "a")  # noqa: SIM115, held open on purpose
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another process evaluates {self.path}; wait for it") from error

    def has_translations(self) -> bool:
        """Whether the translations that are there are those of these checkpoints, data and flags."""
        try:
            origin = json.loads(self._origin.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return self.translations.is_file() and origin == self._origin_of_translations()

    def forget_results(self) -> None:
        """Remove what was made from other checkpoints, data or flags, so that nothing can be scored by mistake."""
        names = ("scores.json", "scores.md", "comparison.json", "comparison.md")
        for path in (self._origin, self.translations, self._average, *(self.folder / name for name in names)):
            if path.exists():
                path.unlink()

    def check_vocabulary(self) -> None:
        """Raises a UserError if the checkpoints were trained with another vocabulary than that of the data."""
        read_last_checkpoint(self.checkpoints[-1]).check_vocabulary(self.data, *self.languages)

    def write_average(self) -> None:
        """Write RUN/evaluation/average.pt."""
        write_average(self.checkpoints, self._average)

    def generation_command(self) -> List[str]:
        """The command that translates the test set."""
        source, target = self.languages
        command = [
            "fairseq-generate", str(self.data), "--user-dir", str(PACKAGE), "--task", "translation",
            "--source-lang", source, "--target-lang", target, "--gen-subset", "test",
            "--path", str(self._average if self.averages else self.checkpoints[0]),
            # By default recent fairseq leaves out a last batch whose size is no multiple of 8.
            "--batch-size", str(SENTENCES_PER_BATCH), "--required-batch-size-multiple", "1",
        ]  # fmt: skip
        if self.preparation:
            command += self.preparation.text_flags(self.data)
        if self.on_cpu:
            command.append("--cpu")
        elif self.record["precision"] in ("fp16", "bf16"):
            command.append(f"--{self.record['precision']}")
        return command + self.generation

    def keep_translations(self, command: Sequence[str]) -> None:
        """Give the translations their name, and note what they were made from."""
        shutil.move(str(self.partial_translations), str(self.translations))
        with atomic_output(self._origin) as temporary:
            temporary.write_text(json.dumps(self._origin_of_translations(), indent=2) + "\n", encoding="utf-8")
        with atomic_output(self.folder / "command.txt") as temporary:
            temporary.write_text(shlex.join(command) + "\n", encoding="utf-8")

    def _origin_of_translations(self) -> Dict[str, Any]:
        test = sorted(self.data.glob(f"test.{'-'.join(self.languages)}.*"))
        return {
            "checkpoints": list(map(_identity, self.checkpoints)),
            "averaged": self.averages,
            "test set": list(map(_identity, test)),
            "reference": _identity(self.reference),
            "flags": self.generation,
            "preparation": self.preparation.text_flags(self.data) if self.preparation else [],
            "device": "CPU" if self.on_cpu else "GPU",
        }


def _identity(path: Path) -> List[Any]:
    """What tells a file from an earlier one of its name, without reading gigabytes."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]
