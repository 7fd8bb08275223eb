"""The lines that show how a training run comes along."""

import json

from rdrop_fairseq.experiments.training_process import SECONDS_BETWEEN_LINES, Progress

CONFIGURATION = "2026-11-21 01:02:03 | INFO | fairseq_cli.train | {'_name': None, 'max_epoch': 7, 'max_update': 0}"


def training_line(update, **values):
    stats = {"epoch": 1, "loss": "9.1", "nll_loss": "4.5", "num_updates": str(update), "wall": "3", **values}
    return f"2026-11-21 01:02:03 | INFO | train_inner | {json.dumps(stats)}"


VALIDATION = (
    '2026-11-21 01:02:04 | INFO | valid | {"epoch": 2, "valid_loss": "4.6", "valid_nll_loss": "3.21", '
    '"valid_bleu": "12.3", "valid_num_updates": "20"}'
)


def test_lines_for_training_and_validation():
    progress = Progress("rdrop")
    assert progress.line("any other line", 0.0) is None
    assert progress.line(CONFIGURATION, 0.0) is None
    shown = progress.line(training_line(10, rdrop_kl_loss="0.25"), 0.0)
    assert shown.split()[0] == "rdrop"
    assert "update 10  epoch 1/7  training nll 4.50 bits  KL 0.250 bits" in shown
    # Training is shown now and then, a validation always.
    assert progress.line(training_line(11), SECONDS_BETWEEN_LINES - 0.1) is None
    assert "epoch 2 validated:  nll 3.21 bits  BLEU 12.30" in progress.line(VALIDATION, SECONDS_BETWEEN_LINES - 0.05)
    assert progress.line(training_line(12), 3 * SECONDS_BETWEEN_LINES)
