"""What would be found after hours is found before a training starts, and the remedies that are named are accepted."""

import argparse
import math
import re
import shutil
import sys

import fairseq_tools
import pytest

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments import placement, quickstart, reproduction
from rdrop_fairseq.experiments import training as training_module
from rdrop_fairseq.experiments.__main__ import train_parser
from rdrop_fairseq.experiments.configuration import find_configuration
from rdrop_fairseq.experiments.options import settings_of_words
from rdrop_fairseq.experiments.prerequisites import check_checkpoints_to_evaluate, kept_checkpoints
from rdrop_fairseq.experiments.training import Training, check_prerequisites, plan_training, train

TEXT_OF = {split: (f"{split}.en", f"{split}.de") for split in ("train", "valid", "test")}


@pytest.fixture
def plan(data_bin, tmp_path):
    """The training of these options, on the CPU."""

    def plan(*words, max_tokens: int = 50) -> Training:
        own = ["wmt14_en_de", "--cpu", "--data", data_bin, "--run-dir", tmp_path / "run", "--max-tokens", max_tokens]
        options = train_parser().parse_args([str(word) for word in (*own, "--tokens-per-update", max_tokens)])
        options.texts = TEXT_OF
        words = [*fairseq_tools.TINY_TRANSFORMER, "--max-update", "12", *words]
        return plan_training(
            find_configuration("wmt14_en_de"), "rdrop", options, settings_of_words(words, "fairseq-train")
        )

    return plan


@pytest.fixture
def longest(parallel_text):
    """The first of the longest lines of a split, and its length with the symbol for the end."""

    def longest(split: str) -> tuple:
        lengths = [len(line.split()) + 1 for line in (parallel_text / f"{split}.en").read_text().splitlines()]
        return lengths.index(max(lengths)) + 1, max(lengths)

    return longest


def refused(training) -> str:
    with pytest.raises(UserError) as error:
        check_prerequisites(training, "train.sh")
    assert "\n" not in str(error.value) and not training.folder.path.exists()
    return str(error.value)


def test_a_sentence_of_validation_beyond_the_positions(plan, longest):
    line, length = longest("valid")
    message = refused(plan("--max-source-positions", "5"))
    assert message == (
        f"line {line} of valid.en has {length} sub-words and the model takes 5; give --max-source-positions {length}, "
        "or --skip-invalid-size-inputs-valid-test"
    )
    check_prerequisites(plan("--max-source-positions", str(max(length, longest("test")[1]))), "train.sh")
    message = refused(plan("--max-source-positions", "5", "--skip-invalid-size-inputs-valid-test"))
    assert message.startswith(f"line {longest('test')[0]} of test.en")


def test_a_sentence_of_validation_beyond_the_batch(plan, longest):
    line, length = longest("valid")
    message = refused(plan(max_tokens=6))
    assert message == (
        f"line {line} of valid.en has {length} sub-words, more than a batch of validation takes (6); "
        f"give --max-tokens-valid {length}, or --skip-invalid-size-inputs-valid-test"
    )
    check_prerequisites(plan("--max-tokens-valid", str(length), max_tokens=6), "train.sh")
    check_prerequisites(plan("--skip-invalid-size-inputs-valid-test", max_tokens=6), "train.sh")


def test_a_sentence_of_the_test_set_beyond_the_positions(plan, longest, tmp_path):
    skip = "--skip-invalid-size-inputs-valid-test"
    length = longest("test")[1]
    message = refused(plan("--max-target-positions", "5", skip))
    assert re.match(rf"line \d+ of test.de has {length} sub-words and the model takes 5, but every sentence", message)
    assert message.endswith(f"; give --max-target-positions {length}")
    message = refused(plan("--max-source-positions", "5", skip))
    assert message.endswith(f"; give --max-source-positions {length}, or --truncate-source")
    truncating = ("--max-source-positions", "5", "--truncate-source")
    check_prerequisites(plan(*truncating, skip), "train.sh")
    # The sources of validation are shortened, too, and so fit into a batch.
    message = refused(plan(*truncating, "--max-target-positions", "5"))
    assert message.startswith("line ") and " of valid.de has " in message and "--max-target-positions" in message
    assert "of valid.de has" in refused(plan(*truncating, max_tokens=6))
    # A run that was trained before this was checked goes on: nothing about its model could be changed.
    training = plan("--max-source-positions", "5", skip)
    training.folder.checkpoints.mkdir(parents=True)
    training.folder.last_checkpoint.write_text("parameters")
    check_prerequisites(training, "train.sh")


