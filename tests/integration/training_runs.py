"""A tiny fairseq-train, as the tests of the command lines run it."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import List, NamedTuple, Sequence

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


def start(*arguments, log, env=None, **options) -> subprocess.Popen:
    """fairseq-train in the background; its output, both streams, goes to the file ``log``."""
    command = Path(sys.executable).parent / "fairseq-train"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **(env or {})}
    with open(log, "wb") as stream:
        return subprocess.Popen(
            [str(word) for word in (command, *train_arguments(*arguments, **options))],
            stdout=stream, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip


def start_processes(*arguments, logs: Sequence[Path], **options) -> List[subprocess.Popen]:
    """fairseq-train in as many processes as there are logs, which train together on the CPU."""
    if len(logs) == 1:
        return [start(*arguments, log=logs[0], **options)]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    together = (
        "--distributed-world-size", len(logs), "--distributed-init-method", address, "--distributed-no-spawn",
        "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp",
    )  # fmt: skip
    return [
        start(*arguments, *together, "--distributed-rank", rank, log=log, **options) for rank, log in enumerate(logs)
    ]
