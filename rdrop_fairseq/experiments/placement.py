"""Where a training runs: CPU or GPUs, how many processes on how many nodes, and how many batches each of them takes."""

import argparse
import os
from dataclasses import dataclass
from typing import Dict, List, Optional

from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.common.processes import ENDING_WITH_PARENT, available_cores


@dataclass(frozen=True)
class Placement:
    """Processes and nodes of one training, seen from this node."""

    on_cpu: bool
    processes_per_node: int
    nodes: int = 1
    node_rank: int = 0
    master_address: Optional[str] = None
    master_port: Optional[int] = None

    @property
    def processes(self) -> int:
        """All processes, on all nodes."""
        return self.processes_per_node * self.nodes

    @property
    def description(self) -> str:
        """For a person."""
        singular, plural = ("CPU process", "CPU processes") if self.on_cpu else ("GPU", "GPUs")
        here = f"{self.processes_per_node} {singular if self.processes_per_node == 1 else plural}"
        return here if self.nodes == 1 else f"{self.nodes} nodes with {here} each, this one of rank {self.node_rank}"

    @property
    def fairseq_flags(self) -> List[str]:
        """What fairseq-train has to know of it."""
        words = ["--cpu"] if self.on_cpu else []
        words += ["--distributed-world-size", str(self.processes)]
        if self.processes == 1:
            return words
        # torchrun tells each process its rank in the environment, from where torch takes it if given -1. Left to
        # itself fairseq divides by the number of GPUs, and takes one GPU a node for no distribution at all.
        words += ["--distributed-init-method", "env://", "--distributed-rank", "-1", "--distributed-no-spawn"]
        # By default fairseq reads a checkpoint in one process and sends it to the others, in a form that torch >= 2.6
        # refuses to read.
        words += ["--load-checkpoint-on-all-dp-ranks"]
        if self.on_cpu:
            # fairseq's default passes GPU numbers to torch's DistributedDataParallel.
            words += ["--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp"]
        return words

    @property
    def launcher(self) -> List[str]:
        """The words in front of ``fairseq-train``: torchrun for more than one process."""
        if self.processes == 1:
            return list(ENDING_WITH_PARENT)
        torchrun = ["torchrun", f"--nproc_per_node={self.processes_per_node}"]
        if self.nodes == 1:
            torchrun += ["--standalone"]
        else:
            torchrun += [
                f"--nnodes={self.nodes}", f"--node_rank={self.node_rank}",
                f"--master_addr={self.master_address}", f"--master_port={self.master_port}",
            ]  # fmt: skip
        # torchrun starts its processes in sessions of their own, so that a signal to the group does not reach them.
        return [*ENDING_WITH_PARENT, *torchrun, *ENDING_WITH_PARENT[1:]]

    @property
    def environment(self) -> Dict[str, str]:
        """Environment variables to set for the training."""
        # A baseline is trained by the same rules as R-Drop (see rdrop_fairseq.compat).
        variables = {"RDROP_FAIRSEQ_MEND_TRAINING": "1"}
        if self.on_cpu:
            variables["CUDA_VISIBLE_DEVICES"] = ""
            if self.processes > 1 and "OMP_NUM_THREADS" not in os.environ:
                variables["OMP_NUM_THREADS"] = str(max(1, available_cores() // self.processes_per_node))
        return variables


def place(options: argparse.Namespace) -> Placement:
    """Where to train: on the GPUs asked for, else on all there are, else on the CPU.

    Raises:
        UserError: there are fewer GPUs than were asked for.
    """
    nodes = {
        "nodes": options.nnodes, "node_rank": options.node_rank or 0,
        "master_address": options.master_addr, "master_port": options.master_port,
    }  # fmt: skip
    if options.cpu:
        return Placement(on_cpu=True, processes_per_node=options.processes or 1, **nodes)
    gpus = options.gpus
    # What is only printed may be meant for another machine.
    if gpus is None or not options.dry_run:
        visible = visible_gpus()
        if gpus is not None and gpus > visible:
            raise UserError(f"--gpus {gpus}, but torch sees {visible} on this machine; ask for fewer, or give --cpu")
        gpus = gpus or min(visible, options.default_gpus or visible)
    return Placement(on_cpu=gpus == 0, processes_per_node=max(1, gpus), **nodes)


def visible_gpus() -> int:
    """How many CUDA devices torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def derive_update_freq(tokens_per_update: int, max_tokens: int, processes: int) -> int:
    """The number of batches per process and update: ``tokens_per_update / (max_tokens * processes)``.

    Args:
        tokens_per_update: tokens, padding included, of one update over all processes.
        max_tokens: tokens, padding included, of one batch of one process.
        processes: how many processes train together, over all nodes.

    Raises:
        UserError: the quotient is no whole number; the message names the combinations nearest to it.
    """
    update_freq, remainder = divmod(tokens_per_update, max_tokens * processes)
    if remainder or not update_freq:
        raise UserError(
            f"{tokens_per_update} tokens per update are no multiple of {max_tokens} tokens on each of {processes} "
            f"process(es): update-freq would be {tokens_per_update / (max_tokens * processes):.4g}; "
            f"try {' or '.join(_alternatives(tokens_per_update, max_tokens, processes))}"
        )
    return update_freq


def _alternatives(tokens_per_update: int, max_tokens: int, processes: int) -> List[str]:
    """The nearest whole combinations: other batches with as many processes, else other numbers of processes."""
    per_process, remainder = divmod(tokens_per_update, processes)
    if not remainder:
        return [
            f"--max-tokens {divisor} (update-freq {per_process // divisor})"
            for divisor in _neighbours(_divisors(per_process), max_tokens)
        ]
    # No batch will do with this number of processes.
    max_tokens = max(divisor for divisor in _divisors(tokens_per_update) if divisor <= max_tokens)
    batches = tokens_per_update // max_tokens
    return [
        f"{divisor} process(es) with --max-tokens {max_tokens} (update-freq {batches // divisor})"
        for divisor in _neighbours(_divisors(batches), processes)
    ]


def _neighbours(numbers: List[int], number: int) -> List[int]:
    """The nearest of ascending numbers below and above one, as far as there are any."""
    return [other for other in numbers if other < number][-1:] + [other for other in numbers if other > number][:1]


def _divisors(number: int) -> List[int]:
    small = [divisor for divisor in range(1, int(number**0.5) + 1) if number % divisor == 0]
    return sorted({*small, *(number // divisor for divisor in small)})
