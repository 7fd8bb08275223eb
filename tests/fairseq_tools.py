"""What the tests need of fairseq: its real commands, and tasks, models and batches built as its commands build them."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import forked_commands
import torch

PLUGIN = Path(__file__).resolve().parents[1] / "rdrop_fairseq"
TINY_TRANSFORMER = (
    "--arch transformer --encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 32 --decoder-ffn-embed-dim 32 --encoder-attention-heads 2 --decoder-attention-heads 2"
).split()


def run(command, *arguments, fails: bool = False, **options) -> subprocess.CompletedProcess:
    """Run a command of the environment the tests run in; assert that it succeeds, or that it fails."""
    changes = options.pop("env", {})
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **changes}
    executable = Path(sys.executable).parent / command
    words = [str(executable if executable.exists() else command), *map(str, arguments)]
    # What another PYTHONPATH changes is seen only while an interpreter starts; a fork has no standard input of its own.
    is_plain = set(options) <= {"cwd"} and "PYTHONPATH" not in changes
    if is_plain and forked_commands.is_known(words):
        result = forked_commands.run(words, environment, Path(options.get("cwd", ".")), timeout=600)
    else:
        result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=600, **options)
    if (result.returncode != 0) is not fails:
        raise AssertionError(f"{' '.join(words)}\nexit status {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


def run_module_of(script, *arguments, **options) -> subprocess.CompletedProcess:
    """:func:`run` what a script of scripts/ becomes in its last line, without the shell that sets up and starts it."""
    last = last_line(Path(script).read_text(encoding="utf-8"))
    module = re.fullmatch(r'run_module (?:--set-up )?(.+) "\$@"', last)[1]
    return run(sys.executable, "-m", *module.split(), *arguments, env={"PYTHONSAFEPATH": "1"}, **options)


def write_parallel_text(folder: Path, train: int = 80) -> Path:
    """Train (of so many sentences), valid and test text in a toy language pair, whose target reverses each source."""
    generator = random.Random(7)
    words = [f"word{number}" for number in range(30)]
    for split, size in (("train", train), ("valid", 20), ("test", 15)):
        source = [" ".join(generator.choices(words, k=generator.randint(2, 9))) for _ in range(size)]
        target = [" ".join(reversed(line.split())) for line in source]
        (folder / f"{split}.en").write_text("\n".join(source) + "\n", encoding="utf-8")
        (folder / f"{split}.de").write_text("\n".join(target) + "\n", encoding="utf-8")
    return folder


def binarise(text: Path, folder: Path) -> Path:
    """Have fairseq-preprocess binarise a folder of text with a joined dictionary."""
    run(
        "fairseq-preprocess", "--source-lang", "en", "--target-lang", "de", "--joined-dictionary",
        "--trainpref", text / "train", "--validpref", text / "valid", "--testpref", text / "test",
        "--destdir", folder, "--workers", "1",
    )  # fmt: skip
    return folder


def last_line(text: str) -> str:
    """The last line of an output that is not blank."""
    return [line for line in text.splitlines() if line.strip()][-1]


def logged(output: str, tag: str) -> list:
    """What a run with --log-format json logged under a tag (train_inner, train, valid, ...), without the timings."""
    timing = re.compile(r"(\w+_)?(wps|ups|wall)")
    # fairseq-train separates the tag by bars, fairseq-hydra-train puts it into brackets.
    entries = re.findall(rf"(?:\| |\[){tag}(?: \| |\]\[INFO\] - )(\{{.*\}})$", output, re.MULTILINE)
    return [{key: value for key, value in json.loads(entry).items() if not timing.fullmatch(key)} for entry in entries]


def training_config(data_bin, *arguments, languages=("--source-lang", "en", "--target-lang", "de")):
    """The configuration that fairseq-train makes of these arguments, with the plugin loaded by --user-dir."""
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    words = [
        str(data_bin), "--user-dir", str(PLUGIN), *languages,
        "--optimizer", "adam", "--lr", "0.001", "--max-tokens", "200", "--cpu", "--num-workers", "0",
    ]  # fmt: skip
    words += [str(argument) for argument in arguments]
    # As fairseq-train does it: the user directory is imported while the first parser is made.
    previous, sys.argv = sys.argv, ["fairseq-train", *words]
    try:
        parser = options.get_training_parser()
        return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, input_args=words))
    finally:
        sys.argv = previous


def build(config):
    """Task, model (seeded) and criterion of a configuration."""
    from fairseq import tasks

    task = tasks.setup_task(config.task)
    torch.manual_seed(3)
    model = task.build_model(config.model)
    return task, model, task.build_criterion(config.criterion)


def batch(task, split: str = "train", size: int = 9) -> dict:
    """A mini-batch of ``size`` sentences of different lengths."""
    if split not in task.datasets:
        task.load_dataset(split)
    dataset = task.dataset(split)
    return dataset.collater([dataset[index] for index in range(size)])


def gradients(model) -> dict:
    """Name -> gradient of every parameter that has one."""
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_equal(one, other) -> None:
    """Assert that two structures hold the same, tensors to the last bit."""
    assert type(one) is type(other)
    if torch.is_tensor(one):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for left, right in zip(one, other):
            assert_equal(left, right)
    else:
        assert one == other
