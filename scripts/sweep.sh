#!/usr/bin/env bash
# Trains many settings and seeds of an experiment of configs/, chooses the best setting of each family by validation,
# translates the test set with those alone, and compares them with the best baseline in one table.
#
# usage: scripts/sweep.sh CONFIG SWEEP [OPTION]... [OPTION OF fairseq-train]...
#
#   CONFIG               a name in configs/, such as multi30k_en_de, or the path of a YAML file
#   SWEEP                a name in configs/sweeps/, or the path of a YAML file: which settings, with which seeds
#   --parallel N         so many trainings at once (default: 1); small models leave most of a GPU idle
#   --gpus N             GPUs of each training (default: one); several trainings share the GPUs in turn
#   --cpu                train and translate on the CPU, whose cores the trainings share; --processes N: in so many
#                        processes each
#   --halving N          stop hopeless settings early: after N updates the worse half of each family, after 2 N, 4 N and so
#                        on again, until one is left
#   --data DIR           real text as for scripts/quickstart.sh, or a folder of fairseq-preprocess (default: the data of the
#                        configuration, which scripts/prepare_RECIPE.sh makes; for quickstart the sample corpus)
#   --source-lang LANG   in place of the configuration's
#   --target-lang LANG   in place of the configuration's
#   --test-set NAME      which test set, without the language, where the text in DIR has several
#   --vocab-size N       joined BPE sub-words of text (default: 6000, for the sample corpus 2000)
#   --reference FILE     the raw reference text of the test set (default: reference.LANG of the data)
#   --run-dir DIR        where everything goes (default: runs/sweeps/SWEEP)
#   --max-tokens N       tokens of one batch of one process
#   --tokens-per-update N  another global batch than the configuration's
#   --fp16, --bf16       the number format on GPUs (default: the configuration's)
#   --tensorboard        write DIR/runs/RUN/tensorboard
#   --start-over         train all from the beginning: what is in DIR/runs/RUN goes to earlier.N there
#   --dry-run            check everything, print the command of each training, and do nothing
#   --help               this text
#
# Every other option goes to fairseq-train and wins over the configuration's and those of the section training of the
# sweep: --max-update, --patience and so on for all trainings, --rdrop-alpha and the other --rdrop options for R-Drop alone.
#
# The same command continues after an interruption, and does nothing again that is done. Where a training fails the others go
# on; the exit status is 1 then, and the same command tries it again. Settings and seeds may be added to SWEEP.
#
#   DIR/sweep.md, sweep.csv   the table; alpha.png where --rdrop-alpha was swept
#   DIR/report.md             curves, commands, sample translations, versions and hardware
#   DIR/runs/                 a run folder for each setting and seed, as scripts/train.sh makes it
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
run_module rdrop_fairseq.experiments sweep "$@"
