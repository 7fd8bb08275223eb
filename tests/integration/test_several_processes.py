"""fairseq-train in two processes, and killed while it writes."""

import signal
import time

import fairseq_tools
import pytest
import torch
from training_runs import RDROP, start, start_processes, train

from rdrop_fairseq.compat import load_checkpoint

pytestmark = pytest.mark.slow


def gold_tokens(entries) -> list:
    return [int(entry["wpb"]) for entry in entries]


def train_in_two_processes(folder, tmp_path, data_bin, *arguments) -> list:
    """Run fairseq-train in two processes; the output of each."""
    logs = [tmp_path / "rank0.log", tmp_path / "rank1.log"]
    processes = start_processes(data_bin, folder, RDROP, *arguments, logs=logs)
    try:
        statuses = [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    outputs = [log.read_text() for log in logs]
    assert statuses == [0, 0], "\n".join(outputs)
    return outputs


def test_two_processes_share_the_batches(data_bin, tmp_path):
    """An epoch whose number of batches is odd, so that one process ends on an empty one.

    Each update has the tokens of two batches, of one copy each, and the loss per token of one process."""
    arguments = ("--rdrop-alpha", "5", "--max-tokens", "70", "--max-epoch", "1", "--max-update", "0")
    outputs = train_in_two_processes(tmp_path / "two", tmp_path, data_bin, *arguments)
    alone = train(data_bin, tmp_path / "one", RDROP, *arguments)
    updates = fairseq_tools.logged(outputs[0], "train_inner")
    updates_alone = fairseq_tools.logged(alone.output, "train_inner")
    assert len(updates_alone) % 2 == 1 and len(updates) == (len(updates_alone) + 1) // 2
    assert sum(gold_tokens(updates)) == sum(gold_tokens(updates_alone))
    for entry in updates:
        assert float(entry["rdrop_kl_loss"]) > 0
        expected = 2 * float(entry["nll_loss"]) + 5 * float(entry["rdrop_kl_loss"])
        assert float(entry["loss"]) == pytest.approx(expected, rel=0.03)
    # The same model to begin with: its first batches differ, its loss per token hardly.
    assert float(updates[0]["nll_loss"]) == pytest.approx(float(updates_alone[0]["nll_loss"]), rel=0.05)
    assert fairseq_tools.logged(outputs[1], "train_inner") == []


def test_two_processes_resume(data_bin, tmp_path):
    """The second process gets the checkpoint from the first, and training goes on as if it had never ended."""
    arguments = ("--rdrop-alpha", "5", "--max-tokens", "70", "--save-interval-updates", "2")
    train_in_two_processes(tmp_path / "resumed", tmp_path, data_bin, *arguments, "--max-update", "2")
    resumed = train_in_two_processes(tmp_path / "resumed", tmp_path, data_bin, *arguments, "--max-update", "4")
    train_in_two_processes(tmp_path / "straight", tmp_path, data_bin, *arguments, "--max-update", "4")
    assert [int(entry["num_updates"]) for entry in fairseq_tools.logged(resumed[0], "train_inner")] == [3, 4]
    states = [load_checkpoint(tmp_path / name / "checkpoint_last.pt")["model"] for name in ("resumed", "straight")]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


@pytest.mark.parametrize("file", ["checkpoint_last.pt", "checkpoint_best.pt"])
def test_killed_while_it_writes(data_bin, tmp_path, file):
    """A checkpoint is there whole or not at all, and the next start resumes from the last one."""
    folder = tmp_path / "checkpoints"
    # Large enough that writing takes a while.
    size = "--arch transformer --encoder-layers 2 --decoder-layers 2 --encoder-embed-dim 256 --decoder-embed-dim 256"
    arguments = (data_bin, folder, RDROP, "--rdrop-alpha", "5", "--save-interval-updates", "1")
    options = {"architecture": size.split()}
    train(*arguments, "--max-update", "1", **options)
    partial = f".{file}.*.partial"
    for _ in range(5):
        process = start(*arguments, "--max-update", "1000", log=tmp_path / "log", **options)
        try:
            while not list(folder.glob(partial)):
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.001)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if list(folder.glob(partial)):
            break  # otherwise the file was complete before the signal came
    else:
        pytest.fail("the training was never killed while it wrote")
    for path in folder.glob("*.pt"):
        state = load_checkpoint(path)
        assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())
    done = load_checkpoint(folder / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"]
    resumed = train(*arguments, "--max-update", str(done + 2), **options)
    entries = fairseq_tools.logged(resumed.output, "train_inner")
    assert [int(entry["num_updates"]) for entry in entries] == [done + 1, done + 2]
    assert list(folder.glob(partial)) == []
