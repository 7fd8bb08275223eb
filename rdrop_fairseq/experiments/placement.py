"""Where a training runs: CPU or GPUs, how many processes on how many nodes, and how they find each other."""

import os
import sys
from dataclasses import dataclass
from typing import Dict, List, Optional

# Runs its command line as a program that ends with its parent.
_WORKER = "rdrop_fairseq.common.processes"


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
        device = "CPU process" if self.on_cpu else "GPU"
        here = f"{self.processes_per_node} {device}{'es' if self.on_cpu and self.processes_per_node > 1 else ''}"
        if not self.on_cpu and self.processes_per_node > 1:
            here += "s"
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
        worker = [sys.executable, "-m", _WORKER]
        if self.processes == 1:
            return worker
        torchrun = ["torchrun", f"--nproc_per_node={self.processes_per_node}"]
        if self.nodes == 1:
            torchrun += ["--standalone"]
        else:
            torchrun += [
                f"--nnodes={self.nodes}", f"--node_rank={self.node_rank}",
                f"--master_addr={self.master_address}", f"--master_port={self.master_port}",
            ]  # fmt: skip
        # torchrun starts its processes in sessions of their own, so that a signal to the group does not reach them.
        return [*worker, *torchrun, "-m", _WORKER]

    @property
    def environment(self) -> Dict[str, str]:
        """Environment variables to set for the training."""
        variables = {}
        if self.on_cpu:
            variables["CUDA_VISIBLE_DEVICES"] = ""
            if self.processes > 1 and "OMP_NUM_THREADS" not in os.environ:
                variables["OMP_NUM_THREADS"] = str(max(1, usable_cores() // self.processes_per_node))
        return variables


def usable_cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> int:
    """How many CUDA devices torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
