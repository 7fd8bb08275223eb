"""Two processes in torch's DistributedDataParallel, which fairseq calls pytorch_ddp and uses unless told otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import fairseq_tools
import pytest
import torch

HERE = Path(__file__).parent


def results_of(data_bin, folder, sizes) -> list:
    """What each process saved; there are as many as there are sizes of their parts of the batch."""
    paths = (fairseq_tools.PLUGIN.parent, HERE.parent, HERE)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, paths))}
    program, parts = HERE / "data_parallel.py", ",".join(map(str, sizes))
    processes = [
        subprocess.Popen(
            [sys.executable, program, data_bin, folder, str(rank), parts],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        for rank in range(len(sizes))
    ]
    try:
        outputs = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(sizes), "\n".join(outputs)
    return [torch.load(folder / f"{rank}.pt") for rank in range(len(sizes))]


@pytest.fixture(scope="module")
def one_process(data_bin, tmp_path_factory):
    return results_of(data_bin, tmp_path_factory.mktemp("one"), [9])


@pytest.fixture(scope="module")
def two_processes(data_bin, tmp_path_factory):
    return results_of(data_bin, tmp_path_factory.mktemp("two"), [6, 3])


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["unshared projection", "shared projection", "from logits"])
def test_gradients_equal_those_of_one_process(one_process, two_processes, variant):
    """The projection, which the loss uses outside the wrapped model's forward, is summed over the processes as well.

    Relative to the largest entry: the sums are of the same float32 terms in another order.
    """
    alone, both = one_process[0][variant], [results[variant] for results in two_processes]
    assert sum(one["tokens"] for one in both) == alone["tokens"]
    assert sum(one["loss"] for one in both) == pytest.approx(alone["loss"], rel=1e-6)
    largest = max(float(gradient.abs().max()) for gradient in alone["gradients"].values())
    for one in both:
        assert one["gradients"].keys() == alone["gradients"].keys()
        for name, expected in alone["gradients"].items():
            torch.testing.assert_close(one["gradients"][name], expected, rtol=0, atol=1e-6 * largest, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["passes one by one", "passes one by one, from logits", "one encoder pass"])
def test_gradients_of_variants_are_summed(two_processes, variant):
    """Whatever a variant does with the wrapped model, every process has the sum of what each has by itself."""
    both = [results[variant] for results in two_processes]
    for name, gradient in both[0]["alone"].items():
        expected = gradient + both[1]["alone"][name]
        assert not torch.equal(gradient, both[1]["alone"][name])
        for one in both:
            torch.testing.assert_close(one["summed"][name], expected, rtol=1e-5, atol=1e-4, msg=name)