def test_training_pairs_that_are_left_out(plan, data_bin, capsys):
    skip = "--skip-invalid-size-inputs-valid-test"
    message = refused(plan(skip, max_tokens=2))
    assert message.startswith(f"none of the 80 training pairs in {data_bin} has at most 2 and 2 sub-words; raise")
    message = refused(plan(skip, "--truncate-source", max_tokens=2))
    assert message.startswith(f"none of the 80 training pairs in {data_bin} has at most 2 and 2 sub-words; raise")
    check_prerequisites(plan(skip, max_tokens=6), "train.sh")
    assert re.search(r"warning: \d+ of 80 training pairs are left out", capsys.readouterr().err)


def test_remedies_leave_a_run_the_same(plan):
    """A run that was begun goes on with them."""
    settings = plan().record.settings
    assert plan("--max-tokens-valid", "9", "--skip-invalid-size-inputs-valid-test").record.settings == settings


def values(**changes) -> argparse.Namespace:
    defaults = {
        "max_update": 0, "max_epoch": 0, "save_interval_updates": 0, "keep_interval_updates": -1, "save_interval": 1,
        "keep_last_epochs": -1, "no_epoch_checkpoints": False, "no_save": False, "disable_validation": False,
        "validate_interval": 1, "validate_after_updates": 0,
    }  # fmt: skip
    return argparse.Namespace(**{**defaults, **changes})


@pytest.mark.parametrize(
    "changes, kept",
    [
        ({}, math.inf),
        ({"max_update": 10, "save_interval_updates": 3}, 3),
        ({"max_update": 10, "save_interval_updates": 3, "keep_interval_updates": 2}, 2),
        ({"max_epoch": 10, "save_interval_updates": 3}, math.inf),
        ({"max_epoch": 10}, 10),
        ({"max_epoch": 10, "save_interval": 3}, 3),
        ({"max_epoch": 10, "keep_last_epochs": 5}, 5),
        ({"max_update": 10, "keep_last_epochs": 5}, 5),
        ({"max_epoch": 10, "no_epoch_checkpoints": True}, 0),
        ({"max_epoch": 10, "no_save": True}, 0),
    ],
)
def test_checkpoints_that_are_kept(changes, kept):
    assert kept_checkpoints(values(**changes)) == kept
    if kept < math.inf:
        check_checkpoints_to_evaluate(values(**changes), kept)
        with pytest.raises(UserError) as error:
            check_checkpoints_to_evaluate(values(**changes), kept + 1)
        remedy = "leave --no-save out" if "no_save" in changes else "keep more with --save-interval-updates and"
        remedy = f"give a lower --average, or {remedy}" if kept > 0 else remedy
        assert str(error.value).startswith(
            f"{kept + 1} checkpoints are to be averaged and the training keeps {kept}; {remedy}"
        )


NO_BEST = "no checkpoint_best.pt, which is translated with, is written with "


