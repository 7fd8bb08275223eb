"""Two processes give the same updates as one with the same global batch, in fairseq's own float32.

The sums are of the same terms. With two batches an update, one process adds their gradients, two processes halve and
add them, which loses nothing: the parameters agree to far more digits than asked for here. With four, the order of the
sum is another one, which the gradients show in their last digits; and Adam, which divides by their size, makes full
steps in other directions where a gradient is nothing but such an error.
"""

from pathlib import Path

import fairseq_tools
import pytest
import torch
from training_runs import RDROP

from rdrop_fairseq.compat import load_checkpoint
from rdrop_fairseq.experiments.placement import Placement

pytestmark = pytest.mark.slow
FIXED_DROPOUT = Path(__file__).parent / "fixed_perturbation"
SENTENCES = 80
RELATIVE_ERROR = 1e-6
RELATIVE_ERROR_OF_PARAMETERS = {1: 1e-6, 2: 1e-3}  # by the --update-freq of two processes


def train(data_bin, folder, processes: int, update_freq: int) -> dict:
    """An epoch, with a checkpoint after every update; the states of the checkpoints by update."""
    placement = Placement(on_cpu=True, processes_per_node=processes)
    command = [
        *placement.launcher, "fairseq-train", data_bin, "--user-dir", FIXED_DROPOUT, *placement.fairseq_flags,
        "--task", "rdrop_translation", "--criterion", RDROP, "--rdrop-alpha", "5", "--label-smoothing", "0.1",
        "--arch", "transformer_with_fixed_dropout", *fairseq_tools.TINY_TRANSFORMER[2:], "--share-all-embeddings",
        "--dropout", "0", "--attention-dropout", "0", "--optimizer", "adam", "--lr", "0.01", "--max-tokens", "90",
        "--update-freq", update_freq, "--max-epoch", "1", "--required-batch-size-multiple", "1", "--num-workers", "0",
        "--source-lang", "en", "--target-lang", "de", "--save-dir", folder, "--save-interval-updates", "1",
        "--log-format", "json", "--log-interval", "1",
    ]  # fmt: skip
    result = fairseq_tools.run(*command, env={"PYTHONPATH": str(fairseq_tools.PLUGIN.parent), **placement.environment})
    updates = fairseq_tools.logged(result.stdout, "train_inner")
    paths = {number: folder / f"checkpoint_1_{number}.pt" for number in range(1, len(updates))}
    return {
        **{number: load_checkpoint(path) for number, path in paths.items()},
        len(updates): load_checkpoint(folder / "checkpoint1.pt"),
        "log": updates,
    }


@pytest.fixture(scope="module", params=[1, 2])
def update_freq(request) -> int:
    """Of two processes. With 2, the last update of the epoch gives the second one a batch and an empty one."""
    return request.param


@pytest.fixture(scope="module")
def one_process(data_bin, tmp_path_factory, update_freq):
    return train(data_bin, tmp_path_factory.mktemp("one"), processes=1, update_freq=2 * update_freq)


@pytest.fixture(scope="module")
def two_processes(data_bin, tmp_path_factory, update_freq):
    return train(data_bin, tmp_path_factory.mktemp("two"), processes=2, update_freq=update_freq)


def flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in tensors])


def parameters(state) -> torch.Tensor:
    return flat(state["model"][name] for name in sorted(state["model"]) if name.endswith(("weight", "bias")))


def adam_average(state, name: str) -> torch.Tensor:
    states = state["last_optimizer_state"]["state"]
    return flat(states[number][name] for number in sorted(states))


def meters(state) -> dict:
    """Name -> (sum, count) of what was logged since the epoch began; the log itself is rounded."""
    return {
        name: (float(meter["sum"]), float(meter["count"]))
        for _, name, kind, meter in state["extra_state"]["metrics"]["train"]
        if kind == "AverageMeter" and name in ("loss", "nll_loss", "rdrop_kl_loss", "wpb", "bsz", "gnorm")
    }


def relative_error(value: torch.Tensor, expected: torch.Tensor, scale: torch.Tensor) -> float:
    assert float(scale.norm()) > 0
    return float((value - expected).norm() / scale.norm())


def test_first_gradient(one_process, two_processes):
    """After one update the first average of Adam is a tenth of the gradient."""
    gradient = adam_average(one_process[1], "exp_avg")
    assert relative_error(adam_average(two_processes[1], "exp_avg"), gradient, gradient) < RELATIVE_ERROR


def test_parameters_after_every_update(one_process, two_processes, update_freq):
    """Relative to how far the last updates moved them; the second process ends the epoch on an empty batch."""
    last = len(one_process["log"])
    assert last * update_freq == 4 and len(two_processes["log"]) == last
    movement = parameters(one_process[last]) - parameters(one_process[1])
    for number in range(1, last + 1):
        expected = parameters(one_process[number])
        error = relative_error(parameters(two_processes[number]), expected, movement)
        assert error < RELATIVE_ERROR_OF_PARAMETERS[update_freq]
    for name in ("exp_avg", "exp_avg_sq"):
        average = adam_average(one_process[last], name)
        assert relative_error(adam_average(two_processes[last], name), average, average) < RELATIVE_ERROR


def test_every_sentence_is_counted_once(one_process, two_processes, parallel_text):
    lines = (parallel_text / "train.de").read_text().splitlines()
    tokens = sum(len(line.split()) + 1 for line in lines)
    for run in (one_process, two_processes):
        assert sum(int(entry["wpb"]) for entry in run["log"]) == tokens
        assert sum(int(entry["bsz"]) for entry in run["log"]) == len(lines) == SENTENCES
    # Each update has the tokens and sentences of the same batches.
    assert [(entry["wpb"], entry["bsz"]) for entry in one_process["log"]] == [
        (entry["wpb"], entry["bsz"]) for entry in two_processes["log"]
    ]


def test_logged_figures(one_process, two_processes):
    """Sums over the tokens, and the tokens, up to the last checkpoint within the epoch."""
    last = len(one_process["log"]) - 1
    figures, figures_of_two = meters(one_process[last]), meters(two_processes[last])
    assert figures.keys() == figures_of_two.keys() >= {"loss", "nll_loss", "rdrop_kl_loss", "wpb", "bsz", "gnorm"}
    for name, expected in figures.items():
        assert figures_of_two[name] == pytest.approx(expected, rel=RELATIVE_ERROR)
    assert figures["rdrop_kl_loss"][0] > 0.01 * figures["nll_loss"][0]
