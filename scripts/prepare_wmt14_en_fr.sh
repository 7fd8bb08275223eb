#!/usr/bin/env bash
# Prepares WMT14 English-French: Europarl v7, Common Crawl, UN, News Commentary v9 and Giga-FrEn to train on, newstest2013 to
# validate, newstest2014 (wmt14/full, 3003 sentences) to test. From download to binarised data, cased, Moses-tokenised, with
# a joined SentencePiece BPE. The result is in data/wmt14_en_fr/bin.
#
# usage: scripts/prepare_wmt14_en_fr.sh [OPTION]...
#
#   --raw-dir DIR        take the archives, or the files extracted from them, from this folder where they lie there;
#                        also newstest2013.en and so on, which otherwise come through sacreBLEU
#   --corpus PREFIX      train on PREFIX.en and PREFIX.fr of --raw-dir alone; may be given several times
#   --output-dir DIR     where everything goes (default: data/wmt14_en_fr)
#   --vocab-size N       joined sub-words (default: 40000)
#   --workers N          processes (default: all cores); the result does not depend on it
#   --table FILE         another table of archives: mirrors, for example
#   --stage NAME         start with this stage; --stop-stage NAME: end after it. The stages are download, extract, clean,
#                        tokenise, learn, apply and binarise
#   --help               this text
#
# The same command continues after an interruption, and does nothing again that is done; archives are checked each time.
# To do a stage again, and those after it, remove bin/ of the output folder and what the stage made there: raw/, clean/,
# tokenised/ or subwords/, for example. While bin/ is there, the other folders are not needed and may be removed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
run_module --set-up rdrop_fairseq.data.prepare wmt14_en_fr "$@"
