#!/usr/bin/env bash
# Trains a baseline and an R-Drop model with equal settings, translates the test set with both, scores them with
# sacreBLEU and writes a report with curves: on a generated corpus, or on a folder of real text.
#
# usage: scripts/quickstart.sh [OPTION]... [OPTION OF fairseq-train]...
#
#   --data DIR           real text: train.LANG, valid.LANG or val.LANG, test*.LANG, aligned line by line, UTF-8
#   --source-lang LANG   the language to translate from (default: en)
#   --target-lang LANG   the language to translate into (default: de)
#   --test-set NAME      which test set, without the language, where DIR has several
#   --vocab-size N       joined BPE sub-words (default: 2000 for the generated corpus, 6000 for real text)
#   --run-dir DIR        where everything goes (default: runs/quickstart, or runs/NAME-SRC-TGT with --data DIR/NAME)
#   --help               this text
#
# Every other option goes to fairseq-train, after those of configs/quickstart.args: --arch, --max-epoch, --max-update,
# --lr and so on to both runs, --rdrop-alpha and the other --rdrop options to the R-Drop run.
#
# The same command continues after an interruption, and does nothing again that is done. A run folder belongs to one
# set of options.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"
# shellcheck source-path=SCRIPTDIR source=stages.sh
source "$repository_root/scripts/stages.sh"

config=$repository_root/configs/quickstart.args
data=""
source_language=en
target_language=de
test_set=""
vocabulary_size=""
run_directory=""
train_options=()
rdrop_options=()
has_architecture=false

# needs_value OPTION COUNT: fails unless a value follows the option.
needs_value() {
    (($2 >= 2)) || fail "$1 needs a value; see $0 --help"
}

while (($# > 0)); do
    argument=$1
    # --option=value is --option value.
    if [[ $argument == --*=* ]]; then
        shift
        set -- "${argument%%=*}" "${argument#*=}" "$@"
        argument=$1
    fi
    case $argument in
        --help | -h)
            usage_of "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --data | --source-lang | --target-lang | --test-set | --vocab-size | --run-dir | --rdrop-*)
            needs_value "$argument" $#
            case $argument in
                --data) data=$2 ;;
                --source-lang) source_language=$2 ;;
                --target-lang) target_language=$2 ;;
                --test-set) test_set=$2 ;;
                --vocab-size) vocabulary_size=$2 ;;
                --run-dir) run_directory=$2 ;;
                --rdrop-*)
                    # Here, since the R-Drop run comes after a long baseline.
                    [[ $argument != --rdrop-alpha || $2 =~ ^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$ ]] \
                        || fail "--rdrop-alpha is $2; give a finite number >= 0 (the paper uses 5)"
                    rdrop_options+=("$argument" "$2")
                    ;;
            esac
            shift 2
            ;;
        --save-dir | --task | --criterion | --user-dir | --log-file | --log-format)
            fail "$argument is set by this script; leave it out (--run-dir chooses the folder)"
            ;;
        --best-checkpoint-metric)
            fail "$argument is BLEU here, with which both are compared; leave it out, or use scripts/train.sh"
            ;;
        *)
            if [[ $argument == --arch ]]; then
                has_architecture=true
            fi
            train_options+=("$argument")
            shift
            ;;
    esac
done
[[ -z $vocabulary_size || $vocabulary_size =~ ^[1-9][0-9]*$ ]] \
    || fail "--vocab-size is $vocabulary_size; give a whole number above 0"

if [[ -n $data ]]; then
    [[ -d $data ]] || fail "no folder $data; give --data the folder that holds train.$source_language and so on"
    data=$(cd "$data" && pwd -P)
    run_directory=${run_directory:-$repository_root/runs/$(basename "$data")-$source_language-$target_language}
    vocabulary_size=${vocabulary_size:-6000}
else
    [[ $source_language-$target_language == en-de ]] \
        || fail "the generated corpus is en-de; give --data for $source_language-$target_language"
    run_directory=${run_directory:-$repository_root/runs/quickstart}
    vocabulary_size=${vocabulary_size:-2000}
fi

"$repository_root/scripts/setup.sh"
use_environment
cd "$repository_root"

# configured SECTION...: sets words to the flags and values of these sections of the configuration.
configured() {
    local text
    text=$(python -m rdrop_fairseq.experiments.configuration "$config" "$@")
    mapfile -t words <<<"$text"
}

if [[ $has_architecture == true ]]; then
    configured training batch
else
    configured model training batch
