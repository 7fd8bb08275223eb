"""The engine's own options, as far as several scripts share them; those of fairseq are in :mod:`.flags`."""

import argparse

from rdrop_fairseq.common.command_line import positive_number, whole_number
from rdrop_fairseq.common.errors import UserError


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """How trainings are run; what a script does not offer has its default for :func:`.training.plan_training`."""
    parser.set_defaults(
        nnodes=1, node_rank=None, master_addr=None, master_port=None, data=None, run_dir=None, source_lang=None,
        target_lang=None, dry_run=False, data_to_come=False, default_gpus=None,
    )  # fmt: skip
    parser.add_argument("--max-tokens", type=positive_number, metavar="N", help="tokens of one batch of one process")
    parser.add_argument("--tokens-per-update", type=positive_number, metavar="N", help="tokens of one update")
    parser.add_argument("--gpus", type=positive_number, metavar="N", help="GPUs of this node to use")
    parser.add_argument("--cpu", action="store_true", help="use the CPU")
    parser.add_argument("--processes", type=positive_number, metavar="N", help="with --cpu: processes on this node")
    parser.add_argument("--fp16", action="store_true", help="half precision, on GPUs")
    parser.add_argument("--bf16", action="store_true", help="bfloat16, on GPUs")
    parser.add_argument("--tensorboard", action="store_true", help="write RUN/tensorboard")


def add_node_options(parser: argparse.ArgumentParser) -> None:
    """Several nodes, each of which runs the same command."""
    parser.add_argument("--nnodes", type=positive_number, default=1, metavar="N", help="nodes that train together")
    parser.add_argument("--node-rank", type=whole_number, metavar="R", help="number of this node, from 0")
    parser.add_argument("--master-addr", metavar="HOST", help="node 0")
    parser.add_argument("--master-port", type=positive_number, metavar="PORT", help="a free port of node 0")


def check_training_options(options: argparse.Namespace) -> None:
    """Refuse options that contradict one another.

    Raises:
        UserError: two of them do.
    """
    if options.fp16 and options.bf16:
        raise UserError("--fp16 and --bf16 exclude each other; give one")
    if options.cpu and options.gpus is not None:
        raise UserError("--cpu and --gpus exclude each other; give --cpu --processes N or --gpus N")
    if options.processes is not None and not options.cpu:
        raise UserError("--processes is for --cpu; give --gpus N for GPUs")
    wanted = {
        "--node-rank": options.node_rank, "--master-addr": options.master_addr, "--master-port": options.master_port
    }  # fmt: skip
    nodes = options.nnodes
    for flag, value in wanted.items():
        if nodes > 1 and value is None:
            raise UserError(f"--nnodes {nodes} needs {flag}; give it (scripts/slurm/train.sbatch does, on Slurm)")
        if nodes == 1 and value is not None:
            raise UserError(f"{flag} is for several nodes; give --nnodes as well")
    if options.node_rank is not None and options.node_rank >= nodes:
        raise UserError(f"--node-rank is {options.node_rank}; give 0 to {nodes - 1} with --nnodes {nodes}")
