"""fairseq-train with the variants of R-Drop: what is logged, that it resumes, and what is refused."""

import fairseq_tools
import pytest
from fairseq_tools import assert_equal
from training_runs import EIGHT_UPDATES, PLAIN, RDROP, train, train_arguments

from rdrop_fairseq.compat import load_checkpoint

# Together: what depends on the update, what is drawn at random, and what goes through the model by itself.
VARIANTS = (
    "--rdrop-alpha 4 --rdrop-passes 3 --rdrop-interval 2 --rdrop-alpha-warmup-updates 3 --rdrop-alpha-half-life 4 "
    "--rdrop-fraction 0.5 --rdrop-token-cutoff 0.1 --rdrop-embedding-noise 0.01 --rdrop-dropout-rates 0.1,0.2,0.3 "
    "--rdrop-kl forward --rdrop-ce-passes first --rdrop-hidden-weight 1 --rdrop-attention-weight 1 --update-freq 2"
).split()


@pytest.fixture(scope="module")
def straight_run(data_bin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    return train(data_bin, folder, RDROP, "--label-smoothing", "0.1", *VARIANTS, *EIGHT_UPDATES)


def test_what_is_logged(straight_run):
    """alpha rises to update 3 and then halves in four; plain updates, every second, have null in place of these."""
    updates = fairseq_tools.logged(straight_run.output, "train_inner")
    assert len(updates) == 8
    names = ("rdrop_kl_loss", "rdrop_hidden_loss", "rdrop_attention_loss", "rdrop_alpha")
    for entry in updates[1::2]:
        assert [entry[name] for name in names] == [None] * 4
    alphas = [float(entry["rdrop_alpha"]) for entry in updates[::2]]
    assert alphas == pytest.approx([4 / 3, 4, 4 * 0.5**0.5, 2], abs=1e-3)
    for entry in updates[::2]:
        assert all(float(entry[name]) > 0 for name in names)
    for entry in updates[1::2]:  # the cross-entropy of one pass; smoothing hardly matters at this start
        assert float(entry["loss"]) == pytest.approx(float(entry["nll_loss"]), rel=0.03)


def test_resumed_run_equals_straight_run(straight_run, data_bin, tmp_path):
    arguments = (data_bin, tmp_path, RDROP, "--label-smoothing", "0.1", *VARIANTS, *EIGHT_UPDATES)
    runs = [train(*arguments, "--max-update", "3"), train(*arguments)]
    resumed = [entry for run in runs for entry in fairseq_tools.logged(run.output, "train_inner")]
    assert resumed == fairseq_tools.logged(straight_run.output, "train_inner")
    states = [load_checkpoint(folder / "checkpoint_last.pt") for folder in (straight_run.folder, tmp_path)]
    for name in ("model", "last_optimizer_state"):
        assert_equal(states[0][name], states[1][name])


def test_validation_is_that_of_the_plain_criterion(straight_run, data_bin):
    """fairseq-validate, which takes the criterion that the checkpoint names."""
    checkpoint = straight_run.folder / "checkpoint_last.pt"
    assert load_checkpoint(checkpoint)["cfg"]["criterion"]["_name"] == PLAIN
    output = fairseq_tools.run(
        "fairseq-validate", data_bin, "--path", checkpoint, "--user-dir", fairseq_tools.PLUGIN, "--valid-subset",
        "valid", "--max-tokens", "100", "--cpu", "--num-workers", "0", "--log-format", "json",
        "--task", "translation",
    ).stdout  # fmt: skip
    (by_plain,) = fairseq_tools.logged(output, "valid")
    in_training = fairseq_tools.logged(straight_run.output, "valid")[-1]
    for name in ("valid_loss", "valid_nll_loss", "valid_ppl"):
        assert by_plain[name] == in_training[name]


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--task", "translation", "--rdrop-interval", "2"], "--rdrop-interval needs the number of the update; give"),
        (["--rdrop-token-cutoff", "0.1", "--rdrop-share-encoder"], "--rdrop-token-cutoff changes the encoder in the"),
        (["--decoder-layerdrop", "0.1", "--rdrop-hidden-weight", "1"], "--rdrop-hidden-weight needs all layers"),
    ],
)
def test_what_makes_no_sense_is_refused(data_bin, tmp_path, flags, message):
    """In one line, before the first update: there is no crash.pt."""
    arguments = train_arguments(data_bin, tmp_path / "new", RDROP, "--rdrop-alpha", "5", *flags)
    result = fairseq_tools.run("fairseq-train", *arguments, fails=True)
    assert fairseq_tools.last_line(result.stderr).startswith(message) and "Traceback" not in result.stderr
    assert list((tmp_path / "new").iterdir()) == []
