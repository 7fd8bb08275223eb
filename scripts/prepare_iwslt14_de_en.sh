#!/usr/bin/env bash
# Prepares IWSLT14 German-English (TED talks) as fairseq does: Moses-tokenised without splitting dashes, at most 175
# tokens, lowercased, every 23rd pair for validation, five test sets in one; with a joined SentencePiece BPE. The official
# archive gives 160,239 pairs to train, 7,283 to validate and 6,750 to test. The result is in data/iwslt14_de_en/bin.
#
# usage: scripts/prepare_iwslt14_de_en.sh [OPTION]...
#
#   --raw-dir DIR        take the archive, or the files extracted from it, from this folder where they lie there
#   --tokenised-dir DIR  start from train.de, train.en, valid.*, test.* that are tokenised, lowercased and cleaned already;
#                        the reference is then the detokenised test text
#   --output-dir DIR     where everything goes (default: data/iwslt14_de_en)
#   --vocab-size N       joined sub-words (default: 10000)
#   --workers N          processes (default: all cores); the result does not depend on it
#   --table FILE         another table of archives: mirrors, for example
#   --stage NAME         start with this stage; --stop-stage NAME: end after it. The stages are download, extract,
#                        tokenise, clean, learn, apply and binarise
#   --help               this text
#
# The same command continues after an interruption, and does nothing again that is done; archives are checked each time.
# To do a stage again, and those after it, remove bin/ of the output folder and what the stage made there: raw/, clean/,
# tokenised/ or subwords/, for example. While bin/ is there, the other folders are not needed and may be removed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
run_module --set-up rdrop_fairseq.data.prepare iwslt14_de_en "$@"
