#!/usr/bin/env bash
# Trains an experiment of configs/ in two stages: pre-training on both directions of the language pair, then fine-tuning of
# its best checkpoint on the one that is wanted. It is the strategy of Bi-SimCut (arXiv 2206.02368), and with R-Drop Bi-R-Drop.
#
# usage: scripts/train_bidirectional.sh CONFIG [OPTION]... [OPTION OF fairseq-train]...
#
#   --pretraining-updates N  updates of the pre-training, in place of --max-update and --max-epoch (default: these)
#   --run-dir RUN            the run of the fine-tuning (default: runs/CONFIG-rdrop-bidirectional, or -baseline-bidirectional);
#                            RUN-pretraining has the data of both directions (data) and the run of the pre-training (run)
#
# The others mean what they do for scripts/train.sh, in both stages: --baseline, --data DIR, --source-lang LANG,
# --target-lang LANG, --max-tokens N, --tokens-per-update N, --gpus N, --cpu, --processes N, --fp16, --bf16, --tensorboard,
# --start-over, --dry-run, and --help for this text. Every other option goes to fairseq-train, for both stages.
#
# Both languages need one vocabulary, as the prepare scripts make it. The same command continues after an interruption.
# Once the fine-tuning has a checkpoint, the pre-training is not continued any more. RUN is a run as scripts/train.sh makes it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
run_module rdrop_fairseq.experiments bidirectional "$@"
