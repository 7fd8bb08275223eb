#!/usr/bin/env bash
# Prepares Multi30k (image captions, 29,000 pairs, task 1): English-German, or English-French. The text stays as it is,
# cased and not tokenised, and is split by a joined SentencePiece BPE. The test set is test_2016_flickr. The result is in
# data/multi30k_en_de/bin.
#
# usage: scripts/prepare_multi30k.sh [OPTION]...
#
#   --target-lang LANG   de or fr (default: de)
#   --raw-dir DIR        take train.en, val.en, test_2016_flickr.en and so on, or their .gz, from this folder
#   --output-dir DIR     where everything goes (default: data/multi30k_en_de, or data/multi30k_en_fr)
#   --vocab-size N       joined sub-words (default: 6000, few as the corpus is small)
#   --workers N          processes (default: all cores); the result does not depend on it
#   --table FILE         another table of archives: mirrors, for example
#   --stage NAME         start with this stage; --stop-stage NAME: end after it. The stages are download, extract, learn,
#                        apply and binarise
#   --help               this text
#
# The same command continues after an interruption, and does nothing again that is done.
# To do a stage again, and those after it, remove bin/ of the output folder and what the stage made there: raw/ or
# subwords/, for example. While bin/ is there, the other folders are not needed and may be removed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
run_module --set-up rdrop_fairseq.data.prepare multi30k "$@"