@pytest.mark.parametrize(
    "changes, hindrance",
    [
        ({}, None),
        ({"no_save": True}, "--no-save; leave it out"),
        ({"disable_validation": True}, "--disable-validation; leave it out"),
        (
            {"max_epoch": 1, "validate_interval": 2},
            "--max-epoch 1 and --validate-interval 2; give --validate-interval 1",
        ),
        (
            {"max_epoch": 5, "validate_interval": 2, "save_interval": 3},
            "--max-epoch 5 and --validate-interval 2, --save-interval 3; give --validate-interval 1 and "
            "--save-interval 1",
        ),
        ({"max_epoch": 6, "validate_interval": 2, "save_interval": 3}, None),
        ({"max_epoch": 1, "validate_interval": 2, "max_update": 4}, None),
        ({"max_epoch": 1, "validate_interval": 2, "save_interval_updates": 4}, None),
        (
            {"max_update": 4, "validate_after_updates": 5},
            "--validate-after-updates 5; leave it out, or give --max-update 5 or more",
        ),
        ({"max_update": 5, "validate_after_updates": 5}, None),
    ],
)
def test_a_best_checkpoint_will_be_written(changes, hindrance):
    if hindrance is None:
        check_checkpoints_to_evaluate(values(**changes), None)
    else:
        with pytest.raises(UserError) as error:
            check_checkpoints_to_evaluate(values(**changes), None)
        assert str(error.value) == NO_BEST + hindrance


@pytest.mark.parametrize(
    "words",
    ["--disable-validation", "--no-save", "--max-epoch 1", "--validate-interval 20", "--validate-after-updates 9"],
)
def test_the_quickstart_refuses_to_train_without_a_best_checkpoint(parallel_text, tmp_path, words):
    folder = tmp_path / "run"
    given = ["--data", str(parallel_text), "--run-dir", str(folder), "--cpu", *words.split()]
    with pytest.raises(UserError, match=f"^{NO_BEST}.*{words}"):
        quickstart.main(given)
    assert not folder.exists()


def test_an_average_of_more_checkpoints_is_refused_before_the_preparation(tmp_path):
    words = ["wmt14_en_de", "--cpu", "--data-dir", str(tmp_path / "data"), "--runs-dir", str(tmp_path / "runs")]
    words += ["--average", "4", "--max-update", "6", "--save-interval-updates", "2"]
    with pytest.raises(UserError, match="4 checkpoints are to be averaged and the training keeps 3; give a lower"):
        reproduction.main(words)
    assert list(tmp_path.iterdir()) == []


def test_a_tokeniser_that_is_missing_is_found_before_the_preparation(parallel_text, tmp_path, monkeypatch):
    text = shutil.copytree(parallel_text, tmp_path / "text")
    for split in ("train", "valid", "test"):
        (text / f"{split}.de").rename(text / f"{split}.ja")
    monkeypatch.setitem(sys.modules, "MeCab", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "sacrebleu.tokenizers.tokenizer_ja_mecab", raising=False)
    words = ["--data", str(text), "--run-dir", str(tmp_path / "run"), "--target-lang", "ja", "--cpu"]
    with pytest.raises(UserError, match="tokeniser for ja is not installed; pip install"):
        quickstart.main(words)
    assert not (tmp_path / "run").exists()


def test_warnings_of_train(plan, monkeypatch, capsys):
    """It does not evaluate itself."""

    def missing(language: str) -> None:
        raise UserError("the tokeniser is not installed; pip install it")

    monkeypatch.setattr(training_module, "sacrebleu_tokeniser", missing)
    check_prerequisites(plan("--no-save"), "train.sh")
    lines = capsys.readouterr().err.splitlines()
    assert any(
        line.endswith("warning: the tokeniser is not installed; evaluation needs it: pip install it") for line in lines
    )
    assert any(line.endswith("the training keeps 0; leave --no-save out") and "warning: " in line for line in lines)


