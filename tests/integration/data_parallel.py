"""One process of a training step in torch's DistributedDataParallel, on the CPU: prints nothing, saves its gradients.

fairseq itself gives this wrapper the number of a device, which it refuses for modules on the CPU; so it is put around
the model here, and inside fairseq's own wrapper.

    python data_parallel.py DATA-BIN FOLDER RANK PROCESSES SENTENCES-OF-EACH-PROCESS find|- FLAGS...
"""

import sys
from pathlib import Path

import fairseq_tools
import torch
from fairseq.distributed import ModuleProxyWrapper
from training_runs import RDROP

from rdrop_fairseq.criterions.output_projection import plain_output_projection

FIXED_DROPOUT = Path(__file__).parent / "fixed_perturbation"


def main(data_bin, folder, rank, processes, sizes, find, *flags) -> None:
    rank, processes = int(rank), int(processes)
    sizes = [int(size) for size in sizes.split(",")]
    config = fairseq_tools.training_config(
        data_bin, "--user-dir", FIXED_DROPOUT, "--task", "rdrop_translation", "--criterion", RDROP,
        "--rdrop-alpha", "5", "--label-smoothing", "0.1", "--arch", "transformer_with_fixed_dropout",
        *fairseq_tools.TINY_TRANSFORMER[2:], "--dropout", "0", "--attention-dropout", "0", *flags,
    )  # fmt: skip
    task, model, criterion = fairseq_tools.build(config)
    model.train()
    criterion.train()
    task.load_dataset("train")
    dataset = task.dataset("train")
    first = sum(sizes[:rank])
    sample = dataset.collater([dataset[number] for number in range(first, first + sizes[rank])])
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=processes)
    wrapped = ModuleProxyWrapper(
        torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=find == "find")
    )
    assert (plain_output_projection(wrapped) is None) == (find == "find")
    # The second update meets what the first left behind in the reducer.
    for update in range(2):
        model.zero_grad()
        loss, sample_size, logs = task.train_step(sample, wrapped, criterion, Backward(), update)
    # It averages over the processes; the sum is wanted.
    gradients = {name: gradient * processes for name, gradient in fairseq_tools.gradients(model).items()}
    torch.save({"gradients": gradients, "loss": float(loss), "tokens": sample_size}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


class Backward:
    """What a task needs of an optimiser."""

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()


if __name__ == "__main__":
    main(*sys.argv[1:])
