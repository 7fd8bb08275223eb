# shellcheck shell=bash disable=SC2154
# From raw text to binarised data; to be sourced by scripts/prepare_*.sh, which set
#
#     recipe                   name of the recipe, and of the folder in data/
#     corpus                   name of the corpus in rdrop_fairseq/data/corpora.py
#     source_language, target_language
#     vocabulary_size          joined sub-words
#     test_set                 what the test set is called in reports
#     tokenises                true if there is a Moses step, with
#     tokenizer_flags          of python -m rdrop_fairseq.data.moses tokenise, and
#     moses_flags              the same settings as --tokenizer moses of fairseq's commands knows them
#     cleaning_flags           of python -m rdrop_fairseq.data.cleaning; empty if the recipe does not clean
#     cleans_tokens            true if cleaning counts tokens, and so comes after tokenising
#     accepts_tokenised        true if --tokenised-dir is offered
#
# and then call prepare "$@". In the data folder: archives/, raw/, clean/, tokenised/, split/ (IWSLT), subwords/ and bin/.

# shellcheck source-path=SCRIPTDIR source=stages.sh
source "$repository_root/scripts/stages.sh"

tokenises=false
tokenizer_flags=()
moses_flags=()
cleaning_flags=()
cleans_tokens=false
accepts_tokenised=false
stage_names=(download extract clean tokenise learn apply binarise)
raw_directory=""
archive_table=""
tokenised_directory=""
corpus_prefixes=()
output_directory=""
workers=""
first_stage=download
last_stage=binarise

# read_preparation_options "$@": the options that all the recipes share.
read_preparation_options() {
    while (($# > 0)); do
        if [[ $1 == --*=* ]]; then
            set -- "${1%%=*}" "${1#*=}" "${@:2}"
        fi
        case $1 in
            --help | -h)
                usage_of "$0"
                exit 0
                ;;
            --raw-dir | --table | --tokenised-dir | --corpus | --output-dir | --vocab-size | --workers | --stage | --stop-stage)
                (($# >= 2)) || fail "$1 needs a value; see $0 --help"
                case $1 in
                    --raw-dir) raw_directory=$2 ;;
                    --table) archive_table=$2 ;;
                    --tokenised-dir) tokenised_directory=$2 ;;
                    --corpus) corpus_prefixes+=("$2") ;;
                    --output-dir) output_directory=$2 ;;
                    --vocab-size) vocabulary_size=$2 ;;
                    --workers) workers=$2 ;;
                    --stage) first_stage=$2 ;;
                    --stop-stage) last_stage=$2 ;;
                esac
                shift 2
                ;;
            *) fail "unknown option $1; see $0 --help" ;;
        esac
    done
    local value
    for value in "$vocabulary_size" ${workers:+"$workers"}; do
        [[ $value =~ ^[1-9][0-9]*$ ]] || fail "--vocab-size and --workers take a whole number above 0, not $value"
    done
    for value in "$first_stage" "$last_stage"; do
        [[ " ${stage_names[*]} " == *" $value "* ]] || fail "unknown stage $value; the stages are ${stage_names[*]}"
    done
    for value in "$raw_directory" "$tokenised_directory"; do
        [[ -z $value || -d $value ]] || fail "no folder $value; give --raw-dir or --tokenised-dir a folder that exists"
    done
    [[ -z $tokenised_directory || $accepts_tokenised == true ]] \
        || fail "--tokenised-dir is for text that this recipe cannot take; give raw text with --raw-dir"
    [[ -z $archive_table || -f $archive_table ]] || fail "no file $archive_table; give --table a table of archives"
    raw_directory=${raw_directory:+$(cd "$raw_directory" && pwd -P)}
    tokenised_directory=${tokenised_directory:+$(cd "$tokenised_directory" && pwd -P)}
    archive_table=${archive_table:+$(readlink -f "$archive_table")}
    output_directory=${output_directory:-$repository_root/data/$recipe}
    workers=${workers:-$(nproc)}
}

# What makes the data what they are.
describe_preparation() {
    printf '%s\n' "recipe $recipe $source_language-$target_language" "sub-words $vocabulary_size" \
        "raw text ${raw_directory:-downloaded}" "chosen files ${corpus_prefixes[*]:-all}" \
        "tokenised text ${tokenised_directory:-made here}"
    if [[ -n $archive_table ]]; then
        printf 'table of archives %s\n' "$(cksum <"$archive_table")"
    fi
}

