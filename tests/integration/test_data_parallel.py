"""Two processes in torch's DistributedDataParallel, which fairseq calls pytorch_ddp and uses unless told otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import fairseq_tools
import pytest
import torch

PROGRAM = Path(__file__).parent / "data_parallel.py"


def step(data_bin, folder, sizes, *arguments) -> list:
    """What each process has after a step, of as many processes as there are sizes of their batches."""
    folder.mkdir()
    tests = Path(__file__).parents[1]
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": f"{fairseq_tools.PLUGIN.parent}:{tests}:{tests / 'integration'}",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                PROGRAM,
                data_bin,
                folder,
                str(rank),
                str(len(sizes)),
                ",".join(map(str, sizes)),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )  # fmt: skip
        for rank in range(len(sizes))
    ]
    try:
        outputs = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(sizes), "\n".join(outputs)
    return [torch.load(folder / f"{rank}.pt") for rank in range(len(sizes))]


@pytest.mark.slow
@pytest.mark.parametrize("find", ["-", "find"], ids=["from features", "from logits"])
@pytest.mark.parametrize("projection", [(), ("--share-all-embeddings",)], ids=["unshared", "shared"])
def test_gradients_equal_those_of_one_process(data_bin, tmp_path, find, projection):
    """The projection, which the loss uses outside the wrapped model's forward, is reduced over the processes as well.

    Relative to the largest entry: the sums are of the same float32 terms in another order.
    """
    (alone,) = step(data_bin, tmp_path / "one", [9], find, *projection)
    both = step(data_bin, tmp_path / "two", [6, 3], find, *projection)
    assert sum(one["tokens"] for one in both) == alone["tokens"]
    assert sum(one["loss"] for one in both) == pytest.approx(alone["loss"], rel=1e-6)
    largest = max(float(gradient.abs().max()) for gradient in alone["gradients"].values())
    for one in both:
        assert one["gradients"].keys() == alone["gradients"].keys()
        for name, expected in alone["gradients"].items():
            torch.testing.assert_close(one["gradients"][name], expected, rtol=0, atol=1e-6 * largest, msg=name)
