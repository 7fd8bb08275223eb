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
# shellcheck source-path=SCRIPTDIR source=preparation_steps.sh
source "$repository_root/scripts/preparation_steps.sh"

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
                (($# >= 2)) && [[ -n $2 ]] || fail "$1 needs a value; see $0 --help"
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
    first_place=$(position_of "$first_stage" "${stage_names[@]}")
    last_place=$(position_of "$last_stage" "${stage_names[@]}")
    ((first_place <= last_place)) \
        || fail "the stage $last_stage comes before $first_stage; the stages are ${stage_names[*]}"
    output_directory=${output_directory:-$repository_root/data/$recipe}
    [[ $(readlink -m "$output_directory") != *:* ]] \
        || fail "fairseq takes $output_directory for several paths, because of its colon; choose another --output-dir"
    # Where the text was taken from is not needed any more, and may be gone.
    [[ -z $raw_directory || -d $raw_directory || -e $output_directory/.done/extract ]] \
        || fail "no folder $raw_directory; give --raw-dir a folder that exists"
    [[ -z $tokenised_directory || -d $tokenised_directory || -e $output_directory/.done/binarise ]] \
        || fail "no folder $tokenised_directory; give --tokenised-dir a folder that exists"
    [[ -z $tokenised_directory || $accepts_tokenised == true ]] \
        || fail "--tokenised-dir is for text that this recipe cannot take; give raw text with --raw-dir"
    [[ -z $archive_table || -f $archive_table ]] || fail "no file $archive_table; give --table a table of archives"
    raw_directory=${raw_directory:+$(readlink -m "$raw_directory")}
    tokenised_directory=${tokenised_directory:+$(readlink -m "$tokenised_directory")}
    archive_table=${archive_table:+$(readlink -f "$archive_table")}
    workers=${workers:-$(nproc)}
}

# What makes the data what they are.
describe_preparation() {
    local chosen=all
    if ((${#corpus_prefixes[@]})); then
        chosen=$(printf ' %q' "${corpus_prefixes[@]}")
    fi
    printf '%s\n' "recipe $recipe $source_language-$target_language" "sub-words $vocabulary_size" \
        "raw text ${raw_directory:-downloaded}" "chosen files ${chosen# }" \
        "tokenised text ${tokenised_directory:-made here}"
    if [[ -n $archive_table ]]; then
        printf 'table of archives %s\n' "$(cksum <"$archive_table")"
    fi
}

# has_results: whether everything is there that the step described last makes.
has_results() {
    local result
    for result in "${step_results[@]}"; do
        [[ -e $work_directory/$result ]] || return 1
    done
}

# forget_lost_results: has the steps done again whose results were removed, and all that follow. Once bin is complete
# nothing else is needed, and may be removed.
forget_lost_results() {
    local step lost=false
    describe_step binarise
    if is_done binarise && has_results; then
        return
    fi
    for step in "${steps[@]}"; do
        describe_step "$step"
        if [[ $lost == false ]] && is_done "$step" && ! has_results; then
            log "what was made by $step_title is gone; it is done again, and what follows"
            [[ -w $marks ]] || fail "$cannot_write"
            lost=true
        fi
        if [[ $lost == true ]]; then
            rm -f "$marks/$step"
        fi
    done
}

# check_sources: has the archives, if this is the stage for it, and checks on every run that what is taken from elsewhere
# is what it should be, unless it was removed when it was not needed any more.
check_sources() {
    if [[ -n $tokenised_directory ]]; then
        if is_done take && [[ -d $tokenised_directory ]]; then
            tokenised_text check
        fi
    elif ! is_done extract && ((first_place == 0)); then
        log "getting and checking the archives"
        corpora get
    elif [[ -z $raw_directory || -d $raw_directory ]]; then
        corpora check
    fi
}

# prepare "$@": all stages.
prepare() {
    read_preparation_options "$@"
    "$repository_root/scripts/setup.sh"
    use_environment
    # What was extracted or learnt lasts; the number of sub-words can be corrected until they are learnt.
    open_work_folder "$output_directory" "$(describe_preparation)" --output-dir '.done/[el]*' sub-words learn
    list_steps
    forget_lost_results
    check_sources
    local step place
    for step in "${steps[@]}"; do
        describe_step "$step"
        place=$(position_of "$step_stage" "${stage_names[@]}")
        if ((place < first_place)); then
            is_done "$step" || fail "the stage $first_stage needs the stage $step_stage; run that first (--stage $step_stage)"
        elif ((place <= last_place)); then
            stage "$step" "$step_title" "${step_command[@]}"
        fi
    done
    if [[ $last_stage == binarise ]]; then
        log "done: $work_directory/bin"
    fi
}
