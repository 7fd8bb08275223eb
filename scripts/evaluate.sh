#!/usr/bin/env bash
# Evaluates runs of scripts/train.sh on their test set: averages the last checkpoints, translates with the beam and length
# penalty of the configuration, and reports sacreBLEU and chrF with signatures, and BLEU as papers report it (on tokens,
# and with compounds split). Several runs are compared by paired bootstrap. Or scores translations from elsewhere.
#
# usage: scripts/evaluate.sh RUN... [OPTION]... [OPTION OF fairseq-generate]...
#        scripts/evaluate.sh (--reference FILE | --test-set NAME --source-lang LANG) --target-lang LANG
#                            --system NAME=FILE [--system NAME=FILE]... [OPTION]...
#
#   RUN                  folders that scripts/train.sh made
#   --average K          average the last K checkpoints (default: the configuration's)
#   --checkpoint FILE    translate with this checkpoint instead
#   --data DIR           the binarised data, where they are no longer in their place
#   --reference FILE     the raw reference text (default: reference.LANG of the data)
#   --cpu                translate on the CPU although there is a GPU
#   --resamples N        of the bootstrap (default: 1000); --seed N: its seed
#   --output DIR         where a comparison of several runs goes (default: the evaluation folder of the last)
#   --help               this text
#
#   --system NAME=FILE   detokenised text, or the output of fairseq-generate; the first is the baseline
#   --test-set NAME      the reference of a test set that sacreBLEU has, such as wmt14/full
#   --reference FILE     may be given several times, for as many references of each sentence
#   --metrics M...       of bleu, chrf, chrf++ and ter (default: bleu chrf)
#   --significance TEST  bootstrap (default) or approximate-randomisation; --resamples N: also its trials
#   --lowercase          score lowercased text; --json FILE, --markdown FILE: write the scores there
#   --detokenise         the translations are tokens of Moses: join them before scoring
#
# Every other option goes to fairseq-generate: --beam, --lenpen, --batch-size and so on.
# The results are in RUN/evaluation: average.pt, translations.txt, scores.json, scores.md. The same command does nothing again
# that was made from the same checkpoints, data and options, and continues after an interruption. Earlier results stay until
# new translations are complete.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
run_module rdrop_fairseq.experiments evaluate "$@"
