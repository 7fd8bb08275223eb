"""Flags for the data that fail in plain fairseq with a numpy of today: trained with, for one step."""

import fairseq_tools
import pytest
import torch

RDROP = "label_smoothed_cross_entropy_with_rdrop"
LANGUAGE_MODEL = (
    "--task", "language_modeling", "--arch", "transformer_lm", "--decoder-layers", "1", "--decoder-embed-dim", "16",
    "--decoder-ffn-embed-dim", "32", "--decoder-attention-heads", "2",
)  # fmt: skip


def one_step(data, *flags, **options) -> int:
    """Train on the first batch of the epoch; how many sentences the data have."""
    config = fairseq_tools.training_config(data, "--criterion", RDROP, "--rdrop-alpha", "5", *flags, **options)
    task, model, criterion = fairseq_tools.build(config)
    task.load_dataset("train", combine=True)
    iterator = task.get_batch_iterator(task.dataset("train"), max_tokens=200, max_positions=task.max_positions())
    model.train()
    criterion.train()
    loss, _, log = criterion(model, next(iterator.next_epoch_itr()))
    loss.backward()
    assert torch.isfinite(loss) and float(log["rdrop_kl_loss"]) > 0
    return len(task.dataset("train"))


@pytest.mark.parametrize("task", ["translation", "rdrop_translation"])
def test_buckets_of_lengths(data_bin, task):
    assert one_step(data_bin, "--task", task, *fairseq_tools.TINY_TRANSFORMER, "--num-batch-buckets", "3") == 80


def test_one_sentence_a_block_of_a_language_model(data_bin, tmp_path):
    """The language model is that of one side of the pair."""
    for path in data_bin.glob("*.en-de.en.*"):
        (tmp_path / path.name.replace(".en-de.en", "")).symlink_to(path)
    (tmp_path / "dict.txt").symlink_to(data_bin / "dict.en.txt")
    flags = ("--sample-break-mode", "eos", "--tokens-per-sample", "100")
    assert one_step(tmp_path, *LANGUAGE_MODEL, *flags, languages=()) == 80


@pytest.mark.parametrize("flags, sentences", [((), 160), (("--upsample-primary", "2"), 240)], ids=["once", "twice"])
def test_two_training_sets(data_bin, tmp_path, flags, sentences):
    for path in data_bin.iterdir():
        (tmp_path / path.name).symlink_to(path)
        if path.name.startswith("train."):
            (tmp_path / path.name.replace("train.", "train1.")).symlink_to(path)
    flags = ("--task", "rdrop_translation", *fairseq_tools.TINY_TRANSFORMER, *flags)
    assert one_step(tmp_path, *flags) == sentences
