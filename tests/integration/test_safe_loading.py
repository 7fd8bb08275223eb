"""A checkpoint that holds code: every command that opens one refuses it in words, and the code does not run."""

import os
import shutil
import sys
from pathlib import Path

import fairseq_tools
import pytest
import torch
from training_runs import RDROP, train_arguments

from rdrop_fairseq.compat import load_checkpoint
from rdrop_fairseq.compat.checkpoints import _torch_loads_anything

REFUSAL = "that is not allowed in a checkpoint loaded safely (posix.mkdir)"
DECODING = "--source-lang en --target-lang de --beam 1 --cpu --num-workers 0".split()
PLUGIN = ["--user-dir", fairseq_tools.PLUGIN]
# fairseq calls torch.load, which before torch 2.6 loads anything unless told otherwise. This package loads safely.
needs_restriction = pytest.mark.skipif(_torch_loads_anything(), reason="fairseq itself loads anything with this torch")
TRAIN = Path(__file__).resolve().parents[2] / "scripts" / "train.sh"


class Code:
    """What runs when it is loaded: makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def poison(checkpoint: Path, mark: Path, output: Path) -> Path:
    state = load_checkpoint(checkpoint)
    state["extra_state"]["note"] = Code(mark)
    torch.save(state, output)
    return output


@pytest.fixture(scope="module")
def hostile(rdrop_run, tmp_path_factory):
    """The checkpoint, and the folder that its code makes."""
    folder = tmp_path_factory.mktemp("hostile")
    mark = folder / "code has run"
    checkpoint = poison(rdrop_run.folder / "checkpoint_last.pt", mark, folder / "checkpoint_last.pt")
    torch.load(checkpoint, weights_only=False)
    mark.rmdir()  # so it does run, if one lets it
    return checkpoint, mark


def of_fairseq(command: str, *arguments) -> list:
    return [f"fairseq-{command}", *arguments]


def training(data_bin, folder, *arguments) -> list:
    return of_fairseq("train", *train_arguments(data_bin, folder, RDROP, "--rdrop-alpha", "5", *arguments))


COMMANDS = {
    "resume": lambda data, path, folder: training(data, path.parent),
    "restore": lambda data, path, folder: training(data, folder, "--restore-file", path),
    "fine-tune": lambda data, path, folder: training(data, folder, "--finetune-from-model", path),
    "validate": lambda data, path, folder: of_fairseq(
        "validate", data, "--path", path, *PLUGIN, "--task", "translation", "--cpu", "--max-tokens", "100"
    ),
    "generate": lambda data, path, folder: of_fairseq("generate", data, "--path", path, *PLUGIN, *DECODING),
    "interactive": lambda data, path, folder: of_fairseq(
        "interactive", data, "--path", path, *PLUGIN, *DECODING, "--input", data / "dict.en.txt"
    ),
}


@needs_restriction
@pytest.mark.parametrize("command", COMMANDS)
def test_fairseqs_commands(command, hostile, data_bin, tmp_path):
    checkpoint, mark = hostile
    result = fairseq_tools.run(*COMMANDS[command](data_bin, checkpoint, tmp_path), fails=True)
    assert f"{checkpoint} holds an object {REFUSAL}" in result.stdout + result.stderr
    assert not mark.exists()


@needs_restriction
def test_the_hub(hostile, data_bin):
    from fairseq.models.transformer import TransformerModel

    checkpoint, mark = hostile
    with pytest.raises(Exception, match="not allowed in a checkpoint|Weights only load failed"):
        TransformerModel.from_pretrained(str(checkpoint.parent), checkpoint.name, str(data_bin))
    assert not mark.exists()


@pytest.mark.slow
def test_commands_of_this_package(data_bin, parallel_text, tmp_path):
    """With a run folder whose checkpoints hold code: averaging, training on, translating and measuring."""
    run, mark = tmp_path / "run", tmp_path / "code has run"
    training = [
        "quickstart", *fairseq_tools.TINY_TRANSFORMER, "--data", data_bin, "--run-dir", run, "--cpu",
        "--num-workers", "0", "--validate-interval-updates", "2", "--max-tokens", "100", "--tokens-per-update", "100",
    ]  # fmt: skip
    fairseq_tools.run_module_of(TRAIN, *training, "--max-update", "2")
    checkpoints = run / "checkpoints"
    hostile = poison(checkpoints / "checkpoint_last.pt", mark, tmp_path / "hostile.pt")
    for path in checkpoints.glob("*.pt"):
        shutil.copy(hostile, path)

    def refusal(*words) -> str:
        result = fairseq_tools.run(*words, fails=True)
        assert not mark.exists()
        return fairseq_tools.last_line(result.stderr)

    module = [sys.executable, "-m"]
    average = [*module, "rdrop_fairseq.evaluation.average", "--inputs", hostile, "--output", tmp_path / "average.pt"]
    assert REFUSAL in refusal(*average)
    assert REFUSAL in refusal(*module, "rdrop_fairseq.experiments", "train", *training, "--max-update", "4")
    translating = [*module, "rdrop_fairseq.experiments", "evaluate", run, "--cpu"]
    assert REFUSAL in refusal(*translating, "--reference", parallel_text / "test.de")
    measuring = [*module, "rdrop_fairseq.evaluation.consistency", run, "--output", tmp_path / "figures", "--cpu"]
    assert REFUSAL in refusal(*measuring)
