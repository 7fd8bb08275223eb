#!/usr/bin/env bash
# Trains an experiment of configs/: one GPU, all GPUs of a node, several nodes, or the CPU, with the same global batch.
#
# usage: scripts/train.sh CONFIG [OPTION]... [OPTION OF fairseq-train]...
#
#   CONFIG                 a name in configs/, such as wmt14_en_de, or the path of a YAML file
#   --baseline             the baseline of the configuration (default: R-Drop)
#   --data DIR             the folder of fairseq-preprocess (default: data/RECIPE/bin, which scripts/prepare_RECIPE.sh
#                          makes; for multi30k_en_de data/multi30k_en_de/bin, or that of the languages given)
#   --source-lang LANG     in place of the configuration's
#   --target-lang LANG     in place of the configuration's
#   --run-dir RUN          where everything goes (default: runs/CONFIG-rdrop or runs/CONFIG-baseline)
#   --max-tokens N         tokens of one batch of one process: halve it where memory is short
#   --tokens-per-update N  another global batch than the configuration's
#   --gpus N               the first N GPUs of this node (default: all; without any, the CPU)
#   --cpu                  the CPU, in float32
#   --processes N          with --cpu, so many processes on this node (default: 1)
#   --nnodes N             nodes that train together; this command runs on each of them, with
#   --node-rank R            the number of the node, from 0
#   --master-addr HOST       the name of node 0
#   --master-port PORT       and a port that is free on it (scripts/slurm/train.sbatch does all this on Slurm)
#   --fp16, --bf16         the number format on GPUs (default: the configuration's)
#   --tensorboard          write RUN/tensorboard
#   --start-over           train from the beginning: what is in RUN goes to RUN/earlier.N
#   --dry-run              print what would run, and do nothing; the data need not be there yet
#   --help                 this text
#
# Every other option goes to fairseq-train and wins over the configuration: --max-update, --lr, --rdrop-alpha and so on.
# --arch replaces the section model of the configuration.
#
# An update has as many tokens as the configuration says, whatever the number of processes: update-freq follows from it.
# The same command continues after an interruption, also with another number of GPUs or another --max-tokens, and does
# nothing again that is done. A run folder belongs to one set of options; --max-update and --max-epoch may be raised.
# On SIGTERM or SIGUSR1 the training saves after the update at hand, and ends. Where the last checkpoint is damaged, it goes
# on from the newest one that can be read.
#
#   RUN/run.json           settings, command, versions, commit
#   RUN/train.log          all output of the training, across interruptions
#   RUN/exit_status        of the last training, 0 when complete
#   RUN/checkpoints/       and so on
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
run_module rdrop_fairseq.experiments train "$@"
