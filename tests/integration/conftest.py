"""Runs of fairseq-train that several tests look at, made once per session."""

import pytest
from training_runs import EIGHT_UPDATES, EVAL_BLEU, PLAIN, RDROP, Run, train


@pytest.fixture(scope="session")
def rdrop_run(data_bin, tmp_path_factory) -> Run:
    """8 updates with the task and the criterion of R-Drop, alpha 5."""
    return train(
        data_bin, tmp_path_factory.mktemp("rdrop"), RDROP, "--rdrop-alpha", "5", "--label-smoothing", "0.1",
        "--report-accuracy", *EIGHT_UPDATES, *EVAL_BLEU,
    )  # fmt: skip


@pytest.fixture(scope="session")
def plain_run(data_bin, tmp_path_factory) -> Run:
    """8 updates of fairseq's translation and label_smoothed_cross_entropy, without the plugin."""
    return train(
        data_bin, tmp_path_factory.mktemp("plain"), PLAIN, "--label-smoothing", "0.1",
        "--report-accuracy", *EIGHT_UPDATES, task="translation", plugin=False,
    )  # fmt: skip