fi
config_options=()
for ((i = 0; i < ${#words[@]}; i++)); do
    # Both runs are of one process, and so have this many tokens anyway.
    if [[ ${words[i]} == --tokens-per-update ]]; then
        i=$((i + 1))
    else
        config_options+=("${words[i]}")
    fi
done
configured baseline
baseline_options=("${words[@]}")
configured evaluation
generation_options=()
for ((i = 0; i < ${#words[@]}; i += 2)); do
    # translate below takes the best checkpoint, as the configuration says.
    if [[ ${words[i]} != --checkpoint ]]; then
        generation_options+=("${words[i]}" "${words[i + 1]}")
    fi
done
configured rdrop
rdrop_options=("${words[@]}" "${rdrop_options[@]}")

# What makes this run what it is. A folder with other settings is left alone.
describe_settings() {
    printf 'languages %s-%s\n' "$source_language" "$target_language"
    printf 'sub-words %s\n' "$vocabulary_size"
    if [[ -n $data ]]; then
        printf 'data %s %s\n' "$data" "$test_set"
        find "$data" -maxdepth 1 -type f \( -name "*.$source_language" -o -name "*.$target_language" \) \
            -print0 | sort -z | xargs -0 cksum
    else
        printf 'data generated\n'
    fi
    printf 'options %s\n' "${config_options[*]} ${train_options[*]}"
    printf 'baseline options %s\n' "${baseline_options[*]}"
    printf 'R-Drop options %s\n' "${rdrop_options[*]}"
}
settings=$(describe_settings)
open_work_folder "$run_directory" "$settings" --run-dir '*/checkpoint_*.pt'
run_directory=$work_directory

make_subwords() {
    python -m rdrop_fairseq.data.prepare --data "${data:-$run_directory/text}" --output "$run_directory/subwords" \
        --source-lang "$source_language" --target-lang "$target_language" --vocab-size "$vocabulary_size" \
        ${test_set:+--test-set "$test_set"}
}

binarise() {
    rm -rf "$run_directory/data-bin" "$run_directory/data-bin.partial"
    quietly "$run_directory/preprocess.log" fairseq-preprocess --joined-dictionary \
        --source-lang "$source_language" --target-lang "$target_language" \
        --trainpref "$run_directory/subwords/train" --validpref "$run_directory/subwords/valid" \
        --testpref "$run_directory/subwords/test" --destdir "$run_directory/data-bin.partial" --workers "$(nproc)"
    mv "$run_directory/data-bin.partial" "$run_directory/data-bin"
}

# find_device: without a CUDA device fairseq must be told to use the CPU.
find_device() {
    device_options=()
    if ! python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
        device_options=(--cpu)
    fi
}

# train NAME OPTION...: trains into the folder NAME; resumes from its last checkpoint.
train() {
    local directory=$run_directory/$1
    local command=(
        fairseq-train "$run_directory/data-bin" --source-lang "$source_language" --target-lang "$target_language"
        --save-dir "$directory" --user-dir "$repository_root/rdrop_fairseq"
        "${config_options[@]}" "${@:2}" "${train_options[@]}"
        --log-format json "${device_options[@]}"
    )
    mkdir -p "$directory"
    note_command "$directory" "${command[@]}"
    PYTHONWARNINGS=ignore "${command[@]}" 2>"$directory/train.stderr" \
        | python -m rdrop_fairseq.experiments.progress --name "$1" --log "$directory/train.log" \
        || fail "training of $1 failed: $(last_line "$directory/train.stderr"); the whole message is in $directory/train.stderr"
}

# translate NAME: translates the test set with the checkpoint of the best validation BLEU.
translate() {
    local directory=$run_directory/$1
    local command=(
        fairseq-generate "$run_directory/data-bin" --source-lang "$source_language" --target-lang "$target_language"
        --user-dir "$repository_root/rdrop_fairseq" --path "$directory/checkpoint_best.pt" --gen-subset test
        --remove-bpe sentencepiece "${generation_options[@]}" --batch-size 64
        # By default recent fairseq drops the last batch if its size is no multiple of 8.
        --required-batch-size-multiple 1 "${device_options[@]}"
    )
    note_command "$directory" "${command[@]}"
    quietly "$directory/translations.partial" "${command[@]}"
    mv "$directory/translations.partial" "$directory/translations.txt"
}

# note_command DIRECTORY COMMAND...: adds the command, ready for a shell, to command.txt, once.
note_command() {
    local line
    line=$(printf '%q ' "${@:2}")
    grep -qxF -- "$line" "$1/command.txt" 2>/dev/null || printf '%s\n' "$line" >>"$1/command.txt"
}

score() {
    python -m rdrop_fairseq.evaluation.score --reference "$run_directory/subwords/reference.$target_language" \
        --system "baseline=$run_directory/baseline/translations.txt" \
        --system "R-Drop=$run_directory/rdrop/translations.txt" \
        --source-lang "$source_language" --target-lang "$target_language" \
        --json "$run_directory/scores.json" >"$run_directory/.scores.partial"
    mv "$run_directory/.scores.partial" "$run_directory/scores.txt"
}

report() {
    local description="text generated by rdrop_fairseq.data.generated_corpus, not written by people"
    if [[ -n $data ]]; then
        description="text of $data"
    fi
    python -m rdrop_fairseq.evaluation.report --run "baseline=$run_directory/baseline" \
        --run "R-Drop=$run_directory/rdrop" --scores "$run_directory/scores.json" \
        --source "$run_directory/subwords/source.$source_language" --data "$description, $vocabulary_size sub-words" \
        --output "$run_directory" >&2
}

if [[ -z $data ]]; then
    stage text "generating a corpus" python -m rdrop_fairseq.data.generated_corpus --output "$run_directory/text"
fi
stage subwords "checking the text and learning $vocabulary_size sub-words" make_subwords
stage binarise "binarising" binarise
if [[ ! -e $marks/report ]]; then
    find_device
fi
stage train-baseline "training the baseline (label_smoothed_cross_entropy)" \
    train baseline "${baseline_options[@]}"
stage train-rdrop "training with R-Drop" \
    train rdrop "${rdrop_options[@]}"
stage translate-baseline "translating the test set with the baseline" translate baseline
stage translate-rdrop "translating the test set with the R-Drop model" translate rdrop
stage score "scoring" score
stage report "writing the report" report

cat "$run_directory/scores.txt"
echo "report: $run_directory/report.md"
