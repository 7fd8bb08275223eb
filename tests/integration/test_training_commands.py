"""fairseq-train with R-Drop: what it logs, that it resumes, and that it is the plain criterion without R-Drop."""

import fairseq_tools
import pytest
from fairseq_tools import assert_equal
from training_runs import EIGHT_UPDATES, EVAL_BLEU, PLAIN, RDROP, train, train_arguments

from rdrop_fairseq.compat import load_checkpoint


def test_training_logs_the_objective_and_the_kl(rdrop_run):
    updates = fairseq_tools.logged(rdrop_run.output, "train_inner")
    assert [entry["num_updates"] for entry in updates] == [str(number) for number in range(1, 9)]
    for entry in updates:
        assert entry.keys() == updates[0].keys()
        assert float(entry["rdrop_kl_loss"]) > 0
        # loss = 2 label-smoothed cross-entropies + alpha * KL, in bits; at this uniform start smoothing hardly matters.
        expected = 2 * float(entry["nll_loss"]) + 5 * float(entry["rdrop_kl_loss"])
        assert float(entry["loss"]) == pytest.approx(expected, rel=0.03)
        assert float(entry["ppl"]) == pytest.approx(2 ** float(entry["nll_loss"]), rel=1e-3)
        assert 0 <= float(entry["accuracy"]) <= 100
    (epoch,) = fairseq_tools.logged(rdrop_run.output, "train")
    assert float(epoch["train_rdrop_kl_loss"]) > 0


def test_validation_is_plain_and_has_bleu(rdrop_run):
    validations = fairseq_tools.logged(rdrop_run.output, "valid")
    assert len(validations) == 2
    for entry in validations:
        assert "valid_bleu" in entry and "valid_accuracy" in entry
        assert not any("rdrop" in key for key in entry)
        assert float(entry["valid_loss"]) == pytest.approx(float(entry["valid_nll_loss"]), rel=0.03)


def test_checkpoints_are_written(rdrop_run):
    names = sorted(path.name for path in rdrop_run.folder.iterdir())
    assert names == ["checkpoint_1_4.pt", "checkpoint_best.pt", "checkpoint_last.pt"]


def test_what_is_in_use_is_said_once(rdrop_run):
    messages = (
        "rdrop_fairseq's criterion takes the place of fairseq's own",
        "R-Drop loss from features and the output projection, implementation fused",
    )
    for message in messages:
        assert rdrop_run.output.count(message) == 1
    assert "one plain pass" not in rdrop_run.output


def test_plain_translation_task_trains_the_same(rdrop_run, data_bin, tmp_path):
    """The criterion concatenates where the task does not: the same losses, update by update."""
    run = train(
        data_bin, tmp_path, RDROP, "--rdrop-alpha", "5", "--label-smoothing", "0.1", "--report-accuracy",
        *EIGHT_UPDATES, *EVAL_BLEU, task="translation",
    )  # fmt: skip
    for tag in ("train_inner", "valid"):
        expected = fairseq_tools.logged(rdrop_run.output, tag)
        assert len(expected) > 0 and fairseq_tools.logged(run.output, tag) == expected


def test_resumed_run_equals_straight_run(rdrop_run, data_bin, tmp_path):
    """Also after --eval-bleu, whose meters hold numpy arrays, with torch's safe loading left on."""
    arguments = (
        data_bin, tmp_path, RDROP, "--rdrop-alpha", "5", "--label-smoothing", "0.1", "--report-accuracy",
        *EIGHT_UPDATES, *EVAL_BLEU,
    )  # fmt: skip
    first = train(*arguments, "--max-update", "4")
    second = train(*arguments)
    resumed = [entry for run in (first, second) for entry in fairseq_tools.logged(run.output, "train_inner")]
    assert resumed == fairseq_tools.logged(rdrop_run.output, "train_inner")
    straight_state, state = (load_checkpoint(folder / "checkpoint_last.pt") for folder in (rdrop_run.folder, tmp_path))
    assert_equal(state["model"], straight_state["model"])
    assert_equal(state["last_optimizer_state"], straight_state["last_optimizer_state"])
    assert_equal(state["extra_state"]["train_iterator"], straight_state["extra_state"]["train_iterator"])


def test_without_alpha_training_is_plain(plain_run, data_bin, tmp_path):
    """--rdrop-alpha defaults to 0: every figure of fairseq's label_smoothed_cross_entropy, and a word about it."""
    run = train(data_bin, tmp_path, RDROP, "--label-smoothing", "0.1", "--report-accuracy", *EIGHT_UPDATES)
    for tag in ("train_inner", "train", "valid"):
        expected = fairseq_tools.logged(plain_run.output, tag)
        assert len(expected) > 0 and fairseq_tools.logged(run.output, tag) == expected
    assert run.output.count("training with one plain pass") == 1
    assert "R-Drop loss from" not in run.output
    states = [load_checkpoint(folder / "checkpoint_last.pt") for folder in (plain_run.folder, tmp_path)]
    assert_equal(states[0]["model"], states[1]["model"])


