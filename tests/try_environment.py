"""Every command once, in the environment of the interpreter that runs this: ``python tests/try_environment.py``.

For environments that cannot have the packages of the tests. noxfile.py runs it in each cell of its matrix. The models
are tiny and post-norm, the packages are the installed ones; a line for each step tells what it took.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, Tuple

import fairseq_tools

RDROP = "label_smoothed_cross_entropy_with_rdrop"
LANGUAGES = ["--source-lang", "en", "--target-lang", "de"]
DECODING = [
    *LANGUAGES,
    "--beam",
    "2",
    "--max-len-b",
    "10",
    "--remove-bpe",
    "sentencepiece",
    "--cpu",
    "--num-workers",
    "0",
]
TEST_SENTENCES = 15


class Trial:
    """The steps, in a folder of their own. Each asserts that its command did what it is for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "text").mkdir()
        self.text = fairseq_tools.write_parallel_text(folder / "text")
        self.data = folder / "run" / "data" / "bin"
        self.checkpoints = folder / "checkpoints"
        self.translations: Dict[int, str] = {}
        self.valid_loss = ""
        self.user_dir = self.python("-m", "rdrop_fairseq").strip()

    def run(self, *command: object, input: str = "") -> str:
        """The output of a command, each in a process of its own, as users start it: what reads an input is no fork."""
        return fairseq_tools.run(*command, cwd=self.folder, input=input).stdout

    def python(self, *arguments: object) -> str:
        return self.run(sys.executable, *arguments)

    def fairseq(self, program: str, *arguments: object, input: str = "") -> str:
        return self.run(f"fairseq-{program}", self.data, *arguments, "--user-dir", self.user_dir, input=input)

    def train(self, updates: int) -> str:
        output = self.fairseq(
            "train", "--task", "rdrop_translation", *LANGUAGES, "--criterion", RDROP, "--rdrop-alpha", "5",
            "--label-smoothing", "0.1", *fairseq_tools.TINY_TRANSFORMER, "--optimizer", "adam", "--lr", "0.001",
            "--max-tokens", "100", "--max-update", str(updates), "--save-interval-updates", "2", "--cpu",
            "--num-workers", "0", "--eval-bleu", "--eval-bleu-args", '{"beam": 2, "max_len_b": 10}',
            "--save-dir", self.checkpoints, "--log-format", "json", "--log-interval", "1",
        )  # fmt: skip
        entries = fairseq_tools.logged(output, "train_inner")
        assert [int(entry["num_updates"]) for entry in entries] == [updates - 1, updates], output
        assert all(float(entry["rdrop_kl_loss"]) > 0 for entry in entries), output
        self.valid_loss = fairseq_tools.logged(output, "valid")[-1]["valid_loss"]
        return output

    def quickstart(self) -> None:
        """Sub-words, binarising, two trainings, translations, scores, report."""
        output = self.python(
            "-m", "rdrop_fairseq.experiments", "quickstart", "--data", self.text, "--run-dir", self.folder / "run",
            "--vocab-size", "46", "--max-epoch", "2", "--cpu", *fairseq_tools.TINY_TRANSFORMER,
        )  # fmt: skip
        assert "BLEU|nrefs:1" in output and "report.md" in output, output

    def round_trip(self) -> None:
        """Moses' tokenisation and back."""
        model = self.data / "sentencepiece.model"
        output = self.python(
            "-m", "rdrop_fairseq.data.round_trip", "--input", self.text / "test.de", "--lang", "de", "--model", model
        )
        assert re.search(r"BLEU 100\.00 of 15 lines", output), output

    def training(self) -> None:
        self.train(2)

    def resuming(self) -> None:
        assert "Loaded checkpoint" in self.train(4)

    def validating(self) -> None:
        output = self.fairseq(
            "validate", "--path", self.checkpoints / "checkpoint_last.pt", "--task", "translation", *LANGUAGES,
            "--max-tokens", "100", "--cpu", "--num-workers", "0", "--log-format", "json",
        )  # fmt: skip
        (figures,) = fairseq_tools.logged(output, "valid")
        assert figures["valid_loss"] == self.valid_loss, output

    def averaging(self) -> None:
        paths = [self.checkpoints / f"checkpoint_1_{update}.pt" for update in (2, 4)]
        output = self.folder / "average.pt"
        self.python("-m", "rdrop_fairseq.evaluation.average", "--inputs", *paths, "--output", output)
        assert output.stat().st_size > 0

    def generating(self) -> None:
        output = self.fairseq(
            "generate", "--path", self.folder / "average.pt", *DECODING, "--required-batch-size-multiple", "1",
        )  # fmt: skip
        (self.folder / "translations.txt").write_text(output, encoding="utf-8")
        self.translations = hypotheses(output)
        assert sorted(self.translations) == list(range(TEST_SENTENCES)), output

    def interactive(self) -> None:
        output = self.fairseq(
            "interactive", "--path", self.folder / "average.pt", *DECODING, "--task", "rdrop_translation",
            "--bpe", "sentencepiece", "--sentencepiece-model", self.data / "sentencepiece.model",
            input=(self.text / "test.en").read_text(encoding="utf-8"),
        )  # fmt: skip
        assert hypotheses(output) == self.translations, output

    def scoring(self) -> None:
        output = self.python(
            "-m", "rdrop_fairseq.evaluation.score", "--reference", self.text / "test.de",
            "--system", "R-Drop=translations.txt",
        )  # fmt: skip
        assert "BLEU|nrefs:1" in output, output

    def hydra(self) -> None:
        output = self.run(
            "fairseq-hydra-train", f"common.user_dir={self.user_dir}",
            f"+task={{_name:rdrop_translation,data:'{self.data}',source_lang:en,target_lang:de}}", "~criterion",
            "+criterion={_name:rdrop_label_smoothed_cross_entropy,label_smoothing:0.1,rdrop_alpha:5}",
            "+model={_name:transformer_tiny,base_layers:0}", "optimizer=adam", "optimization.lr=[0.001]",
            "optimization.max_update=2", "dataset.max_tokens=100", "dataset.num_workers=0", "common.cpu=true",
            "common.log_format=json", "common.log_interval=1", f"checkpoint.save_dir={self.folder}/hydra",
            f"hydra.run.dir={self.folder}/hydra",
        )  # fmt: skip
        entries = fairseq_tools.logged(output, "train_inner")
        # Before the first update, which unbalances the large model that Hydra 1.0 makes of this.
        assert len(entries) == 2 and float(entries[0]["rdrop_kl_loss"]) > 0, output


STEPS: Tuple[Callable[[Trial], None], ...] = (
    Trial.quickstart, Trial.round_trip, Trial.training, Trial.resuming, Trial.validating, Trial.averaging,
    Trial.generating, Trial.interactive, Trial.scoring, Trial.hydra,
)  # fmt: skip


def hypotheses(output: str) -> Dict[int, str]:
    """Number of the sentence -> its best translation."""
    return {int(number): text for number, text in re.findall(r"^H-(\d+)\t\S+\t(.*)$", output, re.MULTILINE)}


def main() -> None:
    """The command line."""
    # Where a step imports rdrop_fairseq from is the environment, not the repository.
    os.environ.pop("PYTHONPATH", None)
    versions = (
        "from rdrop_fairseq.common.versions import package_versions as v; print(*map(' '.join, v().items()), sep=', ')"
    )
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        print(trial.python("-c", versions).strip(), flush=True)
        for step in STEPS:
            start = time.monotonic()
            step(trial)
            print(f"{step.__name__:12} {time.monotonic() - start:6.1f} s", flush=True)
    print(f"all {len(STEPS)} steps passed")


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, subprocess.SubprocessError) as error:
        sys.exit(f"{error}\nfailed")
