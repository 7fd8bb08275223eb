#!/usr/bin/env bash
# Reproduces WMT14 English-German with Transformer big: downloads and prepares the data, trains the baseline and R-Drop,
# and evaluates both on newstest2014 with significance. It takes about a thousand GPU hours for the paper's 300,000
# updates (docs/reproducing.md has the arithmetic); scripts/slurm/train.sbatch trains on several nodes.
#
# usage: scripts/reproduce_wmt14_en_de.sh [OPTION]... [OPTION OF scripts/train.sh OR fairseq-train]...
#
#   --raw-dir DIR, --corpus PREFIX, --table FILE, --vocab-size N, --workers N
#                        as of scripts/prepare_wmt14_en_de.sh
#   --data-dir DIR       the prepared data (default: data/wmt14_en_de)
#   --runs-dir DIR       gets the folders wmt14_en_de-baseline and wmt14_en_de-rdrop (default: runs)
#   --average K          average the last K checkpoints (default: the configuration's)
#   --stage NAME         start with this stage; --stop-stage NAME: end after it. The stages are prepare, train-baseline,
#                        train-rdrop and evaluate
#   --cpu                train and translate on the CPU
#   --help               this text
#
# Every other option goes to both trainings: --gpus, --max-tokens, --max-update and so on; --rdrop-alpha and its like to that
# of R-Drop alone. The options are checked before the preparation begins.
# The same command continues after an interruption, and does nothing again that is done.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
run_module --set-up rdrop_fairseq.experiments reproduce wmt14_en_de "$@"
