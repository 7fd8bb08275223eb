#!/usr/bin/env bash
# Trains a baseline and an R-Drop model with equal settings, translates the test set with both, scores them with
# sacreBLEU and writes a report with curves: on a sample corpus, or on a folder of real text.
#
# usage: scripts/quickstart.sh [OPTION]... [OPTION OF fairseq-train]...
#
#   --data DIR           real text: train.LANG, valid.LANG or val.LANG, test*.LANG, aligned line by line, UTF-8
#   --source-lang LANG   the language to translate from (default: en)
#   --target-lang LANG   the language to translate into (default: de)
#   --test-set NAME      which test set, without the language, where DIR has several
#   --vocab-size N       joined BPE sub-words (default: 2000 for the sample corpus, 6000 for real text)
#   --run-dir DIR        where everything goes (default: runs/quickstart, or runs/NAME-SRC-TGT with --data DIR/NAME)
#   --max-tokens N       tokens of one batch of one process; an update has one batch of each process, unless
#                        --tokens-per-update N is given
#   --gpus N             train on N GPUs (default: one, or the CPU where there is none)
#   --cpu                train and translate on the CPU; --processes N: in so many processes
#   --tensorboard        write DIR/baseline/tensorboard and DIR/rdrop/tensorboard
#   --fp16, --bf16       the number format on GPUs (default: float32)
#   --start-over         train both from the beginning: what is in DIR/baseline and DIR/rdrop goes to earlier.N there
#   --help               this text
#
# Every other option goes to fairseq-train and wins over those of configs/quickstart.yaml: --arch, --max-epoch, --lr and so
# on for both runs, --rdrop-alpha and the other --rdrop options for the R-Drop run alone.
#
# The same command continues after an interruption, and does nothing again that is done. DIR/baseline and DIR/rdrop are run
# folders as scripts/train.sh makes them; each belongs to one set of options, but --max-epoch and --max-update may be raised.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
run_module --set-up rdrop_fairseq.experiments quickstart "$@"