def test_no_dropout_warns_once_and_trains_on(data_bin, tmp_path):
    run = train(data_bin, tmp_path, RDROP, "--rdrop-alpha", "5", "--dropout", "0", "--max-update", "3")
    assert run.output.count("the passes of R-Drop are equal") == 1
    updates = fairseq_tools.logged(run.output, "train_inner")
    assert len(updates) == 3 and all(float(entry["rdrop_kl_loss"]) == 0 for entry in updates)


def test_fine_tuning_of_a_plain_checkpoint(plain_run, data_bin, tmp_path):
    """R-Drop can start from the parameters of a model trained without it."""
    checkpoint = plain_run.folder / "checkpoint_last.pt"
    run = train(
        data_bin, tmp_path, RDROP, "--rdrop-alpha", "5", "--label-smoothing", "0.1",
        "--finetune-from-model", checkpoint, "--lr", "1e-9",
    )  # fmt: skip
    before = fairseq_tools.logged(plain_run.output, "valid")[-1]
    after = fairseq_tools.logged(run.output, "valid")[-1]
    assert after["valid_nll_loss"] == before["valid_nll_loss"]


OTHER_ARCHITECTURES = {
    "transformer_align": fairseq_tools.TINY_TRANSFORMER[2:],
    "lightconv": (
        *fairseq_tools.TINY_TRANSFORMER[2:], "--encoder-conv-dim", "16", "--decoder-conv-dim", "16",
        "--encoder-kernel-size-list", "[3]", "--decoder-kernel-size-list", "[3]",
    ),
    "fconv": (
        "--encoder-embed-dim", "16", "--decoder-embed-dim", "16", "--decoder-out-embed-dim", "16",
        "--encoder-layers", "[(16, 3)]", "--decoder-layers", "[(16, 3)]",
    ),
    "lstm": (
        "--encoder-embed-dim", "16", "--decoder-embed-dim", "16", "--decoder-out-embed-dim", "16",
        "--encoder-hidden-size", "16", "--decoder-hidden-size", "16",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHER_ARCHITECTURES)
def test_other_encoder_decoders(data_bin, tmp_path, name):
    """Training and validation of models that do more after their features than one projection."""
    run = train(
        data_bin, tmp_path, RDROP, "--rdrop-alpha", "5", "--dropout", "0.5", *EVAL_BLEU,
        architecture=("--arch", name, *OTHER_ARCHITECTURES[name]),
    )  # fmt: skip
    updates = fairseq_tools.logged(run.output, "train_inner")
    # The KL of the LSTM, which begins nearly uniform, is below what the log shows.
    assert len(updates) == 2 and all(float(entry["rdrop_kl_loss"]) >= 0 for entry in updates)
    assert "the passes of R-Drop are equal" not in run.output
    assert len(fairseq_tools.logged(run.output, "valid")) == 1
    assert "R-Drop loss from the model's log-probabilities" in run.output


@pytest.mark.slow
def test_together_with_another_user_directory(data_bin, tmp_path):
    """fairseq takes one --user-dir: a folder that imports both, as the pointer-generator of its examples needs."""
    pytest.importorskip("fairseq.examples.pointer_generator.pointer_generator_src")
    user_dir = tmp_path / "rdrop_and_pointer_generator"
    user_dir.mkdir()
    (user_dir / "__init__.py").write_text(
        "import rdrop_fairseq\nfrom fairseq.examples.pointer_generator import pointer_generator_src\n"
    )
    run = train(
        data_bin, tmp_path / "checkpoints", RDROP, "--rdrop-alpha", "5", "--user-dir", user_dir,
        "--source-position-markers", "0",
        architecture=("--arch", "transformer_pointer_generator", *fairseq_tools.TINY_TRANSFORMER[2:]),
        plugin=False, env={"PYTHONPATH": str(fairseq_tools.PLUGIN.parent)},
    )  # fmt: skip
    assert len(fairseq_tools.logged(run.output, "train_inner")) == 2
    assert "R-Drop loss from the model's log-probabilities" in run.output


def test_wrong_flags_are_refused_with_the_choices(data_bin, tmp_path):
    """The flags are fairseq-train's own: it checks them and lists them in its usage."""
    arguments = train_arguments(data_bin, tmp_path, RDROP, "--rdrop-impl", "quick")
    result = fairseq_tools.run("fairseq-train", *arguments, fails=True)
    for flag in ("--rdrop-alpha", "--rdrop-passes", "--rdrop-impl"):
        assert flag in result.stderr
    assert "invalid choice: 'quick'" in fairseq_tools.last_line(result.stderr)
    assert "'reference'" in fairseq_tools.last_line(result.stderr)


def test_plain_criterion_is_untouched_by_the_plugin(plain_run, data_bin, tmp_path):
    """--user-dir alone changes nothing for --task translation and fairseq's own criterion."""
    run = train(
        data_bin, tmp_path, PLAIN, "--label-smoothing", "0.1", "--report-accuracy", *EIGHT_UPDATES,
        task="translation",
    )  # fmt: skip
    for tag in ("train_inner", "valid"):
        assert fairseq_tools.logged(run.output, tag) == fairseq_tools.logged(plain_run.output, tag)
