"""Pre-training on both directions and fine-tuning: what is decided, and in miniature, interrupted in both stages."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import fairseq_tools
import pytest
import torch

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.compat import save_checkpoint
from rdrop_fairseq.experiments import bidirectional, training
from rdrop_fairseq.experiments.bidirectional import bidirectional_parser
from rdrop_fairseq.experiments.configuration import REPOSITORY

TINY = [
    "wmt14_en_de", *fairseq_tools.TINY_TRANSFORMER, "--num-workers", "0", "--log-interval", "1", "--cpu",
    "--tokens-per-update", "200", "--max-tokens", "100",
]  # fmt: skip


def run(data_bin, *words) -> int:
    return bidirectional.main([str(word) for word in (*TINY, "--data", data_bin, *words)])


def value(words, flag) -> str:
    """The value of a flag that is there once."""
    assert words.count(flag) == 1
    return words[words.index(flag) + 1]


def test_the_two_trainings(data_bin, tmp_path, capsys):
    folder = tmp_path / "run"
    words = ("--run-dir", folder, "--max-update", "30", "--rdrop-alpha", "3", "--dry-run")
    assert run(data_bin, *words, "--pretraining-updates", "50") == 0
    first, second = map(shlex.split, capsys.readouterr().out.splitlines())
    pretraining = f"{folder}-pretraining"
    assert f"{pretraining}/data" in first and value(first, "--save-dir") == f"{pretraining}/run/checkpoints"
    assert (value(first, "--max-update"), value(first, "--max-epoch")) == ("50", "0")
    assert str(data_bin) in second and value(second, "--save-dir") == f"{folder}/checkpoints"
    assert value(second, "--max-update") == "30" and "--max-epoch" not in second
    assert value(second, "--finetune-from-model") == f"{pretraining}/run/checkpoints/checkpoint_best.pt"
    assert "--finetune-from-model" not in first
    for words in (first, second):
        assert value(words, "--rdrop-alpha") == "3" and value(words, "--source-lang") == "en"
    assert list(tmp_path.iterdir()) == []

    assert run(data_bin, "--baseline", "--max-update", "30", "--dry-run") == 0
    first, second = map(shlex.split, capsys.readouterr().out.splitlines())
    own = REPOSITORY / "runs" / "wmt14_en_de-baseline-bidirectional"
    assert value(first, "--save-dir") == f"{own}-pretraining/run/checkpoints"
    assert value(second, "--save-dir") == f"{own}/checkpoints"
    assert all(value(words, "--max-update") == "30" and "--rdrop-alpha" not in words for words in (first, second))


def test_what_cannot_work_is_refused_before_anything_is_written(data_bin, tmp_path):
    other = shutil.copytree(data_bin, tmp_path / "other")
    (other / "dict.de.txt").write_text("word1 3\n")
    cases = [
        ((data_bin, "--finetune-from-model", "model.pt"), "--finetune-from-model is set by the script; to start"),
        ((data_bin, "--no-save"), "no checkpoint_best.pt.* is written with --no-save; leave it out"),
        ((other,), "need one vocabulary; binarise the text with fairseq-preprocess --joined-dictionary"),
        ((data_bin, "--pretraining-updates", "0"), "'0' is not a whole number above 0"),
        ((data_bin, "--lrr", "1"), "--lrr is no flag of fairseq-train"),
        ((tmp_path / "nothing",), "no folder .*nothing; prepare it"),
    ]
    for (data, *words), message in cases:
        with pytest.raises(UserError, match=message):
            run(data, *words, "--run-dir", tmp_path / "run")
    assert list(tmp_path.iterdir()) == [other]


def test_help_names_every_option():
    script = REPOSITORY / "scripts" / "train_bidirectional.sh"
    result = subprocess.run([str(script), "--help"], capture_output=True, text=True, check=True)
    for flag in bidirectional_parser()._option_string_actions:
        assert flag == "-h" or flag in result.stdout


class Trained:
    """In the place of a training: what it would leave that the engine looks at."""

    started: list = []

    def __init__(self, command, environment, log):
        self.started.append(command)
        checkpoints = Path(value(command, "--save-dir"))
        state = {
            "model": {"weight": torch.ones(1)},
            "optimizer_history": [{"num_updates": int(value(command, "--max-update"))}],
            "cfg": {"distributed_training": {"distributed_world_size": 1}, "dataset": {"max_tokens": 100}},
            "extra_state": {"train_iterator": {"epoch": 2, "iterations_in_epoch": 0}},
        }
        for name in ("checkpoint_best.pt", "checkpoint_last.pt"):
            save_checkpoint(state, checkpoints / name)

    def follow(self, name) -> int:
        return 0


def test_each_stage_is_done_once_and_starts_over_when_asked(data_bin, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "TrainingProcess", Trained)
    folder, pretraining = tmp_path / "a [run]", tmp_path / "a [run]-pretraining"

    def started(updates, *words) -> list:
        """The folders that something was trained in."""
        Trained.started = []
        assert run(data_bin, "--run-dir", folder, "--max-update", 8, "--pretraining-updates", updates, *words) == 0
        return [Path(value(command, "--save-dir")).parent for command in Trained.started]

    both = [pretraining / "run", folder]
    assert started(5) == both and started(5) == []
    assert capsys.readouterr().err.count("writing the data of both directions\n") == 1
    # The fine-tuning goes on for longer; what it began with is as it was.
    assert started(5, "--max-update", "9") == [folder]
    with pytest.raises(UserError, match=r"made with other settings \(pre-training updates 5\); choose another"):
        started(6)
    # Before it has begun more may be trained, and data that were removed are made again.
    shutil.rmtree(folder)
    shutil.rmtree(pretraining / "data")
    assert started(6) == both
    # From the beginning, with others; the same command continues that.
    words = ("--start-over", "--lr", "0.002")
    assert started(4, *words) == both and started(4, *words) == []
    for name in both:
        assert (name / "earlier.1" / "checkpoints").is_dir() and not (name / "earlier.2").exists()


@pytest.fixture
def interrupted():
    """Sends SIGTERM to this process, which passes it on to a training as soon as that has had three updates."""
    previous = signal.signal(signal.SIGTERM, lambda *_: None)  # one that comes too late

    def interrupted(folder: Path) -> None:
        def watch() -> None:
            log, deadline = folder / "train.log", time.monotonic() + 200
            while time.monotonic() < deadline:
                if log.exists() and '"num_updates": "3"' in log.read_text():
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                time.sleep(0.02)

        threading.Thread(target=watch, daemon=True).start()

    yield interrupted
    signal.signal(signal.SIGTERM, previous)


@pytest.mark.slow
def test_interrupted_in_each_stage_it_goes_on(data_bin, tmp_path, interrupted, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    folder, pretraining = tmp_path / "run", tmp_path / "run-pretraining"

    def train() -> int:
        return run(data_bin, "--run-dir", folder, "--max-update", 40, "--pretraining-updates", 40)

    def updates(folder) -> list:
        entries = fairseq_tools.logged((folder / "train.log").read_text(), "train_inner")
        return [int(entry["num_updates"]) for entry in entries]

    interrupted(pretraining / "run")
    assert train() == 128 + signal.SIGTERM
    assert updates(pretraining / "run")[-1] < 40 and not folder.exists()
    interrupted(folder)
    assert train() == 128 + signal.SIGTERM
    assert updates(pretraining / "run") == list(range(1, 41)) and updates(folder)[-1] < 40
    assert train() == 0
    assert updates(folder) == list(range(1, 41))
    output = capsys.readouterr().err
    assert output.count("writing the data of both directions\n") == 1 and "resuming after update" in output
    for name in (folder, pretraining / "run"):
        assert (name / "exit_status").read_text() == "0\n"
    assert json.loads((pretraining / "run" / "run.json").read_text())["data"] == str(pretraining / "data")
    # It began with the best of the pre-training, and only began with it.
    start = f"loading pretrained model from {pretraining}/run/checkpoints/checkpoint_best.pt"
    assert (folder / "train.log").read_text().count(start) == 1