# within NAME: whether the stage lies between --stage and --stop-stage.
within() {
    local position=" ${stage_names[*]} " first last this
    first=${position%%" $first_stage "*} last=${position%%" $last_stage "*} this=${position%%" $1 "*}
    ((${#this} >= ${#first} && ${#this} <= ${#last}))
}

corpora() {
    local arguments=("$1" "$corpus" --archives "$work_directory/archives" ${raw_directory:+--raw-dir "$raw_directory"}
        ${archive_table:+--table "$archive_table"} "${@:2}")
    local prefix
    for prefix in "${corpus_prefixes[@]}"; do
        arguments+=(--corpus-prefix "$prefix")
    done
    python -m rdrop_fairseq.data.corpora "${arguments[@]}"
}

# tokenise_from FOLDER SPLIT...: FOLDER/SPLIT.LANGUAGE to tokenised/SPLIT.LANGUAGE, for both languages.
tokenise_from() {
    local split language
    for split in "${@:2}"; do
        for language in "$source_language" "$target_language"; do
            python -m rdrop_fairseq.data.moses tokenise --lang "$language" "${tokenizer_flags[@]}" --workers "$workers" \
                --input "$1/$split.$language" --output "$work_directory/tokenised/$split.$language"
        done
    done
}

# clean_pairs PREFIX: PREFIX.LANGUAGE to clean/train.LANGUAGE.
clean_pairs() {
    python -m rdrop_fairseq.data.cleaning --input "$1" --output "$work_directory/clean/train" \
        --source-lang "$source_language" --target-lang "$target_language" "${cleaning_flags[@]}" \
        --report "$work_directory/clean/cleaning.json" >&2
}

split_off_validation() {
    python -m rdrop_fairseq.data.iwslt split --input "$work_directory/clean/train" --output "$work_directory/split" \
        --source-lang "$source_language" --target-lang "$target_language"
}

# text_of SPLIT: the prefix of the text that is split into sub-words.
text_of() {
    if [[ -n $tokenised_directory ]]; then
        printf '%s' "$tokenised_directory/$1"
    elif [[ $cleans_tokens == true && $1 != test ]]; then
        printf '%s' "$work_directory/split/$1"
    elif [[ $tokenises == true ]]; then
        printf '%s' "$work_directory/tokenised/$1"
    else
        printf '%s' "$work_directory/raw/$1"
    fi
}

learn_subwords() {
    python -m rdrop_fairseq.data.subwords learn --input "$(text_of train).$source_language" \
        "$(text_of train).$target_language" --vocab-size "$vocabulary_size" \
        --model "$work_directory/subwords/sentencepiece.model"
}

apply_subwords() {
    local split language
    for split in train valid test; do
        for language in "$source_language" "$target_language"; do
            python -m rdrop_fairseq.data.subwords encode --model "$work_directory/subwords/sentencepiece.model" \
                --input "$(text_of "$split").$language" --output "$work_directory/subwords/$split.$language" \
                --workers "$workers"
        done
    done
}

# What fairseq-preprocess makes, and beside it what is needed to give raw text to a model and to score its output.
binarise() {
    local bin=$work_directory/bin subwords=$work_directory/subwords
    rm -rf "$bin" "$bin.partial"
    quietly "$work_directory/preprocess.log" fairseq-preprocess --joined-dictionary \
        --source-lang "$source_language" --target-lang "$target_language" --workers "$workers" \
        --trainpref "$subwords/train" --validpref "$subwords/valid" --testpref "$subwords/test" --destdir "$bin.partial"
    cp "$subwords/sentencepiece.model" "$bin.partial/"
    local language name
    for name in source reference; do
        language=$source_language
        if [[ $name == reference ]]; then
            language=$target_language
        fi
        if [[ -n $tokenised_directory ]]; then
            python -m rdrop_fairseq.data.moses detokenise --lang "$language" --workers "$workers" \
                --input "$tokenised_directory/test.$language" --output "$bin.partial/$name.$language"
        else
            cp "$work_directory/raw/test.$language" "$bin.partial/$name.$language"
        fi
    done
    python -m rdrop_fairseq.data.preparation --output "$bin.partial" --text "$subwords" --recipe "$recipe" \
        --source-lang "$source_language" --target-lang "$target_language" --vocab-size "$vocabulary_size" \
        --test-set "$test_set" "${moses_flags[@]}"
    mv "$bin.partial" "$bin"
}

# prepare "$@": all stages. The archives that are there are checked on every run.
prepare() {
    read_preparation_options "$@"
    "$repository_root/scripts/setup.sh"
    use_environment
    open_work_folder "$output_directory" "$(describe_preparation)" --output-dir '.done/extract'

    if [[ -z $tokenised_directory ]]; then
        if is_done extract; then
            # Those that nobody has removed since.
            corpora check
        elif within download; then
            log "getting and checking the archives"
            corpora get
        fi
        if within extract; then
            stage extract "extracting the text" corpora extract --output "$work_directory/raw"
        fi
        if [[ $cleans_tokens == true ]]; then
            if within tokenise; then
                stage tokenise "tokenising" tokenise_from "$work_directory/raw" train test
            fi
            if within clean; then
                stage clean "dropping pairs" clean_pairs "$work_directory/tokenised/train"
                stage split "taking every 23rd pair for validation" split_off_validation
            fi
        else
            if within clean && ((${#cleaning_flags[@]} > 0)); then
                stage clean "dropping pairs" clean_pairs "$work_directory/raw/train"
            fi
            if within tokenise && [[ $tokenises == true ]]; then
                stage tokenise-train "tokenising the training text" tokenise_from "$work_directory/clean" train
                stage tokenise-rest "tokenising valid and test" tokenise_from "$work_directory/raw" valid test
            fi
        fi
    fi
    if within learn; then
        stage learn "learning $vocabulary_size sub-words" learn_subwords
    fi
    if within apply; then
        stage apply "splitting into sub-words" apply_subwords
    fi
    if within binarise; then
        stage binarise "binarising" binarise
        log "done: $work_directory/bin"
    fi
}
