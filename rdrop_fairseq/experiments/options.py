"""The command line of ``scripts/train.sh``."""

import argparse
from pathlib import Path
from typing import List, Sequence, Tuple

from rdrop_fairseq.common.command_line import Parser, positive_number, split_words, whole_number
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.configuration import Setting
from rdrop_fairseq.experiments.training_flags import refuse_on_command_line, settings_of_words

PROGRAM = "scripts/train.sh"


def parse_options(words: Sequence[str]) -> Tuple[argparse.Namespace, List[Setting]]:
    """Options of the script, and those that go on to fairseq-train.

    Raises:
        UserError: an option lacks its value, has a wrong one, contradicts another, or is set by the script.
    """
    parser = option_parser()
    own, others = split_words(words, parser)
    options = parser.parse_args(own)
    if options.fp16 and options.bf16:
        raise UserError("--fp16 and --bf16 exclude each other; give one")
    if options.cpu and options.gpus is not None:
        raise UserError("--cpu and --gpus exclude each other; give --cpu --processes N or --gpus N")
    if options.processes is not None and not options.cpu:
        raise UserError("--processes is for --cpu; give --gpus N for GPUs")
    _check_nodes(options)
    settings = settings_of_words(others)
    refuse_on_command_line(settings)
    return options, settings


def _check_nodes(options: argparse.Namespace) -> None:
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


def option_parser() -> argparse.ArgumentParser:
    """The parser of the script's own options, whose mistakes are ``UserError``."""
    parser = Parser(prog=PROGRAM, allow_abbrev=False, description=__doc__)
    parser.add_argument("config", metavar="CONFIG", help="a name in configs/, such as wmt14_en_de, or a path")
    parser.add_argument("--baseline", action="store_true", help="train the baseline, not R-Drop")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of fairseq-preprocess")
    parser.add_argument("--source-lang", metavar="LANG", help="in place of the configuration's")
    parser.add_argument("--target-lang", metavar="LANG", help="in place of the configuration's")
    parser.add_argument("--run-dir", type=Path, metavar="RUN", help="the folder of the run")
    parser.add_argument("--max-tokens", type=positive_number, metavar="N", help="tokens of one batch of one process")
    parser.add_argument("--tokens-per-update", type=positive_number, metavar="N", help="tokens of one update")
    parser.add_argument("--gpus", type=positive_number, metavar="N", help="GPUs of this node to use")
    parser.add_argument("--cpu", action="store_true", help="train on the CPU")
    parser.add_argument("--processes", type=positive_number, metavar="N", help="with --cpu: processes on this node")
    parser.add_argument("--nnodes", type=positive_number, default=1, metavar="N", help="nodes that train together")
    parser.add_argument("--node-rank", type=whole_number, metavar="R", help="number of this node, from 0")
    parser.add_argument("--master-addr", metavar="HOST", help="node 0")
    parser.add_argument("--master-port", type=positive_number, metavar="PORT", help="a free port of node 0")
    parser.add_argument("--fp16", action="store_true", help="half precision, on GPUs")
    parser.add_argument("--bf16", action="store_true", help="bfloat16, on GPUs")
    parser.add_argument("--tensorboard", action="store_true", help="write RUN/tensorboard")
    parser.add_argument("--dry-run", action="store_true", help="print what would run, and do nothing")
    return parser
