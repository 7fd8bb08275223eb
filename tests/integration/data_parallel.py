"""One process of training steps in torch's DistributedDataParallel, on the CPU; it saves its gradients.

fairseq itself gives this wrapper the number of a device, which it refuses for modules on the CPU. So it is put around
the model here, and inside fairseq's own wrapper.

    python data_parallel.py DATA-BIN FOLDER RANK SENTENCES-OF-EACH-PROCESS
"""

import sys
from pathlib import Path

import fairseq_tools
import torch
from fairseq.distributed import ModuleProxyWrapper
from training_runs import RDROP

from rdrop_fairseq.criterions.output_projection import plain_output_projection

FIXED_DROPOUT = Path(__file__).parent / "fixed_perturbation"
# Name -> flags of the model, and whether the wrapper looks for unused parameters.
VARIANTS = {
    "unshared projection": ((), False),
    "shared projection": (("--share-all-embeddings",), False),
    "from logits": ((), True),
}
# Variants that call the wrapped model several times, or change it for a while; with fairseq's own, random dropout.
RANDOM_VARIANTS = {
    "passes one by one": (("--rdrop-dropout-rates", "0.1,0.3"), False),
    "passes one by one, from logits": (("--rdrop-dropout-rates", "0.1,0.3", "--rdrop-token-cutoff", "0.1"), True),
    "one encoder pass": (("--rdrop-share-encoder", "--rdrop-fraction", "0.5", "--rdrop-attention-weight", "1"), False),
}


class Backward:
    """What a task needs of an optimiser."""

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()


def part_of_batch(task, rank: int, sizes: list) -> dict:
    """The sentences of this process."""
    task.load_dataset("train")
    dataset, first = task.dataset("train"), sum(sizes[:rank])
    return dataset.collater([dataset[number] for number in range(first, first + sizes[rank])])


def wrap(model, find_unused_parameters: bool) -> ModuleProxyWrapper:
    """As fairseq wraps a model, but for the CPU."""
    wrapped = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=find_unused_parameters)
    return ModuleProxyWrapper(wrapped)


def step(data_bin, rank: int, sizes: list, flags: tuple, find_unused_parameters: bool) -> dict:
    """Loss, denominator and gradients, summed over the processes, of a step in which each has its part of a batch."""
    config = fairseq_tools.training_config(
        data_bin, "--user-dir", FIXED_DROPOUT, "--task", "rdrop_translation", "--criterion", RDROP,
        "--rdrop-alpha", "5", "--label-smoothing", "0.1", "--arch", "transformer_with_fixed_dropout",
        *fairseq_tools.TINY_TRANSFORMER[2:], "--dropout", "0", "--attention-dropout", "0", *flags,
    )  # fmt: skip
    task, model, criterion = fairseq_tools.build(config)
    model.train()
    criterion.train()
    sample = part_of_batch(task, rank, sizes)
    wrapped = wrap(model, find_unused_parameters)
    assert (plain_output_projection(wrapped) is None) == find_unused_parameters
    # The second update meets what the first left behind in the reducer.
    for update in range(2):
        model.zero_grad()
        loss, sample_size, logs = task.train_step(sample, wrapped, criterion, Backward(), update)
    assert logs["rdrop_kl_loss"] > 0
    # The wrapper averages over the processes.
    gradients = {name: gradient * len(sizes) for name, gradient in fairseq_tools.gradients(model).items()}
    return {"loss": float(loss), "tokens": sample_size, "gradients": gradients}


def random_step(data_bin, rank: int, sizes: list, flags: tuple, find_unused_parameters: bool) -> dict:
    """Gradients of this process's part of a batch alone, and those that the wrapper sums; of equal random numbers."""
    config = fairseq_tools.training_config(
        data_bin, "--task", "rdrop_translation", "--criterion", RDROP, "--rdrop-alpha", "5", "--label-smoothing", "0.1",
        *fairseq_tools.TINY_TRANSFORMER, "--dropout", "0.2", "--share-all-embeddings", *flags,
    )  # fmt: skip
    task, model, criterion = fairseq_tools.build(config)
    criterion.train()
    sample = part_of_batch(task, rank, sizes)
    wrapped = wrap(model, find_unused_parameters)
    results = {}
    for name, module in (("alone", model), ("summed", wrapped)):
        for update in range(2):
            model.zero_grad()
            torch.manual_seed(10 * rank + update)
            task.train_step(sample, module, criterion, Backward(), update)
        factor = 1 if name == "alone" else len(sizes)
        results[name] = {key: gradient * factor for key, gradient in fairseq_tools.gradients(model).items()}
    return results


def main() -> None:
    data_bin, folder, rank, sizes = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4].split(",")
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(sizes))
    sizes = [int(size) for size in sizes]
    results = {name: step(data_bin, rank, sizes, *variant) for name, variant in VARIANTS.items()}
    results.update({name: random_step(data_bin, rank, sizes, *variant) for name, variant in RANDOM_VARIANTS.items()})
    torch.save(results, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
