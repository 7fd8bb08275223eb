"""A tiny fairseq-train, as the tests of the command lines run it."""

from pathlib import Path
from typing import NamedTuple

import fairseq_tools

RDROP = "label_smoothed_cross_entropy_with_rdrop"
PLAIN = "label_smoothed_cross_entropy"
# All runs that are compared with each other validate and save after update 4, too.
EIGHT_UPDATES = "--max-update 8 --save-interval-updates 4".split()
EVAL_BLEU = ["--eval-bleu", "--eval-bleu-remove-bpe", "--eval-bleu-args", '{"beam": 2, "max_len_b": 10}']


class Run(NamedTuple):
    """A finished fairseq-train."""

    folder: Path
    output: str


def train_arguments(
    data_bin, folder, criterion: str, *arguments, task="rdrop_translation", plugin=True,
    architecture=fairseq_tools.TINY_TRANSFORMER,
) -> list:  # fmt: skip
    """The arguments of a tiny fairseq-train that logs every update, with the plugin unless told otherwise."""
    return [
        data_bin, *(["--user-dir", fairseq_tools.PLUGIN] if plugin else []),
        "--task", task, "--source-lang", "en", "--target-lang", "de", "--criterion", criterion, *architecture,
        "--optimizer", "adam", "--lr", "0.001", "--max-tokens", "100", "--max-update", "2",
        "--save-dir", folder, "--no-epoch-checkpoints", "--cpu", "--num-workers", "0",
        "--log-format", "json", "--log-interval", "1", *arguments,
    ]  # fmt: skip


def train(*arguments, env=None, **options) -> Run:
    """Run fairseq-train with :func:`train_arguments`."""
    words = train_arguments(*arguments, **options)
    return Run(Path(arguments[1]), fairseq_tools.run("fairseq-train", *words, env=env or {}).stdout)