def test_space_for_checkpoints(plan, data_bin, monkeypatch):
    training = plan("--save-interval-updates", "2", "--keep-interval-updates", "3")
    config = fairseq_tools.training_config(
        data_bin, *fairseq_tools.TINY_TRANSFORMER, "--share-all-embeddings", "--task", "translation",
        "--criterion", "label_smoothed_cross_entropy",
    )  # fmt: skip
    _, model, _ = fairseq_tools.build(config)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    # Three that are averaged, the last, the best, and one that is being written; 4 bytes a number and 8 of Adam.
    needed = 6 * 12 * numbers
    usage = shutil.disk_usage("/")
    for free, is_refused in ((needed - 1, True), (needed, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        if is_refused:
            message = refused(training)
            assert message.startswith("the checkpoints of rdrop, 6 of ") and "with --run-dir" in message
        else:
            check_prerequisites(training, "train.sh")


def test_one_device_unless_more_are_asked_for(monkeypatch, tmp_path):
    """So both trainings of the quickstart have the same batch on every machine."""
    monkeypatch.setattr(placement, "visible_gpus", lambda: 8)
    for words, processes, tokens in (
        ([], 1, 1000),
        (["--gpus", "4", "--max-tokens", "250", "--tokens-per-update", "1000"], 4, 1000),
    ):
        options, _ = quickstart._parse([*words, "--run-dir", str(tmp_path)])
        options.dry_run = True
        training = plan_training(find_configuration("quickstart"), "baseline", options, [])
        assert (training.record.processes, training.record.tokens_per_update) == (processes, tokens)
    with pytest.raises(UserError, match="1000 tokens per update are no multiple of 1000 tokens on each of 8 process"):
        options, _ = quickstart._parse(["--gpus", "8", "--run-dir", str(tmp_path)])
        plan_training(find_configuration("quickstart"), "baseline", options, [])


class OtherProcess:
    """In the place of a training: it leaves a checkpoint that was cut off."""

    started = 0

    def __init__(self, command, environment, log) -> None:
        OtherProcess.started += 1
        folder = log.parent / "checkpoints"
        folder.mkdir(exist_ok=True)
        (folder / "checkpoint_last.pt").write_bytes(bytes(100))

    def follow(self, name: str) -> int:
        return 143


@pytest.fixture
def plan_for_node(data_bin, tmp_path, monkeypatch):
    """The training of one of two nodes with these options; no process is started."""
    monkeypatch.setattr(training_module, "TrainingProcess", OtherProcess)
    monkeypatch.setattr(OtherProcess, "started", 0)

    def plan_for_node(rank: int, *own: str, lr: str = "0.1") -> Training:
        words = ["wmt14_en_de", "--cpu", "--data", data_bin, "--run-dir", tmp_path / "run", "--max-tokens", "50"]
        words += ["--tokens-per-update", "100", "--nnodes", "2", "--node-rank", rank, "--master-addr", "first"]
        options = train_parser().parse_args([str(word) for word in (*words, "--master-port", "29400", *own)])
        flags = [*fairseq_tools.TINY_TRANSFORMER, "--max-update", "12", "--lr", lr]
        return plan_training(
            find_configuration("wmt14_en_de"), "rdrop", options, settings_of_words(flags, "fairseq-train")
        )

    return plan_for_node


def test_starting_over_a_run_that_cannot_continue(plan_for_node, tmp_path):
    """Also where the command that began it is given again, as when a job is put back into the queue."""
    run = tmp_path / "run"
    for attempt in (1, 2, 3):
        assert train(plan_for_node(0, "--start-over"), "train --start-over", "train.sh") == 143
        assert OtherProcess.started == attempt and len(list(run.glob("earlier.*"))) == attempt - 1
    with pytest.raises(UserError, match="is incomplete or damaged .*; train from the beginning with --start-over"):
        train(plan_for_node(0), "train", "train.sh")


def test_other_nodes_do_not_look_at_a_run_that_is_set_aside(plan_for_node, tmp_path):
    """Nor at a complete one: the first node may be about to move it."""
    run = tmp_path / "run"
    train(plan_for_node(0), "train", "train.sh")
    (run / "exit_status").write_text("0\n")
    assert train(plan_for_node(1), "train", "train.sh") == 0 and OtherProcess.started == 1
    for lr in ("0.1", "0.2"):
        assert train(plan_for_node(1, "--start-over", lr=lr), "train --start-over", "train.sh") == 143
    assert OtherProcess.started == 3 and not list(run.glob("earlier.*"))
    with pytest.raises(UserError, match="holds a run with other settings: --lr is 0.1 there and 0.2 here"):
        train(plan_for_node(1, lr="0.2"), "train", "train.sh")
